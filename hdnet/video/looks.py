"""The network's maps of frames, packed so that a chunk of frames fits into a small file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hdnet.files import atomic_write
from hdnet.models.lite import PersonMaps
from hdnet.pictures.crop import NETWORK_SIZE, Crop
from hdnet.pictures.resampling import dilated
from hdnet.predict.finding import MIN_SQUARE_SHARE, Look, box_of, in_box, looks_like_a_person, see
from hdnet.predict.prediction import Box
from hdnet.predict.surface import unit
from hdnet.video.survey import Survey
from hdnet.video.tracking import NOBODY, is_near, seen_in

# Free space about the smoothed box, as a share of its longer side.
_MARGIN = 0.12
# Pixels of a shrunk picture per pixel of the network, at least.
_LEAST_ZOOM = 1.25
# Pixels of a piece along an inner edge of the square from which on the square was too small.
_CUT_PX = 6
_BAND_PX = 2
# Side of the brightness picture that the motion is measured in.
MOTION_SIZE = NETWORK_SIZE // 2
_NO_LOGIT, _PARTS = 12.0, 25
# Fields of a look that are masks, and those with a value for each pixel of the support.
_MASKS, _BY_PIXEL = ("inside", "support"), ("probability", "relief", "normals", "log_kappa")


@dataclass(frozen=True, eq=False)
class PackedLook:
    """What the network says of the person in a frame.

    Attributes:
        square: Left, top, zoom of the square, as of :class:`hdnet.pictures.crop.Crop`.
        inside: (S, S) bool, the person.
        support: (S, S) bool, the person and a band of two pixels, where the following values are.
        probability: (N,) uint8 of the mask.
        relief: (N,) float16.
        normals: (N, 3) float16 in the frame of the square's middle ray.
        log_kappa: (N,) float16.
        parts: (S / 4, S / 4) uint8, 0..24.
        uv: (2, S / 4, S / 4) uint8.
        log_scale: Logarithm of pixels of the square per metre.
        grey: (S / 2, S / 2) uint8 brightness of the square.
    """

    square: np.ndarray
    inside: np.ndarray
    support: np.ndarray
    probability: np.ndarray
    relief: np.ndarray
    normals: np.ndarray
    log_kappa: np.ndarray
    parts: np.ndarray
    uv: np.ndarray
    log_scale: np.ndarray
    grey: np.ndarray

    @property
    def crop(self) -> Crop:
        """The square."""
        left, top, zoom = (float(value) for value in self.square)
        return Crop(left, top, zoom)

    def maps(self, relief: np.ndarray, normals: np.ndarray, log_scale: float) -> PersonMaps:
        """Return the network's maps with another relief, other normals and another scale.

        Args:
            relief: (S, S).
            normals: (S, S, 3) in the frame of the square's middle ray.
            log_scale: As of :class:`PersonMaps`.
        """
        share = np.clip(self.probability_map(), 1e-5, 1 - 1e-5)
        logit = np.where(self.support, np.log(share / (1 - share)), -_NO_LOGIT)
        parts = _NO_LOGIT * (self.parts[None] == np.arange(_PARTS, dtype=np.uint8)[:, None, None])
        values = (
            normals.transpose(2, 0, 1),
            self._placed(self.log_kappa, 0.0)[None],
            relief[None],
            logit[None],
            parts,
            self.uv / 255.0,
            np.array([log_scale]),
        )
        return PersonMaps(*(torch.from_numpy(np.ascontiguousarray(one, np.float32))[None] for one in values))

    def probability_map(self) -> np.ndarray:
        """(S, S) float32 of the mask, 0 where it is not kept."""
        return self._placed(self.probability / np.float32(255), 0.0)

    def relief_map(self) -> np.ndarray:
        """(S, S) float32, 0 where it is not kept."""
        return self._placed(self.relief, 0.0)

    def normal_map(self) -> np.ndarray:
        """(S, S, 3) float32, facing the camera where they are not kept."""
        return np.stack(
            [self._placed(self.normals[:, axis], value) for axis, value in enumerate((0.0, 0.0, -1.0))], axis=-1
        )

    def _placed(self, values: np.ndarray, elsewhere: float) -> np.ndarray:
        picture = np.full(self.support.shape, elsewhere, np.float32)
        picture[self.support] = values
        return picture


def shrink_for(survey: Survey, boxes: Sequence[Box]) -> int:
    """Return by how much pictures may be shrunk before the squares about some boxes are cut out of them.

    The pictures that the survey kept are taken where they still have more pixels than the network.
    """
    least = min((Crop.about(box, _MARGIN).zoom for box in boxes), default=1.0)
    return survey.shrink if least >= _LEAST_ZOOM * survey.shrink else 1


def look_at(picture: np.ndarray, box: Box, look: Look, shrink: int = 1) -> PackedLook | str:
    """Run the network on the square about a box.

    Args:
        picture: (H, W, 3) uint8 RGB.
        box: Where the person is, about, in the video's pixels.
        look: The network.
        shrink: Pixels of the video per pixel of ``picture``.

    Returns:
        The packed maps, or why there are none.
    """
    square = Crop.about(box, _MARGIN)
    for attempt in range(2):
        inputs_4hw, maps, probability, within = see(picture, square.shrunk(shrink), look)
        inside = seen_in(maps, probability, in_box(square, box))
        if inside.mean() < MIN_SQUARE_SHARE or not looks_like_a_person(maps, probability, inside):
            return NOBODY
        found = box_of(inside, square)
        if attempt == 1 or not _is_cut(inside, within):
            break
        both = [min(a, b) for a, b in zip(found[:2], box[:2], strict=True)]
        both += [max(a, b) for a, b in zip(found[2:], box[2:], strict=True)]
        square = Crop.about((both[0], both[1], both[2], both[3]), 2 * _MARGIN)
    return _packed(maps, probability, inside, inputs_4hw, square) if is_near(found, box) else NOBODY


def _is_cut(inside: np.ndarray, within: np.ndarray) -> bool:
    """Return whether the person goes on beyond an edge of the square that is not an edge of the picture."""
    edges = [(inside[0], within[0]), (inside[-1], within[-1]), (inside[:, 0], within[:, 0])]
    edges.append((inside[:, -1], within[:, -1]))
    return any(int((person & shown).sum()) >= _CUT_PX for person, shown in edges)


def _packed(
    maps: PersonMaps, probability: np.ndarray, inside: np.ndarray, inputs_4hw: np.ndarray, square: Crop
) -> PackedLook:
    support = dilated(inside, _BAND_PX)
    brightness = inputs_4hw[:3].mean(axis=0).astype(np.uint8)
    small = Image.fromarray(brightness).resize((MOTION_SIZE,) * 2, Image.Resampling.BOX)
    return PackedLook(
        square=np.array([square.left, square.top, square.zoom]),
        inside=inside,
        support=support,
        probability=np.rint(255 * probability[support]).astype(np.uint8),
        relief=maps.relief_b1hw[0, 0].numpy()[support].astype(np.float16),
        normals=unit(maps.normals_b3hw[0].numpy()[:, support].T).astype(np.float16),
        log_kappa=maps.log_kappa_b1hw[0, 0].numpy()[support].astype(np.float16),
        parts=maps.parts_b25hw[0].argmax(0).numpy().astype(np.uint8),
        uv=np.rint(255 * maps.uv_b2hw[0].clamp(0, 1).numpy()).astype(np.uint8),
        log_scale=np.array(float(maps.log_scale_b1.reshape(-1)[0])),
        grey=np.asarray(small),
    )


def write_looks(file: Path, looks: dict[int, PackedLook]) -> None:
    """Write the looks of a chunk, by position: each field of all of them in one array."""
    arrays: dict[str, Any] = {"positions": np.array(list(looks), np.int64)}
    for name in PackedLook.__dataclass_fields__:
        values = [getattr(one, name) for one in looks.values()]
        if values:
            together = np.concatenate(values) if name in _BY_PIXEL else np.stack(values)
            arrays[name] = np.packbits(together) if together.dtype == bool else together
    with atomic_write(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def read_looks(file: Path, part: range) -> Iterator[tuple[int, PackedLook]]:
    """Yield the looks of a chunk that lie in a part of the video."""
    with np.load(file) as loaded:
        arrays = {name: loaded[name] for name in loaded.files}
    size = (len(arrays["positions"]), NETWORK_SIZE, NETWORK_SIZE)
    for name in _MASKS:
        if name in arrays:
            arrays[name] = np.unpackbits(arrays[name]).view(bool).reshape(size)
    ends = np.cumsum(arrays["support"].sum(axis=(1, 2))) if "support" in arrays else ()
    for number, position in enumerate(arrays.pop("positions").tolist()):
        if position in part:
            own = slice(ends[number - 1] if number else 0, ends[number])
            fields = {name: values[own if name in _BY_PIXEL else number] for name, values in arrays.items()}
            yield position, PackedLook(**fields)
