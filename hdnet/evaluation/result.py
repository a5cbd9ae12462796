"""Results of an evaluation: metrics of every sample, means, confidence intervals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from hdnet.errors import DataError
from hdnet.evaluation.baselines import CAMERA_FACING, FLAT_PLANE, MODEL, TITLES
from hdnet.evaluation.confidence import Interval, bootstrap_mean
from hdnet.metrics.confidence import Reliability
from hdnet.metrics.table import ALL_METRICS, BY_NAME, ERRORS, HEADLINES, metric_text
from hdnet.tables import markdown_table

FORMAT = "hdnet-evaluation"

Row = dict[str, dict[str, float]]


@dataclass(frozen=True)
class EvaluationResult:
    """Metrics of every sample and their means.

    Attributes:
        names: Sample names.
        rows: For every sample ``{"model": {...}, "flat_plane": {...}, ...}``: metrics by method. A method has the
            metrics that make sense for it and that the data has a truth for; of :data:`PERSON_METRICS
            <hdnet.metrics.table.PERSON_METRICS>`, one sample may have those that another lacks.
        data_sha256: Digest of the data, empty if unknown: names, pictures, IUV, masks, cameras, truth.
        groups: For every sample the model's errors by body part and angle of view, see
            :mod:`hdnet.evaluation.breakdown`; a sample has the groups that are seen in it.
        notes: Remarks on the data for readers of the tables.
        reliability: Of the confidence over all samples, if the model gives one.
    """

    names: tuple[str, ...]
    rows: tuple[Row, ...]
    data_sha256: str = ""
    groups: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    reliability: Reliability | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """The model and the baselines."""
        return tuple(self.rows[0])

    def values(self, metric: str, method: str = MODEL) -> np.ndarray:
        """(N,) float64 of all samples, in the order of the names.

        Raises:
            DataError: The method has no such metric.
        """
        try:
            return np.array([row[method][metric] for row in self.rows], dtype=np.float64)
        except KeyError as error:
            raise DataError(f"{method} has no metric {metric}: what it was measured on has no truth for it") from error

    def known_values(self, metric: str, method: str = MODEL) -> np.ndarray:
        """(M,) float64 of the samples that have the metric, in the order of the names."""
        return np.array([row[method][metric] for row in self.rows if metric in row[method]], dtype=np.float64)

    def metrics_of(self, method: str = MODEL) -> tuple[str, ...]:
        """Names of the metrics that a method has on any sample."""
        return tuple(dict.fromkeys(metric for row in self.rows for metric in row[method]))

    @property
    def summary(self) -> Row:
        """Mean over the samples that have it, by method and metric."""
        return {
            method: {metric: float(self.known_values(metric, method).mean()) for metric in self.metrics_of(method)}
            for method in self.methods
        }

    def summary_with_confidence(self, level: float = 0.95, resamples: int = 2000) -> dict[str, dict[str, Interval]]:
        """Means with bootstrap intervals over the samples, by method and metric."""
        return {
            method: {
                metric: bootstrap_mean(self.known_values(metric, method), level, resamples)
                for metric in self.metrics_of(method)
            }
            for method in self.methods
        }

    @property
    def improvement(self) -> dict[str, float]:
        """Share of the simple baseline's mean error that the model avoids: 0.25 = a quarter less, negative = more.

        Depth is compared with the flat plane, normals with those that face the camera. A metric that is 0 for the
        baseline is left out.
        """
        summary = self.summary
        baseline = summary[FLAT_PLANE] | summary.get(CAMERA_FACING, {})
        return {m: 1 - summary[MODEL][m] / baseline[m] for m in ERRORS if baseline.get(m, 0) > 0}

    @property
    def breakdown(self) -> Row:
        """Mean over the samples in which a group is seen, by group and metric; ``samples`` counts them."""
        names = dict.fromkeys(group for row in self.groups for group in row)
        found: Row = {}
        for group in names:
            rows = [row[group] for row in self.groups if group in row]
            metrics = dict.fromkeys(metric for row in rows for metric in row)
            means = {m: float(np.mean([row[m] for row in rows if m in row])) for m in metrics}
            found[group] = {**means, "samples": float(len(rows))}
        return found

    @property
    def worst(self) -> tuple[int, ...]:
        """Indices of all samples by depth MAE, the largest first."""
        return tuple(int(i) for i in np.argsort(-self.values("depth_mae_mm"), kind="stable"))

    @property
    def best(self) -> tuple[int, ...]:
        """Indices of all samples by depth MAE, the smallest first."""
        return self.worst[::-1]

    def metrics(self) -> dict[str, float]:
        """Flat values for a tracker.

        Returns:
            ``model/depth_mae_mm``, ``flat_plane/depth_mae_mm``, ..., ``improvement/normal_mean_deg``;
            ``model/depth_mae_mm/low`` and ``/high`` of the two main metrics, 95 % interval;
            ``model/depth_mae_mm/part_torso``, ``model/normal_mean_deg/view_00_30``, ...
        """
        tables = {**self.summary, "improvement": self.improvement}
        flat = {f"{method}/{metric}": value for method, row in tables.items() for metric, value in row.items()}
        for metric in (m for m in HEADLINES if m in self.rows[0][MODEL]):
            interval = bootstrap_mean(self.values(metric))
            flat |= {f"{MODEL}/{metric}/low": interval.low, f"{MODEL}/{metric}/high": interval.high}
        for group, row in self.breakdown.items():
            flat |= {f"{MODEL}/{metric}/{group}": row[metric] for metric in HEADLINES if metric in row}
        return flat

    def to_json(self) -> str:
        """Everything as JSON text; :meth:`from_json` reads it."""
        rows: list[dict[str, Any]] = [{"name": name, **row} for name, row in zip(self.names, self.rows, strict=True)]
        for row, groups in zip(rows, self.groups, strict=False):
            row["groups"] = groups
        intervals = {
            method: {metric: [interval.low, interval.high] for metric, interval in row.items()}
            for method, row in self.summary_with_confidence().items()
        }
        document = {
            "format": FORMAT,
            "samples": len(rows),
            "data_sha256": self.data_sha256,
            "notes": self.notes,
            "summary": self.summary,
            "interval_95": intervals,
            "improvement": self.improvement,
            "breakdown": self.breakdown,
            "rows": rows,
        }
        return json.dumps(document, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> EvaluationResult:
        """The inverse of :meth:`to_json`.

        Raises:
            DataError: The text is something else.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document["format"] != FORMAT:
                raise ValueError(f"format is {document['format']!r}, expected {FORMAT!r}")
            if not document["rows"]:
                raise ValueError("it holds no sample")
            names = tuple(row.pop("name") for row in document["rows"])
            groups = tuple(row.pop("groups") for row in document["rows"] if "groups" in row)
            rows = tuple(document["rows"])
            return cls(names, rows, document["data_sha256"], groups, tuple(document["notes"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"no key {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"not the JSON of an evaluation ({what}); run `hdnet evaluate` again") from error

    def to_markdown(self) -> str:
        """A table: one line for the model and each baseline, one for the relative improvement."""
        summary = self.summary
        shown = [metric for metric in ALL_METRICS if any(metric in row for row in summary.values())]
        rows = [
            [TITLES[method], *(metric_text(m, row[m]) if m in row else "" for m in shown)]
            for method, row in summary.items()
        ]
        gain = self.improvement
        rows.append(["less error than the baseline", *(f"{100 * gain[m]:.0f} %" if m in gain else "" for m in shown)])
        return "\n".join(markdown_table(["", *(BY_NAME[metric].heading for metric in shown)], rows, "lr")) + "\n"
