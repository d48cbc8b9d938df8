"""HTTP below the application: what is no HTTP is told so as a problem too."""

from starlette.datastructures import MutableHeaders
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import ProblemError, problem_response


class RegistryProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, with our own answer to bytes that it cannot parse."""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - as overridden
        """Answer 400 and hang up; the parser's words are not repeated."""
        response = problem_response(ProblemError(400, "http_error"))
        headers = MutableHeaders(raw=response.raw_headers)
        headers["Connection"] = "close"
        lines = [b"HTTP/1.1 400 Bad Request"]
        lines += [name + b": " + value for name, value in headers.raw]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + bytes(response.body))
        self.transport.close()
