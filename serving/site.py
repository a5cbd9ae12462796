"""The page at ``/`` and its files; nothing is loaded from other servers."""

from __future__ import annotations

import io
import zipfile
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from trimesh import resources

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self' blob:; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)


def add_page(app: FastAPI) -> None:
    """Adds the page, its scripts and the sample person to a service."""
    folder = Path(str(files("serving"))) / "page"
    html = (folder / "index.html").read_text(encoding="utf-8")

    async def page(request: Request) -> HTMLResponse:
        """A page to try the service; its addresses are relative to the prefix under which a proxy publishes it."""
        base = f'<base href="{escape(request.scope.get("root_path", ""))}/">'
        return HTMLResponse(html.replace("<head>", f"<head>\n{base}", 1), headers={"Content-Security-Policy": POLICY})

    async def three() -> Response:
        """The library of the mesh viewer."""
        return Response(three_js(), media_type="text/javascript")

    app.add_api_route("/", page, include_in_schema=False, response_class=HTMLResponse)
    app.add_api_route("/page/three.js", three, include_in_schema=False, response_class=Response)
    app.mount("/page", StaticFiles(directory=folder), name="page")


@cache
def three_js() -> str:
    """three.js with its glTF loader and trackball controls: the script of the viewer page in trimesh's package.

    The page's own last call, which shows a mesh embedded in the page, is left out.
    """
    with zipfile.ZipFile(io.BytesIO(resources.get_bytes("templates/viewer.zip"))) as archive:
        page = archive.read("viewer.html.template").decode("utf-8")
    script = page.partition("<script>")[2].rpartition("</script>")[0]
    return script.removesuffix("init();")
