"""Where a reply ends, and whether it is a good one, in each protocol we speak."""

import struct
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

Data = bytes | bytearray


class Reply(NamedTuple):
    """One reply: its whole size, which may exceed what has arrived, and its status."""

    size: int
    status: int


class Dialect(NamedTuple):
    """A protocol: how to read a reply, and what to say first on a connection.

    `read` returns None while too little has arrived to know the reply's size.
    """

    read: Callable[[Data], Reply | None]
    hello: bytes = b""


def http_reply(data: Data) -> Reply | None:
    """Read an HTTP/1.1 reply, measured by its content-length or its chunks."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    status = int(data[9:12])
    headers = data[:end].lower()
    at = headers.find(b"\r\ncontent-length:")
    if at >= 0:
        length = int(headers[at + 17 :].partition(b"\r\n")[0])
        return Reply(end + 4 + length, status)
    if b"\r\ntransfer-encoding: chunked" in headers:
        size = _end_of_chunks(data, end + 4)
        return None if size is None else Reply(size, status)
    if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return Reply(end + 4, status)
    raise ValueError("a reply that tells no length")


def _end_of_chunks(data: Data, at: int) -> int | None:
    while (line := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line].partition(b";")[0], 16)
        if size == 0:  # the last: trailers may follow it
            end = data.find(b"\r\n\r\n", line)
            return None if end < 0 else end + 4
        at = line + 2 + size + 2
    return None


def redis_reply(data: Data) -> Reply | None:
    """Read a one-line Redis reply: `:1` and `+OK` are good, `:0` found no key."""
    end = data.find(b"\r\n")
    if end < 0:
        return None
    if data[:1] == b"-":
        return Reply(end + 2, HTTPStatus.INTERNAL_SERVER_ERROR)
    unknown = data[:end] == b":0"
    return Reply(end + 2, HTTPStatus.NOT_FOUND if unknown else HTTPStatus.OK)


def zookeeper_reply(data: Data) -> Reply | None:
    """Read a ZooKeeper frame: length, then xid, zxid and an error that must be 0."""
    if len(data) < _FRAME_HEAD:
        return None
    (length,) = struct.unpack_from(">i", data)
    (error,) = struct.unpack_from(">i", data, 16)
    status = HTTPStatus.INTERNAL_SERVER_ERROR if error else HTTPStatus.OK
    return Reply(4 + length, status)


_FRAME_HEAD = 20
#: Opens a session: version, last zxid, timeout in ms, no session yet, no password.
_OPEN_SESSION = struct.pack(">iiqiqi17x", 45, 0, 0, 30_000, 0, 16)

HTTP = Dialect(http_reply)
REDIS = Dialect(redis_reply)
ZOOKEEPER = Dialect(zookeeper_reply, hello=_OPEN_SESSION)
