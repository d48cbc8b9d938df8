import struct

import pytest

from bench.dialects import HTTP, REDIS, ZOOKEEPER, Dialect, Reply


def frame(error: int) -> bytes:
    """Return ZooKeeper's answer to a ping."""
    return struct.pack(">iiqi", 16, -2, 0, error)


@pytest.mark.parametrize(
    ("dialect", "data", "reply"),
    [
        (HTTP, b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nab", Reply(46, 201)),
        (HTTP, b"HTTP/1.1 200 OK\r\ncontent-le", None),
        (REDIS, b":1\r\n", Reply(4, 200)),
        (REDIS, b":0\r\n", Reply(4, 404)),
        (REDIS, b"+OK\r\n", Reply(5, 200)),
        (REDIS, b"-ERR no\r\n", Reply(9, 500)),
        (REDIS, b":1", None),
        (ZOOKEEPER, frame(0), Reply(20, 200)),
        (ZOOKEEPER, frame(-112), Reply(20, 500)),
        (ZOOKEEPER, frame(0)[:19], None),
    ],
)
def test_a_reply_is_measured_and_judged(
    dialect: Dialect, data: bytes, reply: Reply | None
) -> None:
    """Its size is known before it has arrived whole; too little is no reply yet."""
    assert dialect.read(data) == reply


def test_an_http_reply_must_tell_its_length() -> None:
    """One that ends with its connection is not supported, and not guessed at."""
    with pytest.raises(ValueError, match="length"):
        HTTP.read(b"HTTP/1.1 200 OK\r\n\r\n")
