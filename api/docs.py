"""`/docs`: the API's page for people, complete on a network without internet."""

import base64
import hashlib
import re

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

_DESCRIPTION = "/openapi.json"
_FILES = "/docs/files"
#: Swagger UI writes styles into its elements, and has pictures within its own; what
#: it may run is its file, and the one script in the page that starts it.
_POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{digest}'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


def install(app: FastAPI) -> None:
    """Serve the description, Swagger UI and its files from this process."""
    files = StaticFiles(packages=[("fastapi_swagger", "resources")])

    # A route, not a mount: a mount would take every method, and hide its own.
    @app.get(f"{_FILES}/{{name:path}}", include_in_schema=False)
    async def docs_file(name: str, request: Request) -> Response:
        return await files.get_response(name, request.scope)

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


def _policy(page: bytes) -> str:
    """Return what a page with one script inside may do."""
    (script,) = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
    return _POLICY.format(digest=digest)
