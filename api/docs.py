"""`/docs`: the API's page for people, complete on a network without internet."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from functools import cache
from importlib import resources

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

from api.errors import ProblemError

_DESCRIPTION = "/openapi.json"
_FILES = "/docs/files"
_MEDIA_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
#: What a reader who reads nothing has waiting; a whole file is 1.7 MB.
_CHUNK_BYTES = 64 * 1024
#: Swagger UI writes styles into its elements, and has pictures within its own; what
#: it may run is its file, and the one script in the page that starts it.
_POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{digest}'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


def install(app: FastAPI) -> None:
    """Serve the description, Swagger UI and its files from this process."""
    files = _files()

    # A route, not a mount: a mount would take every method, and hide its own.
    @app.get(f"{_FILES}/{{name:path}}", include_in_schema=False)
    async def docs_file(name: str) -> StreamingResponse:
        if name not in files:
            raise ProblemError(404, "not_found")
        content = files[name]
        return StreamingResponse(
            _chunks(content),
            headers={"Content-Length": str(len(content))},
            media_type=_MEDIA_TYPES[name],
        )

    # FastAPI's own would not be asked who may see it.
    @app.get(_DESCRIPTION, include_in_schema=False)
    async def openapi() -> JSONResponse:
        return JSONResponse(app.openapi())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url=_DESCRIPTION,
            title=app.title,
            swagger_js_url=f"{_FILES}/swagger-ui-bundle.js",
            swagger_css_url=f"{_FILES}/swagger-ui.css",
            swagger_favicon_url=f"{_FILES}/favicon-32x32.png",
        )
        page.headers["Content-Security-Policy"] = _policy(bytes(page.body))
        page.headers["Referrer-Policy"] = "no-referrer"
        return page


@cache
def _files() -> dict[str, bytes]:
    # In memory, once: an open file took a descriptor for each slow reader, and those
    # that are left to the store ran out.
    folder = resources.files("fastapi_swagger") / "resources"
    return {name: (folder / name).read_bytes() for name in _MEDIA_TYPES}


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _CHUNK_BYTES):
        yield content[start : start + _CHUNK_BYTES]


def _policy(page: bytes) -> str:
    """Return what a page with one script inside may do."""
    (script,) = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return _POLICY.format(digest=digest)
