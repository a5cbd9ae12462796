"""Training samples varied where they lie: colours, mirroring, framing, and the faults of DensePose and of masks.

Every number is drawn on the processor from the step's :class:`Draw`, so a sample is varied in the
same way on every device, after a resume, and whatever the number of processes; a few hundred numbers an item travel
to the device, and nothing comes back: no step waits for the device here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from hdnet.data.store.batches import prepare
from hdnet.params import AugmentParams
from hdnet.training import augment_faults as faults
from hdnet.training import augment_geometry as geometry
from hdnet.training.augment_colour import COLOUR_NUMBERS, NoiseBank, about_1, blurred, gamma_corrected, recoloured

Batch = dict[str, Any]

# How many numbers each variation takes from an item's chance. All are drawn, whatever is switched on: switching one
# on does not change the others.
_SHARED = {"flip": 1, "zoom": 1, "shift": 2}
_FRAME = {
    **COLOUR_NUMBERS,
    "iuv_drop": 1,
    "iuv_parts": 24,
    "iuv_patches": faults.RECTANGLE_NUMBERS,
    "mask_field": faults.FIELD_CELLS**2,
    "mask_holes": faults.RECTANGLE_NUMBERS,
    "behind": 3,
}


@dataclass(frozen=True)
class Draw:
    """Source of one step's random numbers.

    Attributes:
        seed: The run's.
        step: 0-based.
        first: By stream, the place of this process's first item in the step's whole batch: 0 with one process.
    """

    seed: int
    step: int
    first: Mapping[str, int]

    def of_item(self, stream: str, index: int) -> np.random.Generator:
        """Numbers for one item of this process's batch; the same ones whichever process it lies on."""
        return np.random.default_rng([self.seed, self.step, crc32(stream.encode()), self.first[stream] + index])

    def numbers(self, stream: str, batch: int, count: int) -> Tensor:
        """So many numbers in 0..1 for each item of this process's batch, (batch, count) float32 on the processor."""
        items = [self.of_item(stream, b).random(count, dtype=np.float32) for b in range(batch)]
        return torch.from_numpy(np.stack(items))


# Changes a step's batches by stream ("labelled", and "pairs" with "i", "j" and "rows") before the loss sees them; makes
# new batches instead of writing into the old ones.
Augmentation = Callable[[dict[str, Batch], Draw], dict[str, Batch]]


class Augmenter:
    """Varies a step's batches.

    Args:
        params: How strongly.
    """

    def __init__(self, params: AugmentParams) -> None:
        self.params = params
        self._noise = NoiseBank()

    def __call__(self, batch: dict[str, Batch], draw: Draw) -> dict[str, Batch]:
        """New batches of the same streams; with everything off, the ones given.

        People and frames are mirrored and reframed, then recoloured, then given faults. Both frames of a pair are
        mirrored and framed alike; colours and faults are each frame's own. Matches that leave the picture stay in
        "rows", with item -1, which :func:`hdnet.losses.warp` leaves out: to shorten the list, a GPU would have to be
        waited for.
        """
        if self.params.is_off:
            return batch
        return {name: self._stream(name, prepared, draw) for name, prepared in batch.items()}

    def _stream(self, name: str, stored: Batch, draw: Draw) -> Batch:
        is_pair = "rows" in stored
        batch = prepare(stored)
        sides = [batch["i"], batch["j"]] if is_pair else [batch]
        shared, own = _chances(draw, name, sides)
        sides, rows, mirrored_b = self._reframed(sides, batch.get("rows"), shared)
        sides = [self._faulty(self._coloured(side, chance), chance) for side, chance in zip(sides, own, strict=True)]
        if not is_pair:
            return sides[0]
        if "turn_deg" in batch:  # a mirrored person turns the other way
            batch["turn_deg"] = torch.where(mirrored_b, -batch["turn_deg"], batch["turn_deg"])
        return {**batch, "i": sides[0], "j": sides[1], "rows": rows}

    def _reframed(
        self, sides: list[Batch], rows_n6: Tensor | None, chance: dict[str, Tensor]
    ) -> tuple[list[Batch], Tensor | None, Tensor]:
        params, (height, width) = self.params, sides[0]["mask"].shape[-2:]
        mirrored_b = chance["flip"][:, 0] < params.flip
        if params.flip:
            sides = [geometry.mirror(side, mirrored_b) for side in sides]
            if rows_n6 is not None:
                rows_n6 = geometry.mirror_rows(rows_n6, mirrored_b, width)
        if params.zoom or params.shift:
            limit = math.log1p(params.zoom)
            zoom_b = ((2 * chance["zoom"][:, 0] - 1) * limit).exp()
            size = geometry.constant((width, height), zoom_b.device)
            shift_b2 = (2 * chance["shift"] - 1) * params.shift * size
            window = geometry.window_about(torch.stack([side["mask"] for side in sides]).any(0), zoom_b, shift_b2)
            before, sides = sides, [geometry.crop(side, window) for side in sides]
            if rows_n6 is not None:
                rows_n6 = geometry.crop_rows(rows_n6, (window, window), before, sides)
        return sides, rows_n6, mirrored_b

    def _coloured(self, frame: Batch, chance: dict[str, Tensor]) -> Batch:
        params, mask = self.params, frame["mask"]
        image = frame["image"]
        if params.blur_px:
            image = blurred(image, mask, chance["blur"][:, 0] * params.blur_px)
        if params.brightness or params.contrast or params.saturation or params.hue_deg or params.white_balance:
            image = recoloured(
                image,
                mask,
                gain_b3=about_1(chance["brightness"], params.brightness)
                * about_1(chance["balance"], params.white_balance),
                contrast_b=about_1(chance["contrast"][:, 0], params.contrast),
                saturation_b=about_1(chance["saturation"][:, 0], params.saturation),
                hue_b=(2 * chance["hue"][:, 0] - 1) * math.radians(params.hue_deg),
            )
        if params.gamma:
            image = gamma_corrected(image, ((2 * chance["gamma"][:, 0] - 1) * params.gamma).exp())
        if params.noise:
            image = (
                image
                + self._noise.pictures(chance["noise"][:, 1:], image)
                * ((chance["noise"][:, 0] * params.noise)[:, None, None, None])
            )
        if image is frame["image"]:
            return frame
        # Also what a blur or a contrast has changed outside: white stays white.
        return {**frame, "image": torch.where(mask, image.clamp(0, 255), frame["image"])}

    def _faulty(self, frame: Batch, chance: dict[str, Tensor]) -> Batch:
        params = self.params
        box = faults.person_box(frame["mask"]) if params.mask_holes or params.iuv_patches else None
        if params.mask_shift_px or params.mask_holes:
            noisy = faults.noisy_outline(frame["mask"], chance["mask_field"], params.mask_shift_px)
            if box is not None and params.mask_holes:
                noisy = noisy & ~faults.rectangles(chance["mask_holes"], params.mask_holes, box, (0.01, 0.04), noisy)
            frame = faults.with_found_mask(frame, noisy, 255 * chance["behind"])
        if params.iuv_drop or params.iuv_part_drop or params.iuv_patches:
            dropped = faults.dropped_parts(
                frame["vui"], chance["iuv_drop"], chance["iuv_parts"], params.iuv_drop, params.iuv_part_drop
            )
            if box is not None and params.iuv_patches:
                dropped = dropped | faults.rectangles(
                    chance["iuv_patches"], params.iuv_patches, box, (0.02, 0.1), dropped
                )
            frame = {**frame, "vui": frame["vui"].masked_fill(dropped, 0)}
        return frame


def _chances(draw: Draw, stream: str, sides: list[Batch]) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Numbers in 0..1 by name, (B, n) each: those for all sides, and those of each side."""
    device, batch = sides[0]["mask"].device, len(sides[0]["mask"])
    layout = [_SHARED, *[_FRAME] * len(sides)]
    count = sum(sum(one.values()) for one in layout)
    numbers_bn = geometry.moved(draw.numbers(stream, batch, count), device)
    groups, first = [], 0
    for names in layout:
        width = sum(names.values())
        columns = torch.split(numbers_bn[:, first : first + width], list(names.values()), dim=1)
        groups.append(dict(zip(names, columns, strict=True)))
        first += width
    return groups[0], groups[1:]
