"""The endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile
from fastapi.responses import HTMLResponse

from hdnet import __version__
from hdnet.pictures import IuvOrder
from serving.decoding import decode_parts
from serving.lane import Lane
from serving.metrics import Metrics
from serving.model_store import ModelStore, ServedModel
from serving.negotiation import choose
from serving.problems import PROBLEM_TYPE, Problem
from serving.responses import ENCODERS, GLB, NPZ, PNG, model_body
from serving.schemas import DepthBody, LiveBody, ProblemBody, ReadyBody, VersionBody
from serving.settings import Settings

# The page carries its script and style in itself and loads nothing from anywhere else.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_MODEL_HEADERS = {
    name: {"schema": {"type": "string"}}
    for name in ("X-Request-Id", "X-Model-Name", "X-Model-Version", "X-Model-Alias", "X-Run-Id")
}


@dataclass(frozen=True, eq=False)
class Service:
    """What the endpoints share; lives in ``app.state.service``."""

    settings: Settings
    store: ModelStore
    lane: Lane
    metrics: Metrics


def get_service(request: Request) -> Service:
    """The service of this application."""
    service: Service = request.app.state.service
    return service


ServiceParameter = Annotated[Service, Depends(get_service)]


def require_multipart(request: Request) -> None:
    """Refuses bodies that are no forms with files.

    Raises:
        Problem: 415.
    """
    found = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if found != "multipart/form-data":
        detail = f"the body is {found or 'of no stated type'}, expected multipart/form-data with files"
        raise Problem(415, "unsupported_media_type", detail, {"Accept": "multipart/form-data"})


def negotiate(request: Request) -> str:
    """The media type of the answer.

    Raises:
        Problem: 406 if the client takes none of ours.
    """
    accept = ", ".join(request.headers.getlist("accept"))
    chosen = choose(accept, list(ENCODERS))
    if chosen is None:
        detail = f"Accept is '{accept}', this service answers as {', '.join(ENCODERS)}"
        raise Problem(406, "not_acceptable", detail)
    return chosen


def require_model(service: ServiceParameter) -> ServedModel:
    """The model in service, or the 503 problem."""
    return service.store.require()


def _problem_responses(**statuses: str) -> dict[int | str, dict[str, Any]]:
    content = {PROBLEM_TYPE: {"schema": ProblemBody.model_json_schema()}}
    return {int(status[1:]): {"description": text, "content": content} for status, text in statuses.items()}


def make_router(settings: Settings) -> APIRouter:
    """All endpoints; the body limit is the only setting that is fixed here."""
    router = APIRouter()
    router.add_api_route(
        "/depth",
        post_depth,
        methods=["POST"],
        max_body_size=settings.max_body_bytes,
        form_limits={"max_files": 8, "max_fields": 16, "max_part_size": 4096},
        response_class=Response,
        summary="Depth, normals and mesh of a dressed person",
        tags=["depth"],
        responses={
            200: {
                "model": DepthBody,
                "description": "By Accept: JSON, 16-bit PNG (mm), NPZ (depth_m, normals, mask) or GLB mesh.",
                "content": {PNG: _BINARY, NPZ: _BINARY, GLB: _BINARY},
                "headers": _MODEL_HEADERS,
            },
            **_problem_responses(
                _400="The form cannot be parsed.",
                _406="No media type of Accept is offered.",
                _413="The body is too large.",
                _415="The body is not multipart/form-data.",
                _422="A part is missing, is not a picture, or the pictures do not belong together.",
                _500="The service failed.",
                _503="No model yet, or the queue is full; see Retry-After.",
                _504="The deadline passed.",
            ),
        },
    )
    router.add_api_route("/health/live", live, tags=["operations"], summary="Is the process up?")
    router.add_api_route(
        "/health/ready",
        ready,
        tags=["operations"],
        summary="Is a model in service?",
        responses=_problem_responses(_503="No model yet; see Retry-After."),
    )
    router.add_api_route("/version", version, tags=["operations"], summary="Versions of the package and the model")
    router.add_api_route("/metrics", metrics, tags=["operations"], summary="Prometheus", response_class=Response)
    router.add_api_route("/", page, include_in_schema=False, response_class=HTMLResponse)
    return router


async def post_depth(
    request: Request,
    service: ServiceParameter,
    _multipart: Annotated[None, Depends(require_multipart)],
    media_type: Annotated[str, Depends(negotiate)],
    model: Annotated[ServedModel, Depends(require_model)],
    image: Annotated[UploadFile, File(description="Photograph of one person: PNG, JPEG or WebP.")],
    densepose: Annotated[UploadFile, File(description="DensePose map of the image as PNG. The network needs it.")],
    mask: Annotated[
        UploadFile | None,
        File(description="White person on black. Not needed if the image is transparent around the person."),
    ] = None,
    densepose_order: Annotated[
        IuvOrder,
        Form(description="What R, G, B of the DensePose map hold: V, U, I (the default) or I, U, V."),
    ] = "vui",
) -> Response:
    """All three pictures have one size; depth and normals come back at that size.

    Depth is z in metres in the camera frame (x right, y down, z forward); its absolute scale is normalised (a
    person's median depth is about 4 m). Errors are `application/problem+json` with a `code`.
    """
    async with service.lane.admit() as admission:
        decode = partial(
            decode_parts,
            image.file,
            mask.file if mask is not None and not _left_empty(mask) else None,
            densepose.file,
            densepose_order,
            service.settings.max_pixels,
        )
        pictures = await admission.picture_work("decode", decode)
        infer = partial(model.predictor.infer, pictures.image, pictures.mask, pictures.iuv)
        prediction = await admission.inference(infer)
        encode = partial(ENCODERS[media_type], prediction, model, request.state.request_id)
        content = await admission.picture_work("encode", encode)
    return Response(content, media_type=media_type, headers={**model.headers(), "Vary": "Accept"})


def _left_empty(part: UploadFile) -> bool:
    """True for what a browser's form sends for a file field that nobody filled in."""
    return not part.filename and not part.size


async def live() -> LiveBody:
    """200 as long as the process answers."""
    return LiveBody()


async def ready(model: Annotated[ServedModel, Depends(require_model)]) -> ReadyBody:
    """200 once a model is in service, until then 503."""
    return ReadyBody(model=model_body(model))


async def version(service: ServiceParameter) -> VersionBody:
    """The package's version and the model in service."""
    current = service.store.current
    return VersionBody(version=__version__, model=model_body(current) if current else None)


async def metrics(service: ServiceParameter) -> Response:
    """Counters in Prometheus' text format."""
    return Response(service.metrics.render(), media_type=service.metrics.content_type)


async def page() -> HTMLResponse:
    """A page to try the service."""
    html = files("serving").joinpath("page", "index.html").read_text(encoding="utf-8")
    return HTMLResponse(html, headers={"Content-Security-Policy": _PAGE_POLICY})
