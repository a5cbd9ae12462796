"""Conversion of stored batches to the inputs of networks and losses, on the device of the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from hdnet.data.store.datasets import Item, collate

Batch = dict[str, Any]
# Depth that packing moved by less was scaled to the packed median (a few millimetres: the segmenter changes masks
# afterwards), and tells nothing of the size of the person.
_LEAST_SHIFT_M = 0.05


def prepare(stored: Mapping[str, Any]) -> Batch:
    """Convert a batch, or a part of one.

    Colours and IUV travel as bytes and normals as 16-bit integers, which is a third of what float32 takes on the way to
    a GPU.

    Args:
        stored: What :func:`hdnet.data.store.datasets.collate` gives, on any device. A batch that is prepared already
            stays as it is.

    Returns:
        "image" (B, 3, H, W) RGB, float32 0..255, white outside the mask; "vui" (B, 3, H, W) float32 0..255 in the
        networks' order V, U, I; "mask" (B, 1, H, W) bool; "depth" (B, 1, H, W) float32, metres; "normals" and, if there
        are others for input, "input_normals" (B, 3, H, W) float32, unit or 0; "camera" (B, 7) float32. With scenes,
        also "scene" (B, 3, H, W) RGB with its background, float32 0..255, and as stored "shift_m", "other_scene" and
        "other_mask", see :class:`hdnet.data.store.datasets.LabelledDataset`. Of pairs "i" and "j", each of these, and
        "rows" (M, 6) int64: item in the batch, part, r1, c1, r2, c2; how far apart they are, if the data set says so:
        "turn_deg" and "gap_frames" (B,) float32.
    """
    if "image" in stored:
        return dict(stored)
    batch: Batch = {}
    for key, values in stored.items():
        if key in ("i", "j"):
            batch[key] = prepare(values)
        elif key == "white_image":
            batch["image"] = values.float()
        elif key in ("vui", "scene"):
            batch[key] = values.float()
        elif key == "depth_m":
            batch["depth"] = values
        elif key in ("normals", "input_normals"):
            batch[key] = _unit(values)
        elif key == "rows":
            batch["rows"] = values.long()
        elif key in ("mask", "camera", "turn_deg", "gap_frames", "shift_m", "other_scene", "other_mask"):
            batch[key] = values
        else:
            raise KeyError(f"a stored batch has no {key!r}")
    return batch


def is_sized(sample: Mapping[str, Any]) -> Tensor | None:
    """Return the samples whose true size is known, as bool (B,) of a batch or () of one sample.

    Args:
        sample: Stored or prepared; "shift_m" is what tells. None without it.
    """
    shift_m: Tensor | None = sample.get("shift_m")
    return None if shift_m is None else shift_m[..., 0].abs() > _LEAST_SHIFT_M


class _Dataset(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item: ...


class PreparedItems:
    """Items of a dataset as :func:`prepare` converts them, without the batch dimension.

    Args:
        dataset: Labelled samples.
    """

    def __init__(self, dataset: _Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, k: int) -> Batch:
        return {key: values[0] for key, values in prepare(collate([self.dataset[k]])).items()}


def _unit(stored_b3hw: Tensor) -> Tensor:
    """Return unit vectors of any scale; the angle loss needs a cosine that cannot exceed 1 (docs/parity.md, 17)."""
    # In place: on a processor new memory for every step of this would take longer than the arithmetic.
    normals_b3hw = stored_b3hw.float()
    x_bhw, y_bhw, z_bhw = normals_b3hw.unbind(1)
    squared_bhw = (x_bhw * x_bhw).addcmul_(y_bhw, y_bhw).addcmul_(z_bhw, z_bhw)
    # The components are whole numbers: what is not 0 is at least 1.
    return normals_b3hw.mul_(squared_bhw.clamp_(min=1).rsqrt_()[:, None])
