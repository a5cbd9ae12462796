"""Forms as senders really write them: files without a file name, with ``filename*`` alone, compressed bodies."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from serving import problems

# In a batch an empty one stands for a picture that has none. FastAPI drops those whose name is "", which would give the
# others to the wrong pictures.
OPTIONAL_PARTS = ("mask", "densepose")
FILE_PARTS = ("image", *OPTIONAL_PARTS)

MEDIA_TYPE = "multipart/form-data"

# Transfer encodings that leave the bytes as they are (RFC 7578, section 4.7, which abolished the others).
_PLAIN = frozenset({b"", b"7bit", b"8bit", b"binary"})
_SAMPLE_BYTES = 4096  # the beginning of a part tells whether it is a text


class FormRoute(APIRoute):
    """A route whose forms are read by :class:`PartParser`; other bodies are refused before they are read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler with a request of our own."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            _require_form(request)
            return await handle(_FormRequest(request.scope, request.receive))

        return checked


def _require_form(request: Request) -> None:
    """Refuses bodies that are no forms with files, and compressed ones.

    Raises:
        Problem: 415.
    """
    found = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if found != MEDIA_TYPE:
        found = found or "of no stated type"
        raise problems.UNSUPPORTED_MEDIA_TYPE.problem(found=found, headers={"Accept": MEDIA_TYPE})
    encoding = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if encoding not in ("", "identity"):
        shown = repr(encoding[:40])[1:-1]
        raise problems.UNSUPPORTED_ENCODING.problem(found=shown, headers={"Accept-Encoding": "identity"})


class _FormRequest(Request):
    async def _get_form(
        self,
        *,
        max_files: int | float = 1000,
        max_fields: int | float = 1000,
        max_part_size: int = 1024 * 1024,
    ) -> FormData:
        if self._form is None:
            limits: dict[str, Any] = {"max_files": max_files, "max_fields": max_fields, "max_part_size": max_part_size}
            try:
                async with aclosing(self.stream()) as stream:
                    self._form = await PartParser(self.headers, stream, **limits).parse()
            except MultiPartException as error:
                raise HTTPException(400, error.message) from error
        return self._form


class PartParser(MultiPartParser):
    """Reads a form; a picture is a file whether or not its part has a file name.

    Starlette takes a part for a file only if it has a ``filename``; of ``filename*``, which some libraries send
    alone for names beyond ASCII, its parser knows nothing.
    """

    def __init__(self, *args: Any, **limits: Any) -> None:
        super().__init__(*args, **limits)
        self._nameless: list[UploadFile] = []

    def on_headers_finished(self) -> None:
        """Opens a file for pictures without a file name."""
        part = self._current_part
        _, options = parse_options_header(part.content_disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        encoding = dict(part.item_headers).get(b"content-transfer-encoding", b"").strip().lower()
        if encoding not in _PLAIN:
            found = f"the part '{_shown(name)}' has Content-Transfer-Encoding {_shown(encoding.decode('latin-1'))}"
            raise MultiPartException(f"{found}, expected the file's own bytes")
        is_nameless = name in FILE_PARTS and b"filename" not in options
        if is_nameless:
            part.content_disposition = (part.content_disposition or b"") + b'; filename=""'
        super().on_headers_finished()
        if is_nameless and part.file is not None:
            self._nameless.append(part.file)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Limits texts, and names the one that is too long."""
        part = self._current_part
        if part.file is None and len(part.data) + end - start > self.max_part_size:
            raise MultiPartException(
                f"the part '{_shown(part.field_name)}' is a text of more than {self.max_part_size} bytes"
            )
        super().on_part_data(data, start, end)

    async def parse(self) -> FormData:
        """The form; a part without a file name that holds a text is a text."""
        form = await super().parse()
        texts: dict[int, str] = {}
        for file in self._nameless:
            text = await _text_in(file)
            if text:
                texts[id(file)] = text
                await file.close()
        items = [(name, texts.get(id(value), value)) for name, value in form.multi_items()]
        for name, value in items:
            if name in OPTIONAL_PARTS and isinstance(value, UploadFile) and not value.filename and not value.size:
                value.filename = None
        return FormData(items)


async def _text_in(file: UploadFile) -> str:
    """The beginning of a file without a name if it is a text, as of a path or of base64; otherwise empty."""
    if (file.content_type or "").startswith("image/"):
        return ""
    start = await file.read(_SAMPLE_BYTES)
    await file.seek(0)
    try:
        text = start.decode("ascii")
    except UnicodeDecodeError:
        return ""
    return text if all(letter.isprintable() or letter in "\r\n\t" for letter in text) else ""


def _shown(name: str) -> str:
    """What the client wrote, on one line and not long."""
    return repr(name[:40])[1:-1]
