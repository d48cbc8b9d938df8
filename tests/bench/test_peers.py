from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.load import closed_loop
from bench.peers import PEERS
from bench.run import NotOffered


@pytest.mark.parametrize("name", ["consul", "eureka", "nacos"])
def test_a_peer_is_reached_by_its_url(
    name: str,
    start_server: Callable[..., Any],
    ok: bytes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Its leases are made there, then renewed."""
    server = start_server(lambda _: [ok])
    monkeypatch.setenv(
        f"BENCH_{name.upper()}_URL", "http://{}:{}".format(*server.address)
    )

    with ExitStack() as stack:
        subject = PEERS[name](stack, tmp_path)
    load = replace(subject.load, connections=2, once=True)

    assert server.requests == len(load.requests)
    assert closed_loop(load, 10).statuses == {200: len(load.requests)}


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_that_is_nowhere_is_absent(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The reason names the variable that would lead to it."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv(f"BENCH_{name.upper()}_URL", raising=False)

    with ExitStack() as stack, pytest.raises(NotOffered, match=f"BENCH_{name.upper()}"):
        PEERS[name](stack, tmp_path)


def test_a_url_must_name_host_and_port(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No default is guessed."""
    monkeypatch.setenv("BENCH_NACOS_URL", "http://nacos.example")

    with ExitStack() as stack, pytest.raises(NotOffered, match="host and port"):
        PEERS["nacos"](stack, tmp_path)
