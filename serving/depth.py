"""The steps of one picture through the service: decode, prepare, infer, finish, encode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from hdnet.errors import ModelError
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
        if self.model.predictor.finds_people:
            given = replace(given, inputs=given.inputs.model_copy(update={"densepose": "unused"}))
        elif given.mask is None or given.iuv is None:
            given, parts = await self._complete(given, parts)
        prepared = await self.threads.picture_work(lambda: self._prepare(given, parts))
        outputs = await self.threads.inference(self.model.predictor, prepared)
        return await self.threads.picture_work(lambda: self._finish(prepared, outputs, given, encode))

    async def _complete(self, given: Decoded, parts: Parts) -> tuple[Decoded, Parts]:
        """Mask and DensePose map for two hourglasses, from the shipped model as far as the caller has none.

        Returns:
            Both, and the parts without a box that has found its person.

        Raises:
            InputError: If it finds no person.
        """
        try:
            finder = await self.threads.picture_work(self.service.store.shipped)
        except ModelError:  # logged there; the check tells the caller what is missing
            return given, parts

        def prepare() -> PreparedPicture:
            photo = finder.check(given.image, given.mask, None)
            return finder.prepare(photo, given.camera.camera, box=parts.box if given.mask is None else None)

        prepared = await self.threads.picture_work(prepare)
        outputs = await self.threads.inference(finder, prepared)

        def complete() -> tuple[Decoded, Parts]:
            person = finder.finish(prepared, outputs)
            iuv = person.body if given.iuv is None else given.iuv
            if given.mask is not None:
                return replace(given, iuv=iuv), parts
            return replace(given, mask=person.mask, iuv=iuv), replace(parts, box=None)

        return await self.threads.picture_work(complete)

    def _decode(self, parts: Parts) -> Decoded:
        with self.service.metrics.stage("decode"):
            return decode_parts(parts, self.service.settings.max_pixels)

    def _prepare(self, given: Decoded, parts: Parts) -> PreparedPicture:
        predictor = self.model.predictor
        pictures = predictor.check(given.image, given.mask, given.iuv)
        if isinstance(pictures, Pictures):
            self.service.drift.observe(pictures.image, pictures.mask, pictures.iuv)
        with self.service.metrics.stage("prepare"):
            return predictor.prepare(pictures, given.camera.camera, box=parts.box, height_m=parts.height_m)

    def _finish(
        self, prepared: PreparedPicture, outputs: Outputs, given: Decoded, encode: Callable[[Answer], EncodedT]
    ) -> EncodedT:
        stage = self.service.metrics.stage
        with stage("finish"):
            prediction = self.model.predictor.finish(prepared, outputs)
        if self.model.predictor.finds_people:
            self.service.drift.observe(prediction.image, prediction.mask, None)
        with stage("encode"):
            return encode(Answer(prediction, self.model, given.camera.source, self.request_id, given.inputs))
