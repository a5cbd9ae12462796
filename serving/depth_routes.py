"""``POST /depth`` and ``POST /depth/batch``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from hdnet.pictures.reading import IuvOrder
from serving import problems
from serving.admission import cancel_when_gone
from serving.depth import DepthRequest
from serving.depth_batch import encode_all, predict_all
from serving.documentation import batch_responses, depth_responses
from serving.forms import (
    BATCH,
    MAX_PICTURES,
    ONE,
    BoxesField,
    BoxField,
    CameraFields,
    CamerasField,
    DensePoseField,
    DensePosesField,
    HeightField,
    HeightsField,
    ImageField,
    ImagesField,
    MaskField,
    MasksField,
    ModelField,
    OrderField,
    OrdersField,
    camera_form,
    check_fields,
    one_picture,
    several_pictures,
)
from serving.model_store import ServedModel
from serving.multipart import FormRoute
from serving.responses import ENCODERS, JSON, ZIP, Answer
from serving.security import document_key
from serving.service import ModelParameter, Service, ServiceParameter
from serving.settings import Settings

_TEXT_BYTES = 4096  # of a form's text field
_USUAL_ORDER: list[IuvOrder] = ["vui"]


def choose_media_type(accept: str, offered: Sequence[str]) -> str | None:
    """The offered media type that an ``Accept`` header prefers (RFC 9110, section 12.5.1); of equals the first.

    Args:
        accept: Value of the header, several joined by commas; empty means that any type will do.
        offered: Types without parameters, the preferred one first.

    Returns:
        One of ``offered``, or None if the header admits none.
    """
    if not accept.strip():
        return offered[0]
    # Our types have no parameters: `application/json; charset=utf-8` asks for JSON.
    ranges = MIMEAccept([(value.split(";")[0].strip(), quality) for value, quality in parse_accept_header(accept)])
    best = max(offered, key=ranges.quality)
    return best if ranges.quality(best) > 0 else None


def negotiate(offered: Sequence[str]) -> Callable[[Request], str]:
    """A dependency that gives the media type of the answer, one of ``offered``, or raises the 406 problem."""

    def chosen(request: Request) -> str:
        accept = ", ".join(request.headers.getlist("accept"))
        media_type = choose_media_type(accept, offered)
        if media_type is None:
            raise problems.NOT_ACCEPTABLE.problem(accept=accept, offered=", ".join(offered))
        return media_type

    return chosen


def make_depth_router(settings: Settings) -> APIRouter:
    """Both endpoints; the body limit is the only setting that is fixed here."""
    router = APIRouter(route_class=FormRoute, dependencies=document_key(settings.api_keys), tags=["depth"])
    router.add_api_route(
        "/depth",
        post_depth,
        methods=["POST"],
        max_body_size=settings.max_body_bytes,
        form_limits={"max_files": 8, "max_fields": 32, "max_part_size": _TEXT_BYTES},
        response_class=Response,
        summary="Depth, normals and mesh of a dressed person",
        responses=depth_responses(),
    )
    router.add_api_route(
        "/depth/batch",
        post_depth_batch,
        methods=["POST"],
        max_body_size=settings.max_body_bytes,
        form_limits={
            "max_files": 4 * MAX_PICTURES,
            "max_fields": 4 * MAX_PICTURES,
            "max_part_size": MAX_PICTURES * _TEXT_BYTES,
        },
        response_class=Response,
        summary="The same for several pictures",
        responses=batch_responses(),
    )
    return router


async def post_depth(
    request: Request,
    service: ServiceParameter,
    media_type: Annotated[str, Depends(negotiate(list(ENCODERS)))],
    in_service: ModelParameter,
    camera: Annotated[CameraFields, Depends(camera_form)],
    image: ImageField,
    mask: MaskField = None,
    densepose: DensePoseField = None,
    densepose_order: OrderField = "vui",
    box: BoxField = "",
    height_m: HeightField = None,
    model: ModelField = "",
) -> Response:
    """All three pictures have one size; depth and normals come back at that size, in the picture's camera.

    Depth is z in metres in the camera frame (x right, y down, z forward); `scale` says whether its distance is told,
    estimated or assumed. The camera is the form's (fx, fy, cx, cy or fov_deg), else that of the
    photograph's EXIF focal length, else assumed; the answer says which. Errors are `application/problem+json`
    with a `code`.
    """
    await check_fields(request, ONE)
    parts = one_picture(image, mask, densepose, densepose_order, camera, box, height_m)

    def encode(answer: Answer) -> Response:
        headers = {**answer.headers(), "Vary": "Accept"}
        return Response(ENCODERS[media_type](answer), media_type=media_type, headers=headers)

    async def work() -> Response:
        async with service.admission.admit() as threads:
            answering = await _chosen(request, service, in_service, model)
            return await DepthRequest(service, answering, threads, request.state.request_id).predict(parts, encode)

    return await cancel_when_gone(request, work())


async def post_depth_batch(
    request: Request,
    service: ServiceParameter,
    media_type: Annotated[str, Depends(negotiate([JSON, ZIP]))],
    in_service: ModelParameter,
    image: ImagesField,
    mask: MasksField = None,
    densepose: DensePosesField = None,
    densepose_order: OrdersField = _USUAL_ORDER,
    cameras: CamerasField = "",
    box: BoxesField = None,
    height_m: HeightsField = None,
    model: ModelField = "",
) -> Response:
    """The parts `image`, `densepose` and `mask` may be given several times; the first of each belong together.

    The answer is 200 with one entry a picture, in their order: a result, or the problem that it would have got
    alone. As JSON, or as a ZIP with `results.json` and one NPZ (`depth_m`, `normals`, `mask`) a picture. The
    deadline holds for the whole request.
    """
    await check_fields(request, BATCH)
    pictures = several_pictures(image, mask, densepose, densepose_order, cameras, box, height_m)

    async def work() -> Response:
        async with service.admission.admit(has_deadline=False) as threads:
            answering = await _chosen(request, service, in_service, model)
            depth = DepthRequest(service, answering, threads, request.state.request_id)
            items = await predict_all(depth, pictures, media_type, request.url.path)
            content = await threads.picture_work(lambda: encode_all(depth, items, media_type))
            return Response(content, media_type=media_type, headers={**answering.headers(), "Vary": "Accept"})

    return await cancel_when_gone(request, work())


async def _chosen(request: Request, service: Service, in_service: ServedModel, model_id: str) -> ServedModel:
    """The model that a request chooses, which its errors then name, or that in service.

    Raises:
        Problem: 422 if there is no such model.
        ModelError: If it cannot be loaded.
    """
    if not model_id:
        return in_service
    chosen = await service.choice.take(model_id)
    request.state.model_headers = chosen.headers()
    return chosen
