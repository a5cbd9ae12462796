"""Results on sequences: metrics of every pair, means with confidence intervals, tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hdnet.errors import DataError
from hdnet.evaluation.baselines import FLAT_PLANE, MODEL, TITLES
from hdnet.evaluation.confidence import Interval, mean_by_sequence
from hdnet.metrics.sequences import SEQUENCE_METRICS, STABILITY_METRICS, STABILITY_TITLES, WARP_RESIDUAL
from hdnet.tables import markdown_table

YAW_EDGES_DEG = (0, 10, 20, 30, 45, 60, 90, 180)
YAW_BINS = tuple(f"yaw_{low:02d}_{high:02d}" for low, high in pairwise(YAW_EDGES_DEG))
FORMAT = "hdnet-sequences"
_TITLES = {**TITLES, FLAT_PLANE: "flat plane at 4 m"}


@dataclass(frozen=True)
class PairResult:
    """Metrics of one pair of frames.

    Attributes:
        name_i: Frame i.
        name_j: Frame j.
        sequence: Their sequence.
        turn_deg: Turn of the body from i to j, None where it cannot be estimated.
        values: ``{"model": {metric: value}, ...}``; stability only of neighbouring frames.
    """

    name_i: str
    name_j: str
    sequence: str
    turn_deg: float | None
    values: dict[str, dict[str, float]]

    @property
    def yaw_bin(self) -> str | None:
        """The one of :data:`YAW_BINS` that holds the absolute turn."""
        if self.turn_deg is None:
            return None
        place = int(np.searchsorted(YAW_EDGES_DEG, abs(self.turn_deg), side="right")) - 1
        return YAW_BINS[min(place, len(YAW_BINS) - 1)]


@dataclass(frozen=True)
class SequenceResult:
    """Metrics of every pair and their means.

    Attributes:
        pairs: The pairs.
        data_sha256: Of the pictures and matches.
        left_out: Number of pairs without matches inside both masks.
        note: Description of the frames, for the table.
    """

    pairs: tuple[PairResult, ...]
    data_sha256: str
    left_out: int = 0
    note: str = ""

    @property
    def methods(self) -> tuple[str, ...]:
        """The model and the baselines."""
        return tuple(self.pairs[0].values)

    def interval(self, metric: str, method: str = MODEL, yaw_bin: str | None = None) -> Interval | None:
        """Mean over the pairs that have the metric, None if there is none; see :func:`mean_by_sequence`.

        Args:
            metric: One of :data:`SEQUENCE_METRICS`.
            method: One of :attr:`methods`.
            yaw_bin: Only pairs of this one of :data:`YAW_BINS`.
        """
        chosen = self._chosen(metric, method, yaw_bin)
        if not chosen:
            return None
        return mean_by_sequence(np.array([pair.values[method][metric] for pair in chosen]), _sequences(chosen))

    def metrics(self) -> dict[str, float]:
        """Means flat, for a tracker.

        Returns:
            ``sequence/warp_residual_mm``, ``sequence/warp_residual_mm/yaw_00_10``, ``sequence/depth_change_mm``, ...;
            of a baseline ``sequence/flat_plane/warp_residual_mm``; ``sequence/pairs`` and ``sequence/neighbours``.
        """
        flat = {"sequence/pairs": float(len(self.pairs)), "sequence/neighbours": float(self._neighbours)}
        for method in self.methods:
            place = "sequence" if method == MODEL else f"sequence/{method}"
            for metric in SEQUENCE_METRICS:
                for yaw_bin in (None, *YAW_BINS) if metric == WARP_RESIDUAL else (None,):
                    chosen = self._chosen(metric, method, yaw_bin)
                    if chosen:
                        key = f"{place}/{metric}" + (f"/{yaw_bin}" if yaw_bin else "")
                        flat[key] = float(np.mean([pair.values[method][metric] for pair in chosen]))
        return flat

    def to_json(self) -> str:
        """All of it as JSON text."""
        document = {
            "format": FORMAT,
            "data_sha256": self.data_sha256,
            "note": self.note,
            "left_out": self.left_out,
            "summary": self.metrics(),
            "pairs": [asdict(pair) for pair in self.pairs],
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> SequenceResult:
        """The inverse of :meth:`to_json`.

        Raises:
            DataError: The text is something else.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document["format"] != FORMAT:
                raise ValueError(f"format is {document['format']!r}")
            pairs = tuple(PairResult(**pair) for pair in document["pairs"])
            return cls(pairs, document["data_sha256"], document["left_out"], document["note"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"not the JSON of an evaluation on sequences ({error}); evaluate again") from error

    def to_markdown(self) -> str:
        """Two tables, residual by turn and stability, one line for the model and each baseline, with intervals."""
        by_turn = [(None, "all"), *((name, _degrees(name)) for name in YAW_BINS)]
        counts = [len(self._chosen(WARP_RESIDUAL, MODEL, name)) for name, _ in by_turn]
        columns = [(WARP_RESIDUAL, name, title, n) for (name, title), n in zip(by_turn, counts, strict=True) if n]
        lines = [
            f"Warp residual in mm at 4 m by the turn of the body between two frames{self._of_what()}; "
            "[95 % interval over sequences].",
            "",
            *self._table([(metric, name, f"{title} (n = {n})") for metric, name, title, n in columns]),
        ]
        if self._neighbours:
            lines += ["", f"Change of the depth in {_pairs(self._neighbours)} of neighbouring frames.", ""]
            lines += self._table([(metric, None, title) for metric, title in STABILITY_TITLES.items()])
        lines += ["", *self._remarks()]
        return "\n".join(lines) + "\n"

    def _chosen(self, metric: str, method: str, yaw_bin: str | None) -> list[PairResult]:
        wanted = [pair for pair in self.pairs if metric in pair.values[method]]
        return [pair for pair in wanted if yaw_bin is None or pair.yaw_bin == yaw_bin]

    @property
    def _neighbours(self) -> int:
        return len(self._chosen(STABILITY_METRICS[0], self.methods[0], None))

    def _of_what(self) -> str:
        return f" ({self.note})" if self.note else ""

    def _table(self, columns: Sequence[tuple[str, str | None, str]]) -> list[str]:
        rows = [
            [_TITLES.get(method, method), *(_cell(self.interval(metric, method, name)) for metric, name, _ in columns)]
            for method in self.methods
        ]
        return markdown_table(["", *(title for _, _, title in columns)], rows, "lr")

    def _remarks(self) -> list[str]:
        sequences = len(set(_sequences(self.pairs)))
        remarks = ["A small number is not yet a good depth: a plane is rigid, too. Read it beside the baselines'."]
        if sequences < 10:
            found = f"The pairs are of {sequences} sequences" if sequences > 1 else "All pairs are of one sequence"
            remarks.append(f"{found}: take the intervals as rough and too narrow; of a single one they are over pairs.")
        unknown = sum(pair.turn_deg is None for pair in self.pairs)
        if unknown:
            remarks.append(f"Of {_pairs(unknown)} the turn cannot be told; they count in `all`.")
        if self.left_out:
            remarks.append(f"Left out: {_pairs(self.left_out)} with too few matches on the person.")
        return remarks


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count} pairs"


def _sequences(pairs: Sequence[PairResult]) -> list[str]:
    return [pair.sequence for pair in pairs]


def _cell(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.value:.1f} [{interval.low:.1f}, {interval.high:.1f}]"


def _degrees(yaw_bin: str) -> str:
    _, low, high = yaw_bin.split("_")
    return f"{int(low)}-{int(high)}°"
