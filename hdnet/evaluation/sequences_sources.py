"""Frames of sequences and matches between them, from raw or packed folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

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
            (7,); with scenes, ``scene`` (3, H, W) 0..255.
    """

    names: Sequence[str]
    sequences: Mapping[str, Sequence[str]]
    size: tuple[int, int]
    read: Callable[[int], Sample]

    def where(self) -> dict[str, tuple[str, int]]:
        """Sequence and place in it, by frame name."""
        return {name: (key, k) for key, members in self.sequences.items() for k, name in enumerate(members)}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of frames whose matches are fetched one by one.

    Attributes:
        places: (N, 2) places of frames i and j among the names of the frames.
        rows: Matches (M, 5) of a pair by its number: part, row and column in i and j, 1-based; none for no pair.
    """

    places: np.ndarray
    rows: Callable[[int], np.ndarray]


def open_frames(folder: Path, scenes: bool = False) -> Frames:
    """Open the frames of a folder in the TikTok layout, or of a packed one.

    Args:
        folder: ``tiktok_data``, or what ``hdnet data pack`` made of it.
        scenes: Read the pictures with their backgrounds.

    Raises:
        DataError: It is neither, or damaged, or there are no pictures with background.
    """
    folder = Path(folder)
    return _packed_frames(folder, scenes) if (folder / INDEX_FILE).is_file() else _raw_frames(folder)


def _packed_frames(folder: Path, scenes: bool) -> Frames:
    packed = PackedFrames(folder)
    if scenes:
        packed.check_scenes()

    def read(k: int) -> Sample:
        return {key: values[0] for key, values in prepare(collate([stored_item(packed, k, scenes)])).items()}

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
            "scene": torch.from_numpy(frame.image).permute(2, 0, 1).float(),
            "camera": frame.camera.as_tensor(),
        }

    return Frames(names, tiktok.sequences(), (height, width), read)


def open_pairs(folder: Path, frames: Frames) -> Pairs:
    """Open existing matches, packed or in the original's text files.

    Raises:
        DataError: The folder holds none, is damaged, or they are of other frames.
    """
    packed = PackedPairs(folder)
    return Pairs(packed.places_in(frames.names, frames.size), packed.rows)


def pairs_of(folder: Path, frames: Frames) -> Pairs:
    """Open the matches stored with frames in the TikTok layout (``correspondences/``), or match the frames."""
    given = Path(folder) / "correspondences"
    if (given / CORR_MAT_FILE).is_file() or (given / INDEX_FILE).is_file():
        return open_pairs(given, frames)
    return matched_pairs(frames)


def matched_pairs(frames: Frames, gaps: Sequence[int] = GAPS) -> Pairs:
    """Return pairs that are matched by the author's rule on access; a pair of too few body parts has no matches.

    Args:
        frames: The frames.
        gaps: Distances in the order of each sequence; 1 are neighbours. At larger ones the body has turned.
    """
    place = {name: k for k, name in enumerate(frames.names)}
    apart = [
        (place[name], place[members[k + gap]])
        for members in frames.sequences.values()
        for k, name in enumerate(members)
        for gap in gaps
        if k + gap < len(members)
    ]
    places = np.array(apart, dtype=np.int64).reshape(-1, 2)
    index = lru_cache(maxsize=2 * max(gaps))(lambda k: FrameIndex(iuv_of(frames.read(k))))

    def rows(k: int) -> np.ndarray:
        place_i, place_j = places[k].tolist()
        matches = match_indexed(index(place_i), index(place_j))
        return matches.rows if usable(matches) else matches.rows[:0]

    return Pairs(places, rows)


def iuv_of(sample: Sample) -> np.ndarray:
    """Return (H, W, 3) uint8 in the order I, U, V, 0 outside the mask."""
    inside = torch.where(sample["mask"], sample["vui"].flip(0), 0)
    iuv: np.ndarray = inside.permute(1, 2, 0).numpy().astype(np.uint8)
    return iuv
