"""The client and its connection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import httpx2

from hdnet.client.answers import (
    DepthResult,
    Intrinsics,
    Offer,
    ServiceError,
    Version,
    batch_results,
    depth_result,
    error_of,
    offers_of,
    version_of,
)
from hdnet.client.forms import (
    Box,
    Fields,
    Files,
    Order,
    Picture,
    box_text,
    camera_fields,
    camera_json,
    make_form,
    model_field,
    number_text,
    person_fields,
)

_NPZ, _GLB, _ZIP = "application/x-npz", "model/gltf-binary", "application/zip"


class Client:
    """Client of one service. May be shared by threads.

    Args:
        url: Address of the service, such as ``http://127.0.0.1:8000``.
        api_key: Sent as ``X-API-Key``.
        timeout_s: Longest wait for a connection, or between two pieces of the answer.
        transport: For tests; the network if not given.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        headers = {"X-API-Key": api_key} if api_key else {}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def depth(
        self,
        image: Picture,
        mask: Picture | None = None,
        *,
        densepose: Picture | None = None,
        camera: Intrinsics | None = None,
        fov_deg: float | None = None,
        box: Box | None = None,
        height_m: float | None = None,
        densepose_order: Order = "vui",
        model: str | None = None,
        request_id: str | None = None,
    ) -> DepthResult:
        """Depth and normals of one person.

        Args:
            image: The photograph: a path, an open binary file, a file's bytes, a PIL image, or an (H, W, 3) uint8
                array.
            mask: The person. Without one the photograph's transparency counts, else the person is found.
            densepose: DensePose map of the photograph; models for photographs need none.
            camera: Camera of the photograph, if known.
            fov_deg: Its vertical field of view instead. Without both the photograph's EXIF focal length counts.
            box: Left, top, right, bottom of the person meant, in pixels of the upright photograph; one of
                :attr:`DepthResult.people`.
            height_m: Height of the person, which sets the distance.
            densepose_order: Meaning of red, green and blue of a DensePose file.
            model: Id of one of :meth:`models`; the model in service if not given.
            request_id: Appears in the service's log and in the result.

        Raises:
            ServiceError: If the service refuses, fails or is not reached.
            InputError: If a file cannot be read.
        """
        files, fields = make_form([image], [mask], [densepose], densepose_order)
        fields |= camera_fields(camera, fov_deg) | person_fields(box, height_m) | model_field(model)
        return depth_result(self._post("/depth", files, fields, _NPZ, request_id))

    def mesh(
        self,
        image: Picture,
        mask: Picture | None = None,
        *,
        densepose: Picture | None = None,
        camera: Intrinsics | None = None,
        fov_deg: float | None = None,
        box: Box | None = None,
        height_m: float | None = None,
        densepose_order: Order = "vui",
        model: str | None = None,
        request_id: str | None = None,
    ) -> bytes:
        """The coloured mesh as a binary glTF file (.glb, y up, metres); arguments and errors as of :meth:`depth`."""
        files, fields = make_form([image], [mask], [densepose], densepose_order)
        fields |= camera_fields(camera, fov_deg) | person_fields(box, height_m) | model_field(model)
        return self._post("/depth", files, fields, _GLB, request_id).content

    def depth_batch(
        self,
        images: Sequence[Picture],
        masks: Sequence[Picture | None] | None = None,
        *,
        densepose: Sequence[Picture | None] | None = None,
        cameras: Sequence[Intrinsics | float | None] | None = None,
        boxes: Sequence[Box | None] | None = None,
        heights_m: Sequence[float | None] | None = None,
        densepose_order: Order = "vui",
        model: str | None = None,
        request_id: str | None = None,
    ) -> list[DepthResult | ServiceError]:
        """Depth and normals of several pictures in one request, each a result or its own error.

        Args:
            images: Photographs, each in one of the forms of :meth:`depth`.
            masks: For each the person, or None; None for all.
            densepose: For each its DensePose map, or None; None for all.
            cameras: For each the camera, the vertical field of view in degrees, or None.
            boxes: For each the box of the person meant, or None.
            heights_m: For each the height of the person, or None.
            densepose_order: As of :meth:`depth`.
            model: As of :meth:`depth`.
            request_id: As of :meth:`depth`.

        Raises:
            ServiceError: If the request as a whole is refused or fails.
            InputError: If a file cannot be read.
        """
        files, fields = make_form(images, masks or [], densepose or [], densepose_order)
        fields |= model_field(model)
        if cameras is not None:
            fields["cameras"] = json.dumps([camera_json(camera) for camera in cameras])
        if boxes is not None:
            fields["box"] = [box_text(box) for box in boxes]
        if heights_m is not None:
            fields["height_m"] = [number_text(height_m) for height_m in heights_m]
        return batch_results(self._post("/depth/batch", files, fields, _ZIP, request_id))

    def version(self) -> Version:
        """Versions of the package and of the model in service.

        Raises:
            ServiceError: If the service is not reached.
        """
        return version_of(self._send("GET", "/version"))

    def models(self) -> list[Offer]:
        """The models that a request may choose by their ids, newest version first, the shipped one last.

        Raises:
            ServiceError: If the service refuses or is not reached.
        """
        return offers_of(self._send("GET", "/models"))

    def _post(self, path: str, files: Files, fields: Fields, accept: str, request_id: str | None) -> httpx2.Response:
        headers = {"Accept": accept} | ({"X-Request-Id": request_id} if request_id else {})
        return self._send("POST", path, files=files, data=fields, headers=headers)

    def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        try:
            answer = self._http.request(method, path, **content)
        except httpx2.TimeoutException as error:
            raise ServiceError("timeout", f"{self._http.base_url} did not answer in time ({error})") from error
        except httpx2.HTTPError as error:
            raise ServiceError("unreachable", f"{self._http.base_url} cannot be reached ({error})") from error
        if not answer.is_success:
            raise error_of(answer)
        return answer
