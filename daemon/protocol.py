"""HTTP below the application: requests reach it whole and right, or not at all."""

import functools
from typing import Any

import httptools
from starlette.datastructures import MutableHeaders
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from api.errors import ProblemError, problem_response
from api.metrics import ClosingCause
from daemon.connections import Connections
from daemon.head import HeadCheck, broken, plain_head
from daemon.reply import Reply
from daemon.tls import client_names

#: Headers of a request. Each takes 150 bytes in memory, however short: 16 kB of head
#: were 390 kB, and what is counted of requests that are not whole is their bytes.
_MOST_HEADERS = 100
#: In place of the scope of a request that was answered.
_ANSWERED: Any = {}


class RegistryProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, with bounds, and with our own answers to what is no HTTP.

    The application is called when a request is whole. Only one with a large body,
    or whose client waits to be told to go on, reaches it earlier: it refuses what
    is too large.

    Args:
        connections: knows this connection among all others.
        heads: judges requests by their heads.
        given: what uvicorn gives its protocols.
    """

    #: Of a request that has begun and is not whole; uvicorn makes it, and we drop it.
    scope: Any
    #: The request that came last, and its answer; None before the first one.
    cycle: Any

    def __init__(
        self,
        *,
        connections: Connections,
        heads: HeadCheck,
        **given: Any,  # noqa: ANN401 - uvicorn's own
    ) -> None:
        super().__init__(**given)
        self.peer = ""
        self._connections = connections
        self._most_header_bytes = connections.limits.header_bytes
        self._heads = heads
        #: Whom the client proved to be by TLS, as each of its requests tells.
        self._tls: dict[str, Any] = {}
        #: The application has a request, and has not answered it.
        self._asked = False
        #: Behind the answer to a request that is whole, the connection may rest.
        self._may_rest = False
        #: It is known that a request has begun, and that its rest is to come.
        self._owes = False
        #: The same request is fed again, without its wish for another protocol.
        self._again = False
        #: Bytes since the head began, or since the last that belonged to a body.
        self._overhead = 0
        self._reply: Reply
        #: Why nothing is read any more.
        self._refusal: ProblemError | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn's
        """Be admitted; somebody else may have to go for it."""
        super().connection_made(transport)
        self._reply = Reply(transport)
        self.peer = self.client[0] if self.client else ""
        names = tuple(client_names(transport.get_extra_info("peercert")))
        self._tls = {"tls": {"client_names": names}}
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Be forgotten."""
        self._connections.lost(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, until something is wrong."""
        if self._refusal is not None:
            return
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # The parser takes the body for the other protocol's: the request has to be
            # read once more, as one that wishes for nothing.
            self._again = False
            self.cycle = None  # uvicorn would wait for its answer, and read no more
            keep_alive = self.parser.should_keep_alive()
            again = plain_head(self.scope, self.url, keep_alive=keep_alive)
            # This one drops all that comes behind a request that is to close.
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
            self.data_received(again + data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            reason = error.__context__
            self._refuse(reason if isinstance(reason, ProblemError) else broken())
            return
        if self.scope:
            self._await_rest(len(data))
        else:
            self._overhead = 0

    def _await_rest(self, size: int) -> None:
        """See to it that the rest of a request comes, and is not too much.

        Of what there is, `size` bytes are new.
        """
        if self._asked and self.scope is not self.cycle.scope:
            self._refuse(broken())  # it began before the last one was answered
        elif self._overhead > self._most_header_bytes:
            self._refuse(_header_too_large())
        else:
            if not self._owes:
                self._owes = True
                self._connections.begun(self)
            if not self._asked and self._has_head():
                self._await_body(dict(self.scope["headers"]))
            self._connections.held(self, size)

    def _has_head(self) -> bool:
        """Tell whether the rest of a request is a body."""
        return bool(self.scope) and self.headers is not self.scope["headers"]

    def _await_body(self, headers: dict[bytes, bytes]) -> None:
        """Let the application judge a body that is not to be held until it is whole."""
        waits = headers.get(b"expect", b"").lower() == b"100-continue"
        self.cycle.waiting_for_100_continue = waits
        if waits or int(headers.get(b"content-length", 0)) > HIGH_WATER_LIMIT:
            self._ask()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header, unless there are too many."""
        if len(self.headers) >= _MOST_HEADERS:
            raise _header_too_large()
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Judge the head; what follows behind the body adds no headers to it."""
        if self._asked:
            raise broken()  # nothing is pipelined
        super().on_headers_complete()
        if self.scheme == "https":
            self.scope["extensions"] = self._tls
        self._heads.judge(self.scope, self.url)
        if self._overhead > self._most_header_bytes:
            self._measure_head()
        self._overhead = 0
        self.headers = []
        if self.parser.should_upgrade():
            if self.scope["method"] == "CONNECT":
                raise broken()
            self._again = True

    def _measure_head(self) -> None:
        """Refuse a head that is too large, where it came together with a body."""
        size = len(self.url) + sum(
            len(name) + len(value) + len(": \r\n") for name, value in self.headers
        )
        if size > self._most_header_bytes:
            raise _header_too_large()

    def on_body(self, body: bytes) -> None:
        """Hold the body until it is whole, or more than need be held."""
        super().on_body(body)
        self._overhead = 0
        if not self._asked and len(self.cycle.body) > HIGH_WATER_LIMIT:
            self._ask()

    def on_message_complete(self) -> None:
        """Hand a whole request to the application."""
        if self._again:
            return
        self.scope = None
        self._owes = False
        self._connections.received(self)
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if not self._asked:
            self._ask()
        elif not self.cycle.response_started:
            self.cycle.keep_alive = self._may_rest

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:  # noqa: ANN401
        """Do not start yet; uvicorn would as soon as there is a head."""

    def _ask(self) -> None:
        self._asked = True
        if self.cycle.more_body:
            # What an answer has not waited for is not read: it says that it closes.
            self._may_rest, self.cycle.keep_alive = self.cycle.keep_alive, False
        self._reply.expects_head = True
        self.cycle.transport = self._reply
        super()._start_asgi_task(self.cycle, self.app)

    def on_response_complete(self) -> None:
        """Rest until the next request, if there may be one."""
        self._reply.flush()
        self._asked = False
        # Uvicorn keeps it until the next request, and with it, of each connection that
        # rests, the 3 MB of a bulk heartbeat's ids.
        self.cycle.scope, self.url = _ANSWERED, b""
        self.server_state.total_requests += 1
        if self.cycle.more_body:  # which is of no use to anybody now
            self._close()
        elif self.transport.is_closing():
            self._await_reader()
        elif self._refusal is not None:
            self._answer(self._refusal)
        else:
            self.flow.resume_reading()
            self._connections.answered(self)

    def pause_writing(self) -> None:
        """Give the reader of an answer a time to read it."""
        super().pause_writing()
        self._connections.stalled(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Go on, as everything was read."""
        super().resume_writing()
        self._connections.flowing(self)

    def shutdown(self) -> None:
        """Answer a request that is whole; an unfinished one has nothing to lose."""
        if self._asked and not self.cycle.more_body:
            super().shutdown()
        else:
            self._close()

    def expire(self) -> None:
        """Give up a request that did not come in time."""
        if self.scope:
            self._answer(ProblemError(408, "request_timeout"))
        else:
            self._close()

    def close_idle(self) -> None:
        """Close, unless an answer still waits to be read: then hang up."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self._close()

    def abort(self) -> None:
        """Hang up, and hold nothing any more of a request that was not whole."""
        if self._has_head() and not self._asked:
            # What refers to itself is collected some time: 150 MB waited for that.
            self.cycle.body = bytearray()
        self.transport.abort()

    def _refuse(self, problem: ProblemError) -> None:
        """Read no more; answer once a request before this one is answered."""
        self._connections.count(ClosingCause.BROKEN, self)
        self._refusal = problem
        if self._asked and not self.cycle.more_body:
            self.flow.pause_reading()
        else:
            self._answer(problem)

    def _answer(self, problem: ProblemError) -> None:
        """Answer with a problem, as far as nothing was answered yet, and close."""
        self._refusal = problem
        if self._asked:  # it waits for the rest of a body
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not (self._asked and self.cycle.response_started):
            date = [b": ".join(one) for one in self.server_state.default_headers]
            status, rest = _rendered(problem.status_code, problem.code)
            self.transport.write(b"\r\n".join((status, *date, rest)))
        self._close()

    def _close(self) -> None:
        self._connections.forget(self)
        self.transport.close()
        self._await_reader()

    def _await_reader(self) -> None:
        """See that a closing connection ends, though nobody reads what is left.

        Of what is left over TLS, the transport knows but a part, often nothing.
        """
        self._connections.stalled(self, self.transport.get_write_buffer_size())


@functools.cache
def _rendered(status: int, code: str) -> tuple[bytes, bytes]:
    """Return the status line of a problem, and what follows the usual headers."""
    response = problem_response(ProblemError(status, code))
    headers = MutableHeaders(raw=response.raw_headers)
    headers["Connection"] = "close"
    head = b"".join(name + b": " + value + b"\r\n" for name, value in headers.raw)
    return STATUS_LINE[status].rstrip(), head + b"\r\n" + bytes(response.body)


def _header_too_large() -> ProblemError:
    return ProblemError(431, "header_too_large")
