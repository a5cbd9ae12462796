"""The steps of one picture through the service: decode, prepare, infer, finish, encode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from hdnet.pictures.checks import Pictures
from serving.admission import RequestThreads
from serving.decoding import Decoded, decode_parts
from serving.forms import Parts
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
        given = await self.threads.picture_work(lambda: self._decode(parts))
        prepared = await self.threads.picture_work(lambda: self._prepare(given))
        outputs = await self.threads.inference(self.model.predictor, prepared)
        return await self.threads.picture_work(lambda: self._finish(prepared, outputs, given, encode))

    def _decode(self, parts: Parts) -> Decoded:
        with self.service.metrics.stage("decode"):
            return decode_parts(parts, self.service.settings.max_pixels)

    def _prepare(self, given: Decoded) -> PreparedPicture:
        predictor = self.model.predictor
        pictures = predictor.check(given.image, given.mask, given.iuv)
        if isinstance(pictures, Pictures):
            self.service.drift.observe(pictures.image, pictures.mask, pictures.iuv)
        with self.service.metrics.stage("prepare"):
            return predictor.prepare(pictures, given.camera.camera)

    def _finish(
        self, prepared: PreparedPicture, outputs: Outputs, given: Decoded, encode: Callable[[Answer], EncodedT]
    ) -> EncodedT:
        stage = self.service.metrics.stage
        with stage("finish"):
            prediction = self.model.predictor.finish(prepared, outputs)
        if self.model.predictor.finds_people:
            self.service.drift.observe(prediction.image, prediction.mask, None)
        with stage("encode"):
            return encode(Answer(prediction, self.model, given.camera.source, self.request_id))
