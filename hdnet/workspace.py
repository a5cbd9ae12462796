"""Where the pipeline's files lie: the one place that `pipelines/`, dvc.yaml's reader and the command line agree on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """Paths below one root; ``dvc repro`` runs in the repository's root."""

    root: Path = Path()

    def pretrained(self, name: str | None) -> Path | None:
        """A model file that the user put into ``pretrained/`` for a training to start from, by name."""
        return None if name is None else self.root / "pretrained" / name

    @property
    def raw(self) -> Path:
        """Data in the real layout: ``Tang_data``, ``tiktok_data``, ``heldout/Tang_data``."""
        return self.root / "data/raw"

    @property
    def raw_labelled(self) -> Path:
        """Labelled people to learn from."""
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
        """Our own normal estimator's normals of all training pictures."""
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
        """Working checkpoints of runs that have not finished."""
        return self.root / "checkpoints"

    def report(self, stage: str) -> Path:
        """Metrics, plots and pictures of a stage."""
        return self.root / "reports" / stage
