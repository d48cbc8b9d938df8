"""What others do for a heartbeat: started where installed, or reached by a URL.

A peer is found by its command on PATH, or by an environment variable that names a
running one, as in `BENCH_CONSUL_URL=http://10.0.0.5:8500`. Else it is absent.

| peer | command | variable |
|---|---|---|
| etcd | `etcd` | `BENCH_ETCD_URL` |
| Redis | `redis-server` | `BENCH_REDIS_URL` |
| Consul | `consul` | `BENCH_CONSUL_URL` |
| ZooKeeper | `zkServer.sh` | `BENCH_ZOOKEEPER_URL` |
| Eureka | none | `BENCH_EUREKA_URL` |
| Nacos | none | `BENCH_NACOS_URL` |

Not like for like: etcd keeps lease renewals in its leader's memory, Consul and
Eureka hold them in memory too, a ZooKeeper ping is 12 bytes, and Redis is told to
sync its log before it answers. etcd is reached by its JSON gateway, which costs it
more than gRPC would.
"""

import http.client
import json
import os
import shutil
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from bench import fleet
from bench.dialects import HTTP, REDIS, ZOOKEEPER, Dialect
from bench.load import Load
from bench.processes import Process, free_port, running
from bench.run import NotOffered, Subject

#: Leases that a peer holds; each is renewed in turn.
_LEASES = 1_000
_TTL_SECONDS = 86_400
_READY_SECONDS = 30

Address = tuple[str, int]


class _Place(NamedTuple):
    """Where a peer answers, and its process if we started it."""

    address: Address
    process: Process | None

    def subject(self, requests: list[bytes], dialect: Dialect = HTTP) -> Subject:
        """Return the peer as a subject that is sent these requests."""
        return Subject(Load(self.address, requests, dialect=dialect), self.process)


def etcd(stack: ExitStack, folder: Path) -> Subject:
    """Keep leases alive through the JSON gateway, on one core as we are."""

    def command(port: int) -> list[str]:
        client, peer = (f"http://127.0.0.1:{at}" for at in (port, free_port()))
        return [
            "etcd",
            f"--data-dir={folder / 'data'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=error",
        ]

    place = _place("etcd", command, stack, folder, {"GOMAXPROCS": "1"})
    granted = [
        _call(place.address, "POST", "/v3/lease/grant", {"TTL": _TTL_SECONDS})
        for _ in range(_LEASES)
    ]
    return place.subject(
        [
            fleet.request("POST", "/v3/lease/keepalive", {"ID": lease["ID"]})
            for lease in granted
        ]
    )


def redis(stack: ExitStack, folder: Path) -> Subject:
    """Renew keys with EXPIRE, each synced to the log before the answer."""

    def command(port: int) -> list[str]:
        return [
            *("redis-server", "--port", str(port), "--bind", "127.0.0.1"),
            *("--dir", str(folder), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always"),
        ]

    place = _place("redis", command, stack, folder)
    keys = fleet.ids(_LEASES)
    with socket.create_connection(place.address) as connection:
        for key in keys:
            connection.sendall(_resp("SET", key, "alive", "EX", str(_TTL_SECONDS)))
            connection.recv(64)
    renewals = [_resp("EXPIRE", key, str(_TTL_SECONDS)) for key in keys]
    return place.subject(renewals, REDIS)


def consul(stack: ExitStack, folder: Path) -> Subject:
    """Pass TTL checks of one server."""

    def command(port: int) -> list[str]:
        ports = f"http={port} dns=-1 grpc=-1 serf_wan=-1"
        ports += f" server={free_port()} serf_lan={free_port()}"
        return [
            *("consul", "agent", "-server", "-bootstrap-expect=1"),
            *("-bind=127.0.0.1", f"-data-dir={folder / 'data'}"),
            *("-hcl", f"ports {{ {ports.replace(' ', ', ')} }}"),
        ]

    place = _place("consul", command, stack, folder, {"GOMAXPROCS": "1"})
    checks = fleet.ids(_LEASES)
    for check in checks:
        described = {"Name": check, "CheckID": check, "TTL": f"{_TTL_SECONDS}s"}
        _call(place.address, "PUT", "/v1/agent/check/register", described)
    return place.subject(
        [fleet.request("PUT", f"/v1/agent/check/pass/{check}") for check in checks]
    )


def zookeeper(stack: ExitStack, folder: Path) -> Subject:
    """Ping open sessions."""

    def command(port: int) -> list[str]:
        settings = folder / "zoo.cfg"
        settings.write_text(
            f"tickTime=2000\ndataDir={folder / 'data'}\nclientPort={port}\n"
            "maxClientCnxns=0\nadmin.enableServer=false\n"
        )
        return ["zkServer.sh", "start-foreground", str(settings)]

    place = _place("zookeeper", command, stack, folder)
    ping = struct.pack(">iii", 8, -2, 11)
    return place.subject([ping], ZOOKEEPER)


def eureka(stack: ExitStack, folder: Path) -> Subject:
    """Send heartbeats of instances of one application."""
    place = _place("eureka", None, stack, folder)
    instances = fleet.ids(_LEASES)
    for instance in instances:
        described = {
            "instanceId": instance,
            "hostName": instance,
            "app": "BENCH",
            "ipAddr": "10.0.0.7",
            "status": "UP",
            "port": {"$": 8001, "@enabled": True},
            "dataCenterInfo": {
                "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
                "name": "MyOwn",
            },
        }
        _call(place.address, "POST", "/eureka/apps/BENCH", {"instance": described})
    return place.subject(
        [fleet.request("PUT", f"/eureka/apps/BENCH/{one}") for one in instances]
    )


def nacos(stack: ExitStack, folder: Path) -> Subject:
    """Send beats of ephemeral instances of one service."""
    place = _place("nacos", None, stack, folder)
    instances = [
        {"serviceName": "bench", "ip": "10.0.0.7", "port": port, "ephemeral": "true"}
        for port in range(1, _LEASES + 1)
    ]
    path = "/nacos/v1/ns/instance"
    for instance in instances:
        _call(place.address, "POST", f"{path}?{urlencode(instance)}")
    return place.subject(
        [
            fleet.request("PUT", f"{path}/beat?{urlencode(instance)}")
            for instance in instances
        ]
    )


#: Each peer by name: starts or finds it and makes its leases, or raises NotOffered.
PEERS: dict[str, Callable[[ExitStack, Path], Subject]] = {
    "etcd": etcd,
    "redis": redis,
    "consul": consul,
    "eureka": eureka,
    "zookeeper": zookeeper,
    "nacos": nacos,
}


def _place(
    name: str,
    command: Callable[[int], list[str]] | None,
    stack: ExitStack,
    folder: Path,
    environ: Mapping[str, str] | None = None,
) -> _Place:
    variable = f"BENCH_{name.upper()}_URL"
    if url := os.environ.get(variable):
        found = urlsplit(url)
        if not found.hostname or not found.port:
            raise NotOffered(f"{variable} names no host and port")
        return _Place((found.hostname, found.port), None)
    if command is None:
        raise NotOffered(f"{variable} is not set")
    port = free_port()
    arguments = command(port)
    if shutil.which(arguments[0]) is None:
        raise NotOffered(f"no {arguments[0]} on PATH, and {variable} is not set")
    process = stack.enter_context(
        running(arguments, folder, port=port, environ=environ)
    )
    return _Place(process.address, process)


def _call(address: Address, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return the answer to one call; a peer that just started may need some time."""
    give_up = time.monotonic() + _READY_SECONDS
    while True:
        connection = http.client.HTTPConnection(*address, timeout=_READY_SECONDS)
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"content-type": "application/json"})
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        if answer.status // 100 == 2:  # noqa: PLR2004
            return json.loads(told) if told.startswith(b"{") else None
        if time.monotonic() > give_up:
            raise NotOffered(f"{method} {path} was answered {answer.status}")
        time.sleep(0.1)


def _resp(*words: str) -> bytes:
    """Return a Redis command."""
    said = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    return f"*{len(words)}\r\n{said}".encode()
