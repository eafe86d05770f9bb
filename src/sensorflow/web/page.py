"""The built page: two documents and their hashed assets, under a strict policy."""

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE_DIR: Final = Path(__file__).parent / "page"

_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


class _Assets(StaticFiles):
    """Files whose names hold their content's hash never change."""

    async def check_config(self) -> None:
        # Where the page is not built there is no folder, and thus no such file.
        if not (PAGE_DIR / "assets").is_dir():
            raise HTTPException(404)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def add_page(app: FastAPI) -> None:
    """Serve the page at `/` and the API's description at `/docs`."""

    async def document(name: str) -> Response:
        path = PAGE_DIR / name
        if not path.is_file():
            return PlainTextResponse(
                "The page is not built. Run `make page`, then reload.\n", status_code=503
            )
        return FileResponse(path, headers=_HEADERS)

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> Response:
        return await document("index.html")

    @app.api_route("/docs", methods=["GET", "HEAD"], include_in_schema=False)
    async def docs() -> Response:
        return await document("docs.html")

    @app.api_route("/favicon.svg", methods=["GET", "HEAD"], include_in_schema=False)
    async def favicon() -> Response:
        return await document("favicon.svg")

    app.mount("/assets", _Assets(directory=PAGE_DIR / "assets", check_dir=False))
