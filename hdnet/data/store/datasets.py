"""Packed records as torch datasets, their batches, and the order of samples.

Items share the pages of the mapped files: nothing is copied until :func:`collate` copies them into a batch, and nothing
is converted until :func:`hdnet.data.store.batches.prepare` does so for the whole batch on the device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler, default_collate

from hdnet.data.store.packed import PackedFrames, People, PseudoNormals
from hdnet.data.store.pairs import PackedPairs
from hdnet.data.store.people import PackedPeople
from hdnet.errors import DataError

Item = dict[str, Any]
Batch = dict[str, Any]


class LabelledDataset(Dataset[Item]):
    """Labelled samples as they are stored.

    An item holds "white_image" and "vui" (3, H, W) uint8, "mask" (1, H, W) bool, "depth_m" (1, H, W) float32,
    "normals" (3, H, W) int16, see :mod:`hdnet.data.store.records`; "camera" (7,) float32; and "input_normals" like
    "normals" if others were given for input. With scenes, also "scene" (3, H, W) uint8, the picture with its
    background, "shift_m" (1,) float32, the metres that were added to the depth, and "other_scene" and "other_mask", the
    picture and mask of another person (of a picture without anybody its own), always the same one: a background that
    does not depend on the rest of a batch, which several processes share. Do not write into them: they are the mapped
    file's own memory.

    Args:
        packed: The packed samples.
        input_normals: Predicted normals of the same samples, for a depth estimator that is to learn from the input
            that it will get; without them it learns from the true ones, as the original does.
        scenes: Read the pictures with their backgrounds.

    Raises:
        DataError: Normals of other samples; there are no pictures with background; or, without scenes, some pictures
            show nobody.
    """

    def __init__(self, packed: People, input_normals: PseudoNormals | None = None, scenes: bool = False) -> None:
        if input_normals is not None:
            input_normals.check_names(packed)
        if scenes:
            packed.check_scenes()
        elif isinstance(packed, PackedPeople) and packed.empty:
            raise DataError(
                f"{packed.folder}: {packed.empty} pictures show nobody, which only model.network: lite can learn from; "
                "set data.empty: 0"
            )
        self.packed = packed
        self.input_normals = input_normals
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, k: int) -> Item:
        item = stored_item(self.packed, k, self.scenes)
        if self.scenes:
            # Nobody is pasted behind nobody: such a picture is its own background.
            behind = _other(k, len(self)) if item["mask"].any() else k
            other = self.packed.record(behind, ("mask", "scene"))
            item |= {f"other_{field}": torch.from_numpy(values) for field, values in other.items()}
        if self.input_normals is not None:
            item["input_normals"] = torch.from_numpy(self.input_normals.record(k)["normals"])
        return item


class PairDataset(Dataset[Item]):
    """Pairs of unlabelled frames with their correspondences.

    An item holds "i" and "j", each a dict as in :class:`LabelledDataset` without "depth_m" and with pseudo-normals, and
    "rows" (N, 5) int16: part, r1, c1, r2, c2, rows and columns 1-based as in the files; "gap_frames" and "turn_deg"
    (nan where unknown), float32: the distance of the two frames.

    Args:
        frames: The packed frames.
        pseudo_normals: Normals of the same frames.
        correspondences_folder: Folder of pairs, see :class:`hdnet.data.store.pairs.PackedPairs`.
        scenes: Read the pictures with their backgrounds, as "scene" of each frame.

    Raises:
        DataError: Normals of other frames; or the folder of pairs is missing, damaged, or of other frames; or there are
            no pictures with background.
    """

    def __init__(
        self,
        frames: PackedFrames,
        pseudo_normals: PseudoNormals,
        correspondences_folder: Path,
        scenes: bool = False,
    ) -> None:
        pseudo_normals.check_names(frames)
        if scenes:
            frames.check_scenes()
        self.frames, self.pseudo_normals, self.scenes = frames, pseudo_normals, scenes
        self.matches = PackedPairs(correspondences_folder)
        self.pairs = self.matches.places_in(frames.names, frames.size)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, k: int) -> Item:
        item: Item = {}
        for side, frame in zip("ij", self.pairs[k].tolist(), strict=True):
            normals = torch.from_numpy(self.pseudo_normals.record(frame)["normals"])
            item[side] = {**stored_item(self.frames, frame, self.scenes), "normals": normals}
        item["rows"] = torch.from_numpy(self.matches.rows(k))
        item["gap_frames"] = torch.tensor(self.matches.gap_frames[k])
        item["turn_deg"] = torch.tensor(self.matches.turn_deg[k], dtype=torch.float32)
        return item


def stored_item(packed: People | PackedFrames, k: int, scenes: bool = False) -> Item:
    """Return one record, with the optional fields where asked for, and its camera as tensors of the mapped memory."""
    fields = (*packed.fields, *packed.optional_fields) if scenes else None
    item: Item = {field: torch.from_numpy(values) for field, values in packed.record(k, fields).items()}
    item["camera"] = torch.from_numpy(packed.cameras[k].astype(np.float32))
    return item


def _other(k: int, count: int) -> int:
    """Return the number of another record: half-way round, since neighbours may show one person."""
    return (k + max(count // 2, 1)) % count


def collate(items: Sequence[Item]) -> Batch:
    """Copy items into a batch of the same keys; in a data loader's worker, straight into shared memory.

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
            batch[key] = _joined(values)
        else:
            batch[key] = default_collate(values)
    return batch


def _joined(rows: Sequence[Tensor]) -> Tensor:
    ends = np.cumsum([len(one) for one in rows]).tolist()
    joined = torch.empty(ends[-1], 6, dtype=rows[0].dtype)
    for b, (one, end) in enumerate(zip(rows, ends, strict=True)):
        joined[end - len(one) : end, 0] = b
        joined[end - len(one) : end, 1:] = one
    return joined


class StepSampler(Sampler[list[int]]):
    """Sampler of training steps, a function of the seed and the step alone.

    Samples are drawn in epochs without replacement, each epoch in its own order; a batch may reach into the
    next epoch. A run that stops and resumes therefore sees the same batches as one that never stopped.

    Args:
        length: Number of samples.
        batch_size: Samples a step.
        seed: Seed of all orders.
        start_step: First step to yield, 0-based.
        steps: Number of steps of the whole training: the last one yielded is ``steps - 1``.
        rank: Rank of this process among those that share every step's samples.
        processes: Number of processes. Together they take the samples of one process, each a run of neighbours.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        start_step: int,
        steps: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        if length < 1 or batch_size < 1 or start_step < 0:
            raise ValueError(
                f"expected length and batch_size >= 1 and start_step >= 0, got {length}, {batch_size}, {start_step}"
            )
        if not 0 <= rank < processes <= batch_size:
            raise ValueError(f"expected rank 0 .. processes - 1 and a sample for each, got {rank}, {processes}")
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.start_step, self.steps = start_step, steps
        self.share = range(rank * batch_size // processes, (rank + 1) * batch_size // processes)
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return max(0, self.steps - self.start_step)

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start_step, self.steps):
            yield self.indices(step)

    def indices(self, step: int) -> list[int]:
        """Return this process's samples of one step."""
        return [self._at(step * self.batch_size + place) for place in self.share]

    def _at(self, position: int) -> int:
        epoch, place = divmod(position, self.length)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
        return int(self._order[place])
