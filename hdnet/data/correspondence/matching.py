"""Matching of the pixels of two frames that show the same point of the body, by DensePose coordinates.

The author's rule (issue threads of the original): within each body part, the nearest neighbour in (U, V)
on the 0..255 scale, accepted below a distance of 7; a part counts from 50 matches, a pair of frames from 5
parts. Two further conditions on a match are options here: that it is mutual, and that it moves as its part does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from hdnet.data.correspondence.body_turn import TorsoView
from hdnet.data.correspondence.match_filter import affine_residuals_px
from hdnet.data.layout.correspondences import PARTS, Correspondences
from hdnet.errors import DataError
from hdnet.params import CorrespondParams

AUTHORS_RULE = CorrespondParams()


class FrameIndex:
    """Search index of a frame's DensePose pixels, built once for matching with several frames.

    Args:
        iuv: (H, W, 3) uint8 in the order I, U, V.
    """

    # Parts lie this far apart on a third axis, so that one tree serves all and never matches across parts.
    _SPACING = 1024.0

    def __init__(self, iuv: np.ndarray) -> None:
        if iuv.ndim != 3 or iuv.shape[2] != 3 or iuv[..., 0].max(initial=0) > PARTS:
            raise DataError(
                f"IUV map of shape {iuv.shape} with largest part {iuv[..., 0].max(initial=0)}; expected "
                f"(H, W, 3) in the order I, U, V with parts 0..{PARTS}"
            )
        self.row, self.column = np.nonzero(iuv[..., 0])
        pixels = iuv[self.row, self.column].astype(np.int32)
        self.part = pixels[:, 0]
        # Many pixels share their coordinates: search each once; the first in reading order stands for all.
        code = (pixels[:, 0] << 16) | (pixels[:, 1] << 8) | pixels[:, 2]
        unique, self.first, self.inverse = np.unique(code, return_index=True, return_inverse=True)
        self.points = np.stack([(unique >> 16) * self._SPACING, (unique >> 8) & 255, unique & 255], axis=1)
        self._tree: cKDTree | None = None

    @cached_property
    def torso(self) -> TorsoView:
        """View of the torso, for :func:`hdnet.data.correspondence.body_turn.torso_turn_deg`."""
        return TorsoView(self.part, self.row, self.column)

    def nearest(self, points: np.ndarray, max_distance: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest of this frame's ``points`` to other points.

        Args:
            points: (N, 3) as those of another frame.
            max_distance: Points at this distance or farther are not found.

        Returns:
            (distance, index): inf and 0 where nothing was found.
        """
        if not len(self.points):
            return np.full(len(points), np.inf), np.zeros(len(points), dtype=np.intp)
        if self._tree is None:
            self._tree = cKDTree(self.points, leafsize=16, balanced_tree=False, compact_nodes=False)
        distance, index = self._tree.query(points, distance_upper_bound=max_distance)
        found = distance < max_distance
        return np.where(found, distance, np.inf), np.where(found, index, 0)


def match(
    iuv_i: np.ndarray,
    iuv_j: np.ndarray,
    rule: CorrespondParams = AUTHORS_RULE,
) -> Correspondences:
    """Match every body pixel of frame i with the pixel of the same part of frame j that is nearest in (U, V).

    Args:
        iuv_i: (H, W, 3) uint8 in the order I, U, V.
        iuv_j: The same of frame j; its size may differ.
        rule: Which matches are kept: ``max_distance``, ``min_matches``, ``mutual`` and ``max_residual_px`` of it.

    Returns:
        Matches grouped by part, within a part in reading order of frame i. Between equally near pixels of j
        any one may be chosen, always the same. There is no upper limit to their number here, but the original
        cannot read more than 25,000 of a pair, so that :func:`hdnet.data.layout.folders.write_correspondences`
        refuses more; pictures of 256 x 256 stay far below.

    Raises:
        DataError: An IUV map has the wrong shape or parts above 24 (for example in the order U, V, I).
    """
    return match_indexed(FrameIndex(iuv_i), FrameIndex(iuv_j), rule)


def match_indexed(
    frame_i: FrameIndex,
    frame_j: FrameIndex,
    rule: CorrespondParams = AUTHORS_RULE,
) -> Correspondences:
    """:func:`match` for frames that are already indexed."""
    distance, index = frame_j.nearest(frame_i.points, rule.max_distance)
    found = np.isfinite(distance)
    if rule.mutual and found.any():
        back, _ = frame_i.nearest(frame_j.points[index[found]], rule.max_distance)
        found[found] = back >= distance[found]
    kept = np.flatnonzero(found[frame_i.inverse])
    kept = kept[np.argsort(frame_i.part[kept], kind="stable")]
    partner = frame_j.first[index[frame_i.inverse[kept]]]
    columns = (
        frame_i.part[kept],
        frame_i.row[kept] + 1,
        frame_i.column[kept] + 1,
        frame_j.row[partner] + 1,
        frame_j.column[partner] + 1,
    )
    rows = np.stack(columns, axis=1)
    if rule.max_residual_px is not None:
        rows = rows[affine_residuals_px(rows) <= rule.max_residual_px]
    counts = np.bincount(rows[:, 0], minlength=PARTS + 1)
    return Correspondences.from_rows(rows[(counts >= rule.min_matches)[rows[:, 0]]])


def usable(correspondences: Correspondences, rule: CorrespondParams = AUTHORS_RULE) -> bool:
    """Return whether a pair has enough common body parts."""
    return correspondences.parts >= rule.min_parts


def choose_pairs(
    names_by_sequence: Mapping[str, Sequence[str]], rule: CorrespondParams = AUTHORS_RULE
) -> dict[str, list[str]]:
    """Return the partners of every frame: the next frames of its sequence, near its end also preceding ones.

    Args:
        names_by_sequence: Frame names (numbers) in order of time, by sequence.
        rule: How many partners a frame gets, ``partners``, and how far apart they may be, ``max_gap_frames``. Numbers
            that are missing count: frames that were left out were time that passed.

    Returns:
        Partners by frame, nearest first; never from another sequence. Frames without any, as that of a sequence
        of one, are left out.
    """
    chosen: dict[str, list[str]] = {}
    for names in names_by_sequence.values():
        for k, name in enumerate(names):
            following = list(names[k + 1 : k + 1 + rule.partners])
            missing = rule.partners - len(following)
            preceding = list(names[max(0, k - missing) : k])[::-1]
            near = [
                other
                for other in following + preceding
                if rule.max_gap_frames is None or abs(int(other) - int(name)) <= rule.max_gap_frames
            ]
            if near:
                chosen[name] = near
    return chosen
