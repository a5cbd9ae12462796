"""Frames of dances and matches between them, from whatever folder holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from hdnet.data.correspondence.matching import FrameIndex, match_indexed, usable
from hdnet.data.layout.correspondences import CORR_MAT_FILE
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.layout.png import read_mask
from hdnet.data.store.batches import prepare
from hdnet.data.store.datasets import collate, stored_item
from hdnet.data.store.packed import PackedFrames
from hdnet.data.store.pairs import PackedPairs
from hdnet.data.store.shards import INDEX_FILE

Sample = Mapping[str, Any]

# Frames that are matched where no matches are given: neighbours for stability, distant ones for the turn.
GAPS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one or more sequences.

    Attributes:
        names: Names of all frames.
        sequences: Frame names in the order of time, by sequence.
        size: (H, W) of all pictures.
        read: One frame by its place: ``image`` (3, H, W) 0..255, ``vui`` (3, H, W), ``mask`` (1, H, W) bool, ``camera``
            (7,).
    """

    names: Sequence[str]
    sequences: Mapping[str, Sequence[str]]
    size: tuple[int, int]
    read: Callable[[int], Sample]

    def where(self) -> dict[str, tuple[str, int]]:
        """Sequence and place in it, by frame name."""
        return {name: (key, k) for key, members in self.sequences.items() for k, name in enumerate(members)}


class Pairs(Protocol):
    """Pairs of frames whose matches are fetched one by one."""

    @property
    def places(self) -> np.ndarray:
        """(N, 2) places of frames i and j among the names of the frames."""
        ...

    def rows(self, k: int) -> np.ndarray:
        """(M, 5) matches of pair ``k``: part, row and column in i, row and column in j, 1-based; M = 0: no pair."""
        ...


def open_frames(folder: Path) -> Frames:
    """Frames of a folder in the TikTok layout, or of a packed one.

    Args:
        folder: ``tiktok_data``, or what ``hdnet data pack`` made of it.

    Raises:
        DataError: It is neither, or damaged.
    """
    folder = Path(folder)
    return _packed_frames(folder) if (folder / INDEX_FILE).is_file() else _raw_frames(folder)


def _packed_frames(folder: Path) -> Frames:
    packed = PackedFrames(folder)

    def read(k: int) -> Sample:
        return {key: values[0] for key, values in prepare(collate([stored_item(packed, k)])).items()}

    return Frames(packed.names, packed.sequences, packed.size, read)


def _raw_frames(folder: Path) -> Frames:
    tiktok = TikTokFolder(folder)
    names = tiktok.names()
    height, width = read_mask(tiktok.png("mask", names[0])).shape

    def read(k: int) -> Sample:
        frame = tiktok.read(names[k])
        return {
            "image": torch.from_numpy(frame.white_image).permute(2, 0, 1).float(),
            "vui": torch.from_numpy(frame.iuv[..., ::-1].copy()).permute(2, 0, 1).float(),
            "mask": torch.from_numpy(frame.mask)[None],
            "camera": frame.camera.as_tensor(),
        }

    return Frames(names, tiktok.sequences(), (height, width), read)


def open_pairs(folder: Path, frames: Frames) -> Pairs:
    """Matches that exist already, packed or in the original's text files.

    Raises:
        DataError: The folder holds none, is damaged, or they are of other frames.
    """
    return _StoredPairs(PackedPairs(folder), frames)


def pairs_of(folder: Path, frames: Frames) -> Pairs:
    """The matches that lie with frames in the TikTok layout (``correspondences/``), or else new ones."""
    given = Path(folder) / "correspondences"
    if (given / CORR_MAT_FILE).is_file() or (given / INDEX_FILE).is_file():
        return open_pairs(given, frames)
    return MatchedPairs(frames)


class _StoredPairs:
    def __init__(self, packed: PackedPairs, frames: Frames) -> None:
        self._packed = packed
        self.places = packed.places_in(frames.names, frames.size)

    def rows(self, k: int) -> np.ndarray:
        return self._packed.rows(k)


class MatchedPairs:
    """Frames that are matched by the author's rule when they are asked for.

    Some are farther apart, so that the body has turned between them.

    Args:
        frames: The frames.
        gaps: Distances in the order of each sequence; 1 are neighbours.
    """

    def __init__(self, frames: Frames, gaps: Sequence[int] = GAPS) -> None:
        self._frames, self._kept = frames, 2 * max(gaps)
        self._indices: dict[int, FrameIndex] = {}
        place = {name: k for k, name in enumerate(frames.names)}
        apart = [
            (place[name], place[members[k + gap]])
            for members in frames.sequences.values()
            for k, name in enumerate(members)
            for gap in gaps
            if k + gap < len(members)
        ]
        self.places = np.array(apart, dtype=np.int64).reshape(-1, 2)

    def rows(self, k: int) -> np.ndarray:
        """Matches of pair ``k``; none if they are of fewer body parts than the rule asks for."""
        place_i, place_j = self.places[k].tolist()
        matches = match_indexed(self._index(place_i), self._index(place_j))
        return matches.rows if usable(matches) else matches.rows[:0]

    def _index(self, k: int) -> FrameIndex:
        if k not in self._indices:
            if len(self._indices) > self._kept:
                self._indices.pop(next(iter(self._indices)))
            self._indices[k] = FrameIndex(iuv_of(self._frames.read(k)))
        return self._indices[k]


def iuv_of(sample: Sample) -> np.ndarray:
    """(H, W, 3) uint8 in the order I, U, V, 0 outside the mask."""
    inside = torch.where(sample["mask"], sample["vui"].flip(0), 0)
    iuv: np.ndarray = inside.permute(1, 2, 0).numpy().astype(np.uint8)
    return iuv
