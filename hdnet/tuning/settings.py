"""What every worker of a study has to know; plain values, so that they reach other processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hdnet.params import Params
from hdnet.workspace import Workspace

OBJECTIVES = ("depth_mae_mm", "normal_mean_deg")
"""What trials are judged by: metrics of :class:`hdnet.training.validation.HeldOutValidator`, so the normals are those
of the depth. The complete model's own normals are the normal estimator's, which this stage does not train."""

SCALAR = "depth_mae_mm + mm_per_deg * normal_mean_deg"
"""What ``--scalar`` minimises instead."""


@dataclass(frozen=True)
class StudySettings:
    """A study, and how to work on it.

    Attributes:
        work: The workspace; its models and packed data are read, ``reports/tune`` is written.
        params: The whole params.yaml.
        storage: URL of the SQL database.
        name: Of the study.
        is_scalar: One objective, :data:`SCALAR`, instead of two.
        is_tracked: Whether trials are runs in MLflow.
    """

    work: Workspace
    params: Params
    storage: str
    name: str
    is_scalar: bool = False
    is_tracked: bool = True

    @property
    def folder(self) -> Path:
        """The study's report."""
        return self.work.report("tune") / self.name

    @property
    def full_name(self) -> str:
        """Of the study that trains the best trials again, with all the steps."""
        return f"{self.name}-full"

    def work_folder(self, study: str, trial: int) -> Path:
        """Of one trial, while it runs: checkpoints to go on from."""
        return self.work.checkpoints / "tune" / study / f"trial_{trial:05d}"

    def values(self, metrics: dict[str, float]) -> tuple[float, ...]:
        """The study's objectives of :data:`OBJECTIVES`."""
        if self.is_scalar:
            return (scalar(metrics, self.params.tune.scalar_mm_per_deg),)
        return tuple(metrics[name] for name in OBJECTIVES)


def scalar(metrics: dict[str, float], mm_per_deg: float) -> float:
    """:data:`SCALAR`, in millimetres."""
    return metrics["depth_mae_mm"] + mm_per_deg * metrics["normal_mean_deg"]
