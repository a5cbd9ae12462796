"""The steps of one picture through the service: decode, prepare, infer, finish, encode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from hdnet.errors import ModelError
from hdnet.pictures.checks import Pictures
from serving.admission import RequestThreads
from serving.decoding import Decoded, box_in, decode_parts
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
        if not self.model.predictor.finds_people and (given.pictures.mask is None or given.pictures.iuv is None):
            given = await self._complete(given)
        prepared, notes = await self.threads.picture_work(lambda: self._prepare(given))
        outputs = await self.threads.inference(self.model.predictor, prepared)

        def finish() -> EncodedT:
            answer = self._finish(prepared, outputs, given, notes)
            with self.service.metrics.stage("encode"):
                return encode(answer)

        return await self.threads.picture_work(finish)

    async def _complete(self, given: Decoded) -> Decoded:
        """Adds mask and DensePose map for two hourglasses, from the shipped model as far as the caller has none.

        Raises:
            InputError: If it finds no person.
        """
        try:
            finder = await self.threads.picture_work(self.service.store.shipped)
        except ModelError:  # logged there; the check tells the caller what is missing
            return given
        pictures = given.pictures

        def prepare() -> PreparedPicture:
            photo = finder.check(pictures.image, pictures.mask, None)
            return finder.prepare(photo, given.camera.camera, box=None if photo.mask is not None else given.box)

        prepared = await self.threads.picture_work(prepare)
        outputs = await self.threads.inference(finder, prepared)

        def complete() -> Decoded:
            person = finder.finish(prepared, outputs)
            iuv = person.body if pictures.iuv is None else pictures.iuv
            if pictures.mask is not None:
                return replace(given, pictures=replace(pictures, iuv=iuv))
            return replace(given, pictures=replace(pictures, mask=person.mask, iuv=iuv), box=None)

        return await self.threads.picture_work(complete)

    def _decode(self, parts: Parts) -> Decoded:
        with self.service.metrics.stage("decode"):
            given = decode_parts(parts, self.service.settings.max_pixels)
        if self.model.predictor.finds_people:
            return replace(given, inputs=given.inputs.model_copy(update={"densepose": "unused"}))
        return given

    def _prepare(self, given: Decoded) -> tuple[PreparedPicture, tuple[str, ...]]:
        """The network's input, and what was repaired or looks doubtful, a line each."""
        predictor, pictures = self.model.predictor, given.pictures
        checked = predictor.check(pictures.image, pictures.mask, pictures.iuv)
        notes: tuple[str, ...] = ()
        if pictures.shrink > 1:
            notes = (f"the photograph is large and was read at 1/{pictures.shrink} of its width and height",)
        if isinstance(checked, Pictures):
            self.service.drift.observe(checked.image, checked.mask, checked.iuv)
            notes = (*notes, *checked.notes)
        with self.service.metrics.stage("prepare"):
            prepared = predictor.prepare(checked, given.camera.camera, box=given.box, height_m=given.height_m)
        return prepared, notes

    def _finish(self, prepared: PreparedPicture, outputs: Outputs, given: Decoded, notes: tuple[str, ...]) -> Answer:
        with self.service.metrics.stage("finish"):
            prediction = self.model.predictor.finish(prepared, outputs)
        if self.model.predictor.finds_people:
            self.service.drift.observe(prediction.image, prediction.mask, None)
        people = tuple(box_in(box, given.pictures.shrink) for box in prediction.people)
        return Answer(prediction, self.model, given.camera.source, self.request_id, given.inputs, people, notes)
