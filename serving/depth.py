"""The steps of one picture through the service: decode, prepare, infer, finish, encode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hdnet.pictures.cameras import CameraSource
from serving.admission import RequestThreads
from serving.forms import Parts, decode_parts
from serving.model_store import ServedModel
from serving.responses import Answer
from serving.service import Service

if TYPE_CHECKING:
    from hdnet.predict.inference import PreparedPicture
    from hdnet.predict.runtime_names import Outputs

EncodedT = TypeVar("EncodedT")


@dataclass(frozen=True, eq=False)
class DepthRequest:
    """An admitted request for depth, of one picture or several.

    Attributes:
        service: The service.
        model: The model that the request began with.
        threads: The threads that the request may use.
        request_id: The request's id.
    """

    service: Service
    model: ServedModel
    threads: RequestThreads
    request_id: str

    async def predict(self, parts: Parts, encode: Callable[[Answer], EncodedT]) -> EncodedT:
        """Depth and normals of one picture.

        Args:
            parts: The picture.
            encode: Makes an answer of them, off the event loop.

        Raises:
            InputError: If the pictures cannot be used.
            ModelError: If the model gives nothing usable.
        """
        prepared, source = await self.threads.picture_work(lambda: self._prepare(parts))
        outputs = await self.threads.inference(self.model.predictor, prepared)
        return await self.threads.picture_work(lambda: self._finish(prepared, outputs, source, encode))

    def _prepare(self, parts: Parts) -> tuple[PreparedPicture, CameraSource]:
        stage = self.service.metrics.stage
        with stage("decode"):
            pictures, camera = decode_parts(parts, self.service.settings.max_pixels)
        self.service.drift.observe(pictures.image, pictures.mask, pictures.iuv)
        with stage("prepare"):
            return self.model.predictor.prepare(pictures, camera.camera), camera.source

    def _finish(
        self, prepared: PreparedPicture, outputs: Outputs, source: CameraSource, encode: Callable[[Answer], EncodedT]
    ) -> EncodedT:
        stage = self.service.metrics.stage
        with stage("finish"):
            prediction = self.model.predictor.finish(prepared, outputs)
        with stage("encode"):
            return encode(Answer(prediction, self.model, source, self.request_id))
