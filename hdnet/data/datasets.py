"""Packed arrays as torch datasets, their batches, and which samples make up which step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset, Sampler

from hdnet.data.layout import read_corr_mat, read_correspondences
from hdnet.data.packed import PackedFrames, PackedLabelled, PseudoNormals

Item = dict[str, Any]
Batch = dict[str, Any]


class LabelledDataset(Dataset[Item]):
    """Labelled samples.

    An item holds "image" (3, H, W) RGB, float32 0..255, white outside the mask; "vui" (3, H, W) float32 0..255 in the
    networks' order V, U, I; "mask" (1, H, W) bool; "depth" (1, H, W) float32, metres; "normals" (3, H, W) float32,
    unit or 0; "camera" (7,) float32; and "input_normals" like "normals" if others were given for input.

    Args:
        packed: The packed samples.
        input_normals: Predicted normals of the same samples, for a depth estimator that shall learn from what it will
            see; without them it learns from the true ones, as the original does.

    Raises:
        DataError: Normals of other samples.
    """

    def __init__(self, packed: PackedLabelled, input_normals: PseudoNormals | None = None) -> None:
        if input_normals is not None:
            input_normals.check_names(packed)
        self.packed = packed
        self.input_normals = input_normals

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, k: int) -> Item:
        arrays = self.packed.arrays
        given = self.input_normals
        extra = {} if given is None else {"input_normals": _unit_normals(given.arrays["normals"][k])}
        return {
            **_picture_tensors(self.packed, k),
            **extra,
            "depth": torch.from_numpy(arrays["depth_m"][k].copy())[None],
            "normals": _unit_normals(arrays["normals"][k]),
        }


class PairDataset(Dataset[Item]):
    """Pairs of unlabelled frames with their correspondences.

    An item holds "i" and "j", each a dict as in :class:`LabelledDataset` without "depth" and with pseudo-normals, and
    "rows" (N, 5) int64: part, r1, c1, r2, c2, rows and columns 1-based as in the files.

    Args:
        frames: The packed frames.
        pseudo_normals: Normals of the same frames.
        correspondences_folder: Folder with ``corr_mat.txt`` and ``corrs/``; read once, here.

    Raises:
        DataError: Normals of other frames, or a correspondence file is missing or damaged.
    """

    def __init__(self, frames: PackedFrames, pseudo_normals: PseudoNormals, correspondences_folder: Path) -> None:
        pseudo_normals.check_names(frames)
        self.frames, self.pseudo_normals = frames, pseudo_normals
        number = {name: k for k, name in enumerate(frames.names)}
        pairs, rows = [], []
        for name_i, partners in read_corr_mat(correspondences_folder, frames.names).items():
            for name_j in partners:
                found = read_correspondences(correspondences_folder, name_i, name_j, frames.size)
                pairs.append((number[name_i], number[name_j]))
                rows.append(found.rows.astype(np.int16))
        self.pairs = np.array(pairs)
        # One array for all pairs: 10 bytes a match, and nothing for the garbage collector to walk through.
        self.rows = np.concatenate(rows)
        self._ends = np.cumsum([len(matches) for matches in rows])

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, k: int) -> Item:
        item: Item = {}
        for side, frame in zip("ij", self.pairs[k].tolist(), strict=True):
            normals = _unit_normals(self.pseudo_normals.arrays["normals"][frame])
            item[side] = {**_picture_tensors(self.frames, frame), "normals": normals}
        first = self._ends[k - 1] if k % len(self) else 0
        item["rows"] = torch.from_numpy(self.rows[first : self._ends[k]].astype(np.int64))
        return item


def collate(items: Sequence[Item]) -> Batch:
    """Stack items to a batch of the same keys.

    Returns:
        Tensors with a batch dimension in front, except "rows" of pairs, which becomes (M, 6): item in the batch
        (0-based), part, r1, c1, r2, c2 (rows and columns still 1-based).
    """
    batch: Batch = {}
    for key, first in items[0].items():
        values = [item[key] for item in items]
        if isinstance(first, dict):
            batch[key] = collate(values)
        elif key == "rows":
            batch[key] = torch.cat([functional.pad(rows, (1, 0), value=b) for b, rows in enumerate(values)])
        else:
            batch[key] = torch.stack(values)
    return batch


class StepSampler(Sampler[list[int]]):
    """Which samples make up which training step, a function of the seed and the step alone.

    Samples are drawn in epochs without replacement, each epoch in its own order; a batch may reach into the
    next epoch. A run that stops and resumes therefore sees the same batches as one that never stopped.

    Args:
        length: Number of samples.
        batch_size: Samples a step.
        seed: Seed of all orders.
        start_step: First step to yield, 0-based.
        steps: Number of steps of the whole training: the last one yielded is ``steps - 1``.
    """

    def __init__(self, length: int, batch_size: int, seed: int, start_step: int, steps: int) -> None:
        if length < 1 or batch_size < 1 or start_step < 0:
            raise ValueError(
                f"expected length and batch_size >= 1 and start_step >= 0, got {length}, {batch_size}, {start_step}"
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start_step, self.steps = start_step, steps
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return max(0, self.steps - self.start_step)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start_step, self.steps):
            yield self.indices(step)

    def indices(self, step: int) -> list[int]:
        """The samples of one step."""
        first = step * self.batch_size
        return [self._at(position) for position in range(first, first + self.batch_size)]

    def _at(self, position: int) -> int:
        epoch, place = divmod(position, self.length)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
        return int(self._order[place])


def _picture_tensors(packed: PackedLabelled | PackedFrames, k: int) -> Item:
    arrays = packed.arrays
    return {
        "image": _channels_first(arrays["white_image"][k]),
        "vui": _channels_first(arrays["iuv"][k, ..., ::-1]),
        "mask": torch.from_numpy(arrays["mask"][k].copy())[None],
        "camera": torch.from_numpy(arrays["camera"][k].astype(np.float32)),
    }


def _channels_first(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().contiguous()


def _unit_normals(stored: np.ndarray) -> Tensor:
    # float16 leaves lengths up to 1.001; the angle loss needs a cosine that cannot exceed 1 (quirk 17).
    normals_3hw = _channels_first(stored)
    return normals_3hw * normals_3hw.square().sum(0, keepdim=True).clamp_min(1e-12).rsqrt()
