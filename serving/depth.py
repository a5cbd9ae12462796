"""One picture's way through the service: decode, prepare, infer, finish, encode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from serving.decoding import Parts, decode_parts
from serving.lane import Admission
from serving.model_store import ServedModel
from serving.responses import Answer
from serving.schemas import CameraSource
from serving.service import Service

if TYPE_CHECKING:
    from hdnet.predict.inference import Prepared

EncodedT = TypeVar("EncodedT")


@dataclass(frozen=True, eq=False)
class Work:
    """What the pictures of one request share.

    Attributes:
        service: The service.
        model: The model that the request began with.
        admission: The request's right to use the threads.
        request_id: The request's.
    """

    service: Service
    model: ServedModel
    admission: Admission
    request_id: str

    async def predict(self, parts: Parts, encode: Callable[[Answer], EncodedT]) -> EncodedT:
        """Depth and normals of one picture.

        Args:
            parts: The picture.
            encode: Makes an answer of them, off the event loop.

        Raises:
            Problem: 422 for parts that cannot be used.
            InputError: If the model cannot take the person, for example because the mask is too thin.
            ModelError: If the model gives nothing usable.
        """
        prepared, source = await self.admission.picture_work(lambda: self._prepare(parts))
        outputs_4hw = await self.admission.inference(self.model.predictor, prepared)
        return await self.admission.picture_work(lambda: self._finish(prepared, outputs_4hw, source, encode))

    def _prepare(self, parts: Parts) -> tuple[Prepared, CameraSource]:
        stage = self.service.metrics.stage
        with stage("decode"):
            pictures = decode_parts(parts, self.service.settings.max_pixels)
        self.service.drift.observe(pictures.image, pictures.mask, pictures.iuv)
        with stage("prepare"):
            camera = pictures.camera
            prepared = self.model.predictor.prepare(pictures.image, pictures.mask, pictures.iuv, camera.camera)
        return prepared, camera.source

    def _finish(
        self,
        prepared: Prepared,
        outputs_4hw: np.ndarray,
        source: CameraSource,
        encode: Callable[[Answer], EncodedT],
    ) -> EncodedT:
        stage = self.service.metrics.stage
        with stage("finish"):
            prediction = self.model.predictor.finish(prepared, outputs_4hw)
        with stage("encode"):
            return encode(Answer(prediction, self.model, source, self.request_id))
