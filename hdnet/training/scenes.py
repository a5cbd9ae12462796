"""Training samples of `lite`: photographs with varied framing, background, colours, faults of the camera, and hints.

As in :mod:`hdnet.training.augment`, every number is drawn on the processor from the step's draw and the item's place,
and nothing of an item depends on the others: resumed trainings and any number of processes see the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

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
    Window,
    box_of,
    constant,
    crop_rows,
    cropped_camera,
    mirror,
    mirror_rows,
    moved,
)
from hdnet.training.scene_crops import labels_of, pictures_of, random_windows, square_windows, whole_window
from hdnet.training.scene_effects import COLOURS, HINT, SceneEffects

Batch = dict[str, Any]
Chance = dict[str, Tensor]

# Numbers of an item's chance that each variation takes. All are drawn, whatever is switched on.
_SCENE = {"flip": 1, "tight": 1, "fill": 1, "place": 2, "turn": 1, "background": 1, "soft_edge": 1, "empty": 1}
_BACKGROUND = {f"background_{name}": count for name, count in backgrounds.NUMBERS.items()}

# Pixels of the picture that noise is cut from; the largest training pictures have 512.
_NOISE_SIZE = 768
# Size of the person in the crops of pairs.
_PAIR_FILL = 0.85


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
        return _complete(frame, labels, image, hint, hinted_b, window_b23)

    def pairs(self, stored: Batch, draw: Draw, size: int, stream: str = "pairs") -> Batch:
        """Return a training batch of pairs of unlabelled frames.

        Both frames are mirrored alike, and each is cropped to the upright square about its person, with its own
        background; colours, faults of the camera and hints are each frame's own.

        Args:
            stored: Pairs with scenes, see :class:`hdnet.data.store.datasets.PairDataset`, as stored or prepared.
            draw: Random numbers of the step.
            size: Pixels of the square pictures.
            stream: Name of the batch's stream.

        Returns:
            "i" and "j", each as from a call, without labels that frames do not have, and without "window": "camera" is
            that of the crop, mirrored where the frame is. "rows" (M, 6) of the crops' pixels, where dropped matches
            have item -1; and what else the batch holds.

        Raises:
            DataError: The frames have no pictures with background.
        """
        batch = prepare(stored)
        before = [_with_scenes(batch[side]) for side in "ij"]
        layout = {"flip": 1} | {f"{side}_{name}": count for side in "ij" for name, count in (COLOURS | HINT).items()}
        chosen, chance = _drawn(draw, stream, before[0], layout)
        mirrored_b = chance["flip"][:, 0] < self.augment.flip
        rows_n6 = mirror_rows(batch["rows"], mirrored_b, before[0]["mask"].shape[-1])
        before = [mirror(frame, mirrored_b) for frame in before]
        windows, after = [], []
        for side, frame in zip("ij", before, strict=True):
            window_b23 = square_windows(frame["mask"], _PAIR_FILL, size)
            windows.append(Window(window_b23[:, 0, 2], window_b23[:, 1, 2], window_b23[:, 0, 0]))
            numbers = [{name: values[f"{side}_{name}"] for name in COLOURS | HINT} for values in (chosen, chance)]
            labels = labels_of(frame, window_b23, (size, size))
            image = self._effects.photographed(
                pictures_of(frame["scene"], window_b23, (size, size)), labels["within"], *numbers
            )
            hint, hinted_b = self._effects.hints(labels["mask"], *numbers)
            crop = _complete(frame, labels, image, hint, hinted_b, window_b23)
            del crop["window"]
            after.append({**crop, "camera": cropped_camera(frame["camera"], windows[-1])})
        result = {**batch, "i": after[0], "j": after[1], "rows": crop_rows(rows_n6, windows, before, after)}
        if "turn_deg" in batch:  # a mirrored person turns the other way
            result["turn_deg"] = torch.where(mirrored_b, -batch["turn_deg"], batch["turn_deg"])
        return result

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
        soft = F.avg_pool2d(edge, 3, 1, 1, count_include_pad=False).minimum(edge)
        is_soft = chance["soft_edge"][index, :, None, None] < 0.5
        share = torch.where(is_soft, (soft + edge) / 2, edge)
        composed = torch.addcmul(person * (share / edge.clamp(min=1e-3)), 1 - share, behind)
        return image.index_copy(0, index, composed)


def whole_pictures(stored: Batch, hint: Literal["none", "exact"], size: int | None = None) -> Batch:
    """Return pictures as they are, for validation and evaluation.

    Args:
        stored: Labelled people, or frames, with scenes, as stored or prepared, on any device.
        hint: None, or the mask.
        size: Pixels of the square pictures, the longer side scaled to it; without it, the stored size, with sides
            filled up to multiples of 32.

    Returns:
        As from :class:`SceneAugmenter`; of frames without "relief", "log_scale", and "normals" if they have none.

    Raises:
        DataError: The batch has no pictures with background.
    """
    frame = _with_scenes(stored)
    mask = frame["mask"]
    height, width = mask.shape[-2:]
    new = (size, size) if size else (height + -height % 32, width + -width % 32)
    window_b23 = whole_window(height, width, new, mask).expand(len(mask), 2, 3)
    labels = labels_of(frame, window_b23, new)
    image = pictures_of(frame["scene"], window_b23, new)
    hinted_b = torch.full((len(mask),), hint == "exact", device=mask.device)
    given = torch.where(labels["mask"], 1.0, -1.0) if hint == "exact" else torch.zeros_like(image[:, :1])
    return _complete(frame, labels, image, given, hinted_b, window_b23)


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
