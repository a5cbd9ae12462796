"""``POST /depth`` and ``POST /depth/batch``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, File, Form, Request, Response, UploadFile

from hdnet.pictures.reading import IuvOrder
from serving.batch import MAX_PICTURES, ZIP, encode_all, predict_all
from serving.cameras import CameraFields, CamerasField, camera_form, parse_cameras
from serving.decoding import Parts
from serving.depth import Work
from serving.documentation import batch_responses, depth_responses
from serving.lane import unless_gone
from serving.negotiation import choose
from serving.problems import Problem
from serving.responses import ENCODERS, JSON, Answer
from serving.security import document_key
from serving.service import ModelParameter, ServiceParameter
from serving.settings import Settings

_TEXT_BYTES = 4096  # of a form's text field


def require_multipart(request: Request) -> None:
    """Refuses bodies that are no forms with files.

    Raises:
        Problem: 415.
    """
    found = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if found != "multipart/form-data":
        detail = f"the body is {found or 'of no stated type'}, expected multipart/form-data with files"
        raise Problem(415, "unsupported_media_type", detail, {"Accept": "multipart/form-data"})


def negotiate(offered: Sequence[str]) -> Callable[[Request], str]:
    """A dependency that gives the media type of the answer, one of ``offered``, or raises the 406 problem."""

    def chosen(request: Request) -> str:
        accept = ", ".join(request.headers.getlist("accept"))
        media_type = choose(accept, offered)
        if media_type is None:
            raise Problem(406, "not_acceptable", f"Accept is '{accept}', this address answers as {', '.join(offered)}")
        return media_type

    return chosen


def make_depth_router(settings: Settings) -> APIRouter:
    """Both endpoints; the body limit is the only setting that is fixed here."""
    router = APIRouter(dependencies=[*document_key(settings.api_keys), Depends(require_multipart)], tags=["depth"])
    router.add_api_route(
        "/depth",
        post_depth,
        methods=["POST"],
        max_body_size=settings.max_body_bytes,
        form_limits={"max_files": 8, "max_fields": 16, "max_part_size": _TEXT_BYTES},
        response_class=Response,
        summary="Depth, normals and mesh of a dressed person",
        responses=depth_responses(),
    )
    router.add_api_route(
        "/depth/batch",
        post_depth_batch,
        methods=["POST"],
        max_body_size=settings.max_body_bytes,
        form_limits={"max_files": 3 * MAX_PICTURES, "max_fields": 16, "max_part_size": MAX_PICTURES * _TEXT_BYTES},
        response_class=Response,
        summary="The same for several pictures",
        responses=batch_responses(),
    )
    return router


_IMAGE = "Photograph of one person: PNG, JPEG, WebP, BMP or GIF; any size, upright as EXIF says."
_DENSEPOSE = "DensePose map of the image as PNG, of the same size. The network needs it."
_MASK = "White person on black. Not needed if the image is transparent around the person."
_ORDER = "What R, G, B of the DensePose map hold: V, U, I (the default) or I, U, V."
OrderField = Annotated[IuvOrder, Form(description=_ORDER)]


async def post_depth(
    request: Request,
    service: ServiceParameter,
    media_type: Annotated[str, Depends(negotiate(list(ENCODERS)))],
    model: ModelParameter,
    camera: Annotated[CameraFields, Depends(camera_form)],
    image: Annotated[UploadFile, File(description=_IMAGE)],
    densepose: Annotated[UploadFile, File(description=_DENSEPOSE)],
    mask: Annotated[UploadFile | None, File(description=_MASK)] = None,
    densepose_order: OrderField = "vui",
) -> Response:
    """All three pictures have one size; depth and normals come back at that size, in the picture's camera.

    Depth is z in metres in the camera frame (x right, y down, z forward); its absolute scale is normalised (a
    person's median depth is about 4 m). The camera is the form's (fx, fy, cx, cy or fov_deg), else that of the
    photograph's EXIF focal length, else assumed; the answer says which. Errors are `application/problem+json`
    with a `code`.
    """
    parts = Parts(image.file, _given(mask), densepose.file, densepose_order, camera)

    def encode(answer: Answer) -> Response:
        headers = {**answer.headers(), "Vary": "Accept"}
        return Response(ENCODERS[media_type](answer), media_type=media_type, headers=headers)

    async def work() -> Response:
        async with service.lane.admit() as admission:
            return await Work(service, model, admission, request.state.request_id).predict(parts, encode)

    return await unless_gone(request, work())


async def post_depth_batch(
    request: Request,
    service: ServiceParameter,
    media_type: Annotated[str, Depends(negotiate([JSON, ZIP]))],
    model: ModelParameter,
    image: Annotated[list[UploadFile], File(description=f"1 to {MAX_PICTURES} photographs. {_IMAGE}")],
    densepose: Annotated[list[UploadFile], File(description=f"As many, in the same order. {_DENSEPOSE}")],
    mask: Annotated[list[UploadFile] | None, File(description=f"As many, in the same order, or none. {_MASK}")] = None,
    densepose_order: OrderField = "vui",
    cameras: CamerasField = "",
) -> Response:
    """The parts `image`, `densepose` and `mask` may be given several times; the first of each belong together.

    The answer is 200 with one entry a picture, in their order: a result, or the problem that it would have got
    alone. As JSON, or as a ZIP with `results.json` and one NPZ (`depth_m`, `normals`, `mask`) a picture. The
    deadline holds for the whole request.
    """
    pictures = _pictures(image, densepose, mask, densepose_order, parse_cameras(cameras, len(image)))

    async def work() -> bytes:
        async with service.lane.admit(whole=False) as admission:
            batch = Work(service, model, admission, request.state.request_id)
            items = await predict_all(batch, pictures, media_type, request.url.path)
            return await admission.picture_work(lambda: encode_all(batch, items, media_type))

    content = await unless_gone(request, work())
    return Response(content, media_type=media_type, headers={**model.headers(), "Vary": "Accept"})


def _pictures(
    images: list[UploadFile],
    maps: list[UploadFile],
    masks: list[UploadFile] | None,
    order: IuvOrder,
    cameras: list[CameraFields],
) -> list[Parts]:
    given = [_given(mask) for mask in masks or []]
    if not any(given):  # a browser's form sends one for the field that nobody filled in
        given = [None] * len(images)
    if len(images) > MAX_PICTURES:
        detail = f"the form has {len(images)} pictures, expected at most {MAX_PICTURES}; send several requests"
        raise Problem(422, "too_many_pictures", detail, fields=["image"])
    for name, count in (("densepose", len(maps)), ("mask", len(given))):
        if count != len(images):
            detail = f"the form has the part 'image' {len(images)} times and '{name}' {count} times, expected as many"
            raise Problem(422, "count_mismatch", detail, fields=["image", name])
    together = zip(images, given, maps, cameras, strict=True)
    return [Parts(image.file, mask, iuv.file, order, camera) for image, mask, iuv, camera in together]


def _given(part: UploadFile | None) -> BinaryIO | None:
    """The part's file; None for what a browser's form sends for a file field that nobody filled in."""
    return None if part is None or (not part.filename and not part.size) else part.file
