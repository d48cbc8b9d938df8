"""A server that answers as it is told to, and remembers what it was asked."""

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Recorder(BaseHTTPRequestHandler):
    """Answers as it is told to, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    server: "Recording"

    def do_GET(self) -> None:
        """Answer."""
        self.server.asked.append(dict(self.headers))
        self.server.on_asked()
        status, content = self.server.told
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Recording(ThreadingHTTPServer):
    """Such a server."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Recorder)
        self.asked: list[dict[str, str]] = []
        self.connections = 0
        self.told = (200, b"[]")
        self.headers: dict[str, str] = {}
        self.on_asked: Callable[[], object] = lambda: None
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Say nothing of callers that have heard enough."""

    def verify_request(self, *_: object) -> bool:
        """Count connections."""
        self.connections += 1
        return True
