"""The page at ``/`` and its files; nothing is loaded from anywhere else."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

# The mesh viewer compiles a decoder, writes style elements into its own shadow tree and hands the mesh over as a blob.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; connect-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_page(app: FastAPI) -> None:
    """Adds the page, its scripts and the sample person to a service."""
    folder = Path(str(files("serving"))) / "page"
    html = (folder / "index.html").read_text(encoding="utf-8")

    async def page() -> HTMLResponse:
        """A page to try the service."""
        return HTMLResponse(html, headers={"Content-Security-Policy": POLICY})

    app.add_api_route("/", page, include_in_schema=False, response_class=HTMLResponse)
    app.mount("/page", StaticFiles(directory=folder), name="page")
