"""Correspondences of a whole folder of frames, matched or given as text, packed into a folder of pairs.

:class:`hdnet.params.CorrespondParams` says which pairs are matched, how, and which are kept.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hdnet.data.correspondence.body_turn import torso_turn_deg
from hdnet.data.correspondence.building import Batch, build_pairs
from hdnet.data.correspondence.matching import AUTHORS_RULE, FrameIndex, choose_pairs, match_indexed, usable
from hdnet.data.correspondence.predicted_maps import predicted_iuv_and_mask
from hdnet.data.layout.correspondences import CORR_MAT_FILE, ORIGINAL_PARTNERS, pair_files
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.layout.png import read_mask
from hdnet.data.store.pairs import Pair, PairsIndex, read_pairs, text_pairs
from hdnet.errors import DataError
from hdnet.params import CorrespondParams

# Reasons for which pairs are left out, in the order in which they are looked for.
REASONS = ("few_parts", "low_overlap", "turned", "turn_unknown")


def correspond(
    tiktok: TikTokFolder,
    out: Path,
    rule: CorrespondParams,
    jobs: int = 1,
    progress: bool = False,
    root: Path = Path(),
) -> dict[str, Any]:
    """Match the frames of a folder, or pack the matches that came with them, as ``rule.source`` says.

    Arguments, report and errors: :func:`match_folder`, :func:`pack_given`.
    """
    if rule.source == "given":
        return pack_given(tiktok, out, jobs=jobs, progress=progress, text_files=rule.text_files)
    return match_folder(tiktok, out, rule, jobs, progress, root)


def match_folder(
    tiktok: TikTokFolder,
    out: Path,
    rule: CorrespondParams = AUTHORS_RULE,
    jobs: int = 1,
    progress: bool = False,
    root: Path = Path(),
) -> dict[str, Any]:
    """Match every frame with its partners and write the pairs that the rule keeps, see :mod:`hdnet.data.store.pairs`.

    DensePose pixels outside a frame's mask are left out: the warp loss would read a depth there that
    nothing else supervises (docs/parity.md, 32).

    Args:
        tiktok: The frames.
        out: The folder to write; it appears (or is replaced) only when complete. A run that was killed is resumed.
        rule: Rule of matching and selection; the author's without it.
        jobs: Processes.
        progress: Show a progress bar on stderr.
        root: Folder that ``rule.body_model`` is relative to.

    Returns:
        JSON-able report: ``frames``, ``frames_with_partner``, ``pairs_tried``, ``pairs_accepted``,
        ``pairs_few_parts``, ``pairs_low_overlap``, ``pairs_turned``, ``pairs_turn_unknown`` (left out, by the first
        reason); of accepted pairs ``matches_mean``, ``parts_mean``, ``overlap_mean`` and, where any is known,
        ``turn_deg_median`` and ``turn_deg_95`` (95 % are below; without the sign).

    Raises:
        DataError: A picture cannot be read, no pair is usable, ``out`` cannot be written, or text files are wanted of
            more than four partners, which the original's table does not hold.
    """
    if rule.text_files and rule.partners > ORIGINAL_PARTNERS:
        raise DataError(
            f"{out}: text files of {rule.partners} partners a frame are wanted; {CORR_MAT_FILE} holds "
            f"{ORIGINAL_PARTNERS}: write fewer partners, or no text files"
        )
    wanted = choose_pairs(tiktok.sequences(), rule)
    unused = {"text_files"} if rule.source == "predicted" else {"text_files", "body_model"}
    settings = rule.model_dump(mode="json", exclude=unused)
    model = (root / rule.body_model).resolve() if rule.source == "predicted" else None
    source, names = _Matching(tiktok.root, rule, model), tiktok.names()
    return _report(*build_pairs(source, wanted, names, out, settings, jobs, progress, rule.text_files))


def pack_given(
    tiktok: TikTokFolder,
    out: Path,
    given: Path | None = None,
    jobs: int = 1,
    progress: bool = False,
    text_files: bool = False,
) -> dict[str, Any]:
    """Pack correspondences that exist in the original's text form, as they are; see :func:`match_folder`.

    Args:
        tiktok: The frames.
        out: The folder to write.
        given: Folder with ``corr_mat.txt`` and ``corrs/``; ``correspondences`` in that of the frames without it.
        jobs: Processes.
        progress: Show a progress bar on stderr.
        text_files: Write the text files again, too.

    Raises:
        DataError: A file is missing or damaged, names a frame that is not there or an index outside the pictures.
    """
    given = tiktok.root / "correspondences" if given is None else Path(given)
    names = tiktok.names()
    size = read_mask(tiktok.png("mask", names[0])).shape
    source = _Given(given, (size[0], size[1]))
    wanted, settings = text_pairs(given, names), {"source": "given"}
    return _report(*build_pairs(source, wanted, names, out, settings, jobs, progress, text_files))


def reason_to_drop(rule: CorrespondParams, pair: Pair) -> str | None:
    """Return the first of :data:`REASONS` for which a pair is left out; None for a pair to keep."""
    if not usable(pair.matches, rule):
        return "few_parts"
    if pair.overlap < rule.min_overlap:
        return "low_overlap"
    if rule.max_turn_deg is None or abs(pair.turn_deg) <= rule.max_turn_deg:
        return None
    return "turn_unknown" if np.isnan(pair.turn_deg) else "turned"


@dataclass(frozen=True)
class _Matching:
    """Pairs to be matched."""

    root: Path
    rule: CorrespondParams
    body_model: Path | None = None

    def files(self, batch: Batch) -> Iterator[Path]:
        tiktok = TikTokFolder(self.root)
        kind = "densepose"
        if self.body_model is not None:
            kind = "color"
            yield self.body_model
        for name in dict.fromkeys(name for i, others in batch.wanted for name in (i, *others)):
            yield tiktok.png(kind, name)
            yield tiktok.png("mask", name)

    def pairs(self, batch: Batch, dropped: Counter[str]) -> Iterator[Pair]:
        recent: OrderedDict[str, FrameIndex] = OrderedDict()
        for name_i, others in batch.wanted:
            for name_j in others:
                frame_i, frame_j = (self._indexed(name, recent) for name in (name_i, name_j))
                matches = match_indexed(frame_i, frame_j, self.rule)
                overlap = len(matches.rows) / max(1, len(frame_i.row))
                turn_deg = torso_turn_deg(frame_i.torso, frame_j.torso, matches.rows)
                pair = Pair(name_i, name_j, matches, overlap, turn_deg)
                reason = reason_to_drop(self.rule, pair)
                if reason is None:
                    yield pair
                else:
                    dropped[reason] += 1

    def _indexed(self, name: str, recent: OrderedDict[str, FrameIndex]) -> FrameIndex:
        """Return a frame's index, built once while its neighbours need it."""
        if name not in recent:
            tiktok = TikTokFolder(self.root)
            if self.body_model is None:
                iuv, mask = tiktok.read_iuv_and_mask(name)
            else:
                iuv, mask = predicted_iuv_and_mask(tiktok, name, self.body_model)
            try:
                recent[name] = FrameIndex(np.where(mask[..., None], iuv, np.uint8(0)))
            except DataError as error:
                raise DataError(f"{tiktok.png('densepose', name)}: {error}") from error
            if len(recent) > 2 * self.rule.partners + 2:
                recent.popitem(last=False)
        recent.move_to_end(name)
        return recent[name]


@dataclass(frozen=True)
class _Given:
    """Pairs that exist as text."""

    folder: Path
    size: tuple[int, int]

    def files(self, batch: Batch) -> Iterator[Path]:
        for name_i, others in batch.wanted:
            for name_j in others:
                yield from pair_files(self.folder, name_i, name_j)

    def pairs(self, batch: Batch, dropped: Counter[str]) -> Iterator[Pair]:  # noqa: ARG002 - none is dropped
        yield from read_pairs(self.folder, dict(batch.wanted), self.size)


def _report(index: PairsIndex, dropped: Counter[str]) -> dict[str, Any]:
    accepted = len(index.column("pairs"))
    turn_deg = np.abs(index.column("turn_deg"))
    turn_deg = turn_deg[np.isfinite(turn_deg)]
    overlap = index.column("overlap")
    report: dict[str, Any] = {
        "frames": len(index.names),
        "frames_with_partner": len(np.unique(index.column("pairs")[:, 0])),
        "pairs_tried": accepted + sum(dropped.values()),
        "pairs_accepted": accepted,
        **{f"pairs_{reason}": dropped[reason] for reason in REASONS},
        "matches_mean": float(index.column("matches").mean()),
        "parts_mean": float(index.column("parts").mean()),
    }
    if np.isfinite(overlap).all():
        report["overlap_mean"] = float(overlap.mean())
    if len(turn_deg):
        report |= {
            "turn_deg_median": float(np.median(turn_deg)),
            "turn_deg_95": float(np.percentile(turn_deg, 95)),
        }
    return report
