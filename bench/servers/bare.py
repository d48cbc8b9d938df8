"""The least a Python server can do: a constant answer, and nothing behind it.

Usage: `python -m bench.servers.bare PORT`.
"""

import sys

import uvicorn
from starlette.types import Receive, Scope, Send

_BODY = (
    b'{"agent_id":"agent-0000001","expires_at":"2026-11-22T16:17:48.879499Z",'
    b'"ttl_seconds":60,"heartbeat_interval_seconds":20.0}'
)
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-length", str(len(_BODY)).encode()),
        (b"content-type", b"application/json"),
    ],
}
_END = {"type": "http.response.body", "body": _BODY}


async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer everything alike, in the shape of a heartbeat's answer."""
    await send(_START)
    await send(_END)


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
    )
