"""Paths of the pipeline's files, for the stages and the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Name of the model that comes with the package, wherever a source or a start is asked for.
SHIPPED_SOURCE = "shipped"
SHIPPED = Path(__file__).with_name("weights") / "person.safetensors"
"""The network for photographs that comes with the package; its card lies beside it."""


@dataclass(frozen=True)
class Workspace:
    """Paths below one root; ``dvc repro`` runs in the repository's root."""

    root: Path = Path()

    def pretrained(self, name: str | None) -> Path | None:
        """Return the model file that a training starts from: in ``pretrained/`` or the shipped one; None for none."""
        if name == SHIPPED_SOURCE:
            return SHIPPED
        return None if name is None else self.root / "pretrained" / name

    @property
    def raw(self) -> Path:
        """Data in the real layout: ``Tang_data``, ``tiktok_data``, ``heldout/Tang_data``."""
        return self.root / "data/raw"

    @property
    def raw_labelled(self) -> Path:
        """Labelled people for training."""
        return self.raw / "Tang_data"

    @property
    def raw_frames(self) -> Path:
        """Unlabelled frames."""
        return self.raw / "tiktok_data"

    @property
    def raw_heldout(self) -> Path:
        """Labelled people for evaluation only."""
        return self.raw / "heldout/Tang_data"

    @property
    def packed(self) -> Path:
        """All packed data."""
        return self.root / "data/packed"

    @property
    def labelled(self) -> Path:
        """Packed labelled people."""
        return self.packed / "labelled"

    @property
    def heldout(self) -> Path:
        """Packed held-out people."""
        return self.packed / "heldout"

    @property
    def frames(self) -> Path:
        """Packed unlabelled frames."""
        return self.packed / "frames"

    @property
    def pseudo_normals(self) -> Path:
        """Normals of all training pictures, predicted by our own normal estimator."""
        return self.root / "data/pseudo_normals"

    @property
    def labelled_normals(self) -> Path:
        """Predicted normals of the labelled people."""
        return self.pseudo_normals / "labelled"

    @property
    def frame_normals(self) -> Path:
        """Predicted normals of the unlabelled frames."""
        return self.pseudo_normals / "frames"

    @property
    def correspondences(self) -> Path:
        """Matches between unlabelled frames, packed."""
        return self.root / "data/correspondences"

    @property
    def normal_model(self) -> Path:
        """The normal estimator."""
        return self.root / "models/normal.safetensors"

    @property
    def depth_model(self) -> Path:
        """The depth estimator after pre-training on labelled people."""
        return self.root / "models/depth.safetensors"

    @property
    def hdnet_model(self) -> Path:
        """The complete model after joint training."""
        return self.root / "models/hdnet.safetensors"

    @property
    def checkpoints(self) -> Path:
        """Working checkpoints of unfinished trainings."""
        return self.root / "checkpoints"

    @property
    def evaluated_model(self) -> Path:
        """Hash of the model that the metrics of stage `evaluate` belong to."""
        return self.report("evaluate") / "model.json"

    @property
    def registered_version(self) -> Path:
        """Version that stage `register` made."""
        return self.report("register") / "version.json"

    def report(self, stage: str) -> Path:
        """Return the folder of a stage's metrics, plots and pictures."""
        return self.root / "reports" / stage
