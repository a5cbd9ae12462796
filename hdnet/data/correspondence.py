"""Correspondences of a whole folder of frames, in the reference's files.

The rule itself is in ``matching.py``, the file formats in ``layout_correspondences.py``; their public names
are offered here as well.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hdnet.data.files import atomic_folder
from hdnet.data.layout import TikTokFolder, write_corr_mat, write_correspondences
from hdnet.data.matching import Correspondences, FrameIndex, choose_pairs, match, match_indexed, usable
from hdnet.data.parallel import ordered_map
from hdnet.errors import DataError

__all__ = ["Correspondences", "choose_pairs", "match", "match_folder", "usable"]

# Frames that one call of a worker matches; neighbours share most partners, whose indices it keeps.
_FRAMES_PER_CHUNK = 16


def match_folder(
    tiktok: TikTokFolder,
    out: Path,
    partners: int = 4,
    max_distance: float = 7.0,
    min_matches: int = 50,
    min_parts: int = 5,
    jobs: int = 1,
    progress: bool = False,
) -> dict[str, Any]:
    """Match every frame with its partners and write the reference's files for the pairs that are usable.

    DensePose pixels outside a frame's mask are left out: the warp loss would read a depth there that
    nothing else supervises (quirk 32).

    Args:
        tiktok: The frames.
        out: The ``correspondences`` folder to write; it appears (or is replaced) only when complete.
        partners: Partners of a frame, see :func:`choose_pairs`.
        max_distance: See :func:`match`.
        min_matches: See :func:`match`.
        min_parts: Pairs with fewer common parts are left out.
        jobs: Processes.
        progress: Show a progress bar on stderr.

    Returns:
        JSON-able report: ``frames``, ``frames_with_partner``, ``pairs_tried``, ``pairs_accepted``,
        ``matches_mean`` and ``parts_mean`` (of accepted pairs).

    Raises:
        DataError: A picture cannot be read, no pair is usable, or ``out`` cannot be written.
    """
    names = tiktok.names()
    wanted = list(choose_pairs(tiktok.sequences(), partners).items())
    chunks = [wanted[k : k + _FRAMES_PER_CHUNK] for k in range(0, len(wanted), _FRAMES_PER_CHUNK)]
    accepted: dict[str, list[str]] = {}
    counts: list[tuple[int, int]] = []
    with atomic_folder(out, marker="corr_mat.txt") as temporary:
        (temporary / "corrs").mkdir()
        task = partial(_match_chunk, tiktok.root, temporary, max_distance, min_matches, min_parts)
        for pairs in ordered_map(task, chunks, jobs, progress, "correspondences (16 frames)"):
            for name_i, name_j, matches, parts in pairs:
                accepted.setdefault(name_i, []).append(name_j)
                counts.append((matches, parts))
        tried = sum(len(others) for _, others in wanted)
        if not accepted:
            raise DataError(
                f"{tiktok.root}: none of {tried} pairs of frames has {min_parts} common body parts with "
                f"{min_matches} matches; expected frames of one person in a sequence, DensePose as V, U, I"
            )
        write_corr_mat(temporary, accepted)
    return {
        "frames": len(names),
        "frames_with_partner": len(accepted),
        "pairs_tried": tried,
        "pairs_accepted": len(counts),
        "matches_mean": float(np.mean([matches for matches, _ in counts])),
        "parts_mean": float(np.mean([parts for _, parts in counts])),
    }


def _match_chunk(
    root: Path,
    out: Path,
    max_distance: float,
    min_matches: int,
    min_parts: int,
    chunk: list[tuple[str, list[str]]],
) -> list[tuple[str, str, int, int]]:
    """Match and write the pairs of some frames: (name_i, name_j, matches, parts) of the usable ones."""
    tiktok = TikTokFolder(root)
    recent: OrderedDict[str, FrameIndex] = OrderedDict()

    def indexed(name: str) -> FrameIndex:
        if name not in recent:
            iuv, mask = tiktok.read_iuv_and_mask(name)
            try:
                recent[name] = FrameIndex(np.where(mask[..., None], iuv, np.uint8(0)))
            except DataError as error:
                raise DataError(f"{tiktok.png('densepose', name)}: {error}") from error
            if len(recent) > 4 * _FRAMES_PER_CHUNK:
                recent.popitem(last=False)
        return recent[name]

    written = []
    for name_i, others in chunk:
        for name_j in others:
            found = match_indexed(indexed(name_i), indexed(name_j), max_distance, min_matches)
            if usable(found, min_parts):
                write_correspondences(out, name_i, name_j, found)
                written.append((name_i, name_j, len(found.rows), found.parts))
    return written
