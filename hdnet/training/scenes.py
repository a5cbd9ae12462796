"""Training samples of `lite`: photographs with varied framing, background, colours, faults of the camera, and hints.

As in :mod:`hdnet.training.augment`, every number is drawn on the processor from the step's draw and the item's place,
and nothing of an item depends on the others: resumed trainings and any number of processes see the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hdnet.data.store.batches import prepare
from hdnet.errors import DataError
from hdnet.params import AugmentParams, PhotoParams
from hdnet.pictures.crop import BEYOND_COLOUR, BEYOND_HINT
from hdnet.training import backgrounds
from hdnet.training.augment import Draw
from hdnet.training.augment_colour import NoiseBank
from hdnet.training.augment_geometry import (
    box_of,
    constant,
    moved,
)
from hdnet.training.scene_crops import labels_of, pictures_of, random_windows
from hdnet.training.scene_effects import COLOURS, HINT, SceneEffects

Batch = dict[str, Any]
Chance = dict[str, Tensor]

# Numbers of an item's chance that each variation takes. All are drawn, whatever is switched on.
_SCENE = {"flip": 1, "tight": 1, "fill": 1, "place": 2, "turn": 1, "background": 1, "soft_edge": 1, "empty": 1}
_BACKGROUND = {f"background_{name}": count for name, count in backgrounds.NUMBERS.items()}

# Pixels of the picture that noise is cut from; the largest training pictures have 512.
_NOISE_SIZE = 768


class SceneAugmenter:
    """Makes training samples of `lite` from stored photographs.

    Args:
        photo: Framing, backgrounds, hints, compression.
        augment: Strength of colours, blur, noise, mirroring and of the faults of a given mask.
    """

    def __init__(self, photo: PhotoParams, augment: AugmentParams) -> None:
        self.photo, self.augment = photo, augment
        noise = NoiseBank(_NOISE_SIZE)
        self._backgrounds, self._effects = backgrounds.Backgrounds(photo, noise), SceneEffects(photo, augment, noise)

    def __call__(self, stored: Batch, draw: Draw, size: int, stream: str = "labelled") -> Batch:
        """Return a training batch.

        Args:
            stored: Labelled people with scenes, see :class:`hdnet.data.store.datasets.LabelledDataset`, as stored or
                prepared, on any device.
            draw: Random numbers of the step.
            size: Pixels of the square pictures.
            stream: Name of the batch's stream.

        Returns:
            "inputs" (B, 4, size, size) float32: RGB 0..255, 127 beyond the picture's edge, and the hint: 1 inside, -1
            outside and beyond the edge, 0 unknown; "within" bool: inside the picture; "mask" bool; "normals" unit
            vectors in the frame of the crop's middle ray, or 0; "relief"; "vui" 0..255; "log_scale" (B,), the logarithm
            of pixels per metre, nan where the data does not tell; "hinted" (B,) bool; "window" (B, 2, 3) float64 and
            "camera" (B, 7), of which :func:`hdnet.geometry.relief.view_of` makes the crop's view.

        Raises:
            DataError: The batch has no pictures with background.
        """
        frame = _with_scenes(stored)
        chosen, chance = _drawn(draw, stream, frame, _SCENE | COLOURS | HINT | _BACKGROUND)
        empty_b1 = chosen["empty"] < self.photo.empty
        kinds = backgrounds.kinds_of(chosen["background"][:, 0], self.photo.backgrounds)
        kinds = [
            "pasted" if is_empty and kind == "own" else kind for is_empty, kind in zip(empty_b1, kinds, strict=True)
        ]
        # No other person either.
        chosen["background_kind"] = torch.where(empty_b1, 1.0, chosen["background_kind"])
        replaced = [b for b, kind in enumerate(kinds) if kind != "own"]
        mirrored_b = chance["flip"][:, 0] < self.augment.flip
        replaced_b = moved(torch.tensor([kind != "own" for kind in kinds]), mirrored_b.device)
        box = box_of(frame["mask"])
        shows_b = moved(~empty_b1[:, 0], mirrored_b.device) & frame["mask"].flatten(1).any(1)
        boundless_b = replaced_b & ~(_touches_edge(box, frame["mask"].shape[-2:]) & shows_b)
        window_b23 = random_windows(frame["mask"], box, chance, self.photo, mirrored_b, boundless_b, size)
        mirrored = (chosen["flip"][:, 0] < self.augment.flip).nonzero()[:, 0]
        labels = labels_of(frame, window_b23, (size, size), moved(mirrored, mirrored_b.device))
        labels["within"] = labels["within"] | boundless_b[:, None, None, None]
        labels = _without_people(labels, ~shows_b)
        # Colours of those whose background is replaced are weighted with the mask.
        weight = frame["mask"].to(frame["scene"].dtype)
        shown = (frame["mask"] | ~replaced_b[:, None, None, None]).to(weight.dtype)
        source = torch.cat([frame["scene"] * shown, weight], 1)
        image, alpha = torch.split(pictures_of(source, window_b23, (size, size)), [3, 1], 1)
        alpha = alpha * shows_b[:, None, None, None]
        if replaced:
            image = self._replaced(image, alpha, frame, labels["mask"], kinds, replaced, chosen, chance)
        image = self._effects.photographed(image, labels["within"], chosen, chance)
        hint, hinted_b = self._effects.hints(labels["mask"], chosen, chance)
        # Nobody gives an empty mask.
        hint, hinted_b = hint * shows_b[:, None, None, None], hinted_b & shows_b
        # As in use: outside a given mask the picture is white.
        image = image.masked_fill(hinted_b[:, None, None, None] & (hint < 0), 255.0)
        return _complete(frame, labels, image, hint, hinted_b, window_b23)

    def _replaced(
        self,
        image: Tensor,
        alpha: Tensor,
        frame: Batch,
        mask: Tensor,
        kinds: Sequence[str],
        items: list[int],
        chosen: Chance,
        chance: Chance,
    ) -> Tensor:
        """Put the people of some items before other backgrounds."""
        index = moved(torch.tensor(items), image.device)
        on_host, on_device = (
            {name: values[f"background_{name}"][places] for name in backgrounds.NUMBERS}
            for values, places in ((chosen, torch.tensor(items)), (chance, index))
        )
        others = (frame["other_scene"][index], frame["other_mask"][index])
        behind = self._backgrounds.of_kinds([kinds[b] for b in items], on_host, on_device, others, mask[index])
        person, edge = image[index], alpha[index]
        # A softer edge for half of them, never beyond the person.
        soft = _mean_of_neighbours(edge).minimum(edge)
        is_soft = chance["soft_edge"][index, :, None, None] < 0.5
        share = torch.where(is_soft, (soft + edge) / 2, edge)
        composed = torch.addcmul(person * (share / edge.clamp(min=1e-3)), 1 - share, behind)
        return image.index_copy(0, index, composed)


def _mean_of_neighbours(x_bchw: Tensor) -> Tensor:
    """Return the means of 3 x 3 pixels, the outermost ones repeated; ``avg_pool2d`` takes four times as long."""
    x_bchw = F.pad(x_bchw, (1, 1, 1, 1), mode="replicate")
    rows = x_bchw[..., :-2, :] + x_bchw[..., 1:-1, :] + x_bchw[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def _without_people(labels: Batch, empty_b: Tensor) -> Batch:
    """Take the person out of the labels of some items."""
    empty_b111 = empty_b[:, None, None, None]
    maps = {key: labels[key].masked_fill(empty_b111, 0) for key in ("mask", "normals", "relief", "vui")}
    return {**labels, **maps, "log_scale": labels["log_scale"].masked_fill(empty_b, torch.nan)}


def _with_scenes(stored: Batch) -> Batch:
    if "scene" not in stored:
        raise DataError("the batch has no pictures with background; open the data set with scenes")
    return prepare(stored)


def _complete(frame: Batch, labels: Batch, image: Tensor, hint: Tensor, hinted_b: Tensor, window_b23: Tensor) -> Batch:
    # Interpolation with weights of 0 and 1 gives either exactly, in a sixth of the time of `where`.
    beyond = constant((*(float(BEYOND_COLOUR),) * 3, float(BEYOND_HINT)), image.device, image.dtype)
    inputs = torch.cat([image, hint], 1)
    inputs = torch.lerp(beyond[:, None, None].expand_as(inputs), inputs, labels["within"].to(inputs.dtype))
    return {"inputs": inputs, **labels, "hinted": hinted_b, "window": window_b23, "camera": frame["camera"]}


def _touches_edge(box: tuple[Tensor, Tensor], size: torch.Size) -> Tensor:
    (first_b2, last_b2), (height, width) = box, size
    return (first_b2 == 0).any(1) | (last_b2[:, 0] == width - 1) | (last_b2[:, 1] == height - 1)


def _drawn(draw: Draw, stream: str, frame: Batch, layout: dict[str, int]) -> tuple[Chance, Chance]:
    """Return the items' numbers by name, (B, n) each, on the processor and on the batch's device."""
    mask = frame["mask"]
    numbers = draw.numbers(stream, len(mask), sum(layout.values()))
    host, device = (
        dict(zip(layout, torch.split(values, list(layout.values()), dim=1), strict=True))
        for values in (numbers, moved(numbers, mask.device))
    )
    return host, device
