"""MLflow: runs, registered models, aliases. The only package that imports mlflow.

Tracking goes to ``MLFLOW_TRACKING_URI``, or to ``sqlite:///mlflow.db`` in the working directory. A registered version
holds the complete model twice: as ``extra_files/hdnet.safetensors``, which our own code loads (no pickle, no code from
the registry), and as MLflow's ``pt2`` export, which ``mlflow.pytorch.load_model`` runs without this package.

A stage never waits for the tracking server: what it reports goes to an outbox on disk first
(:mod:`hdnet.registry.outbox`) and from there, in the background, to MLflow (:mod:`hdnet.registry.sender`).
"""

from hdnet.registry.champions import Champions
from hdnet.registry.connection import DEFAULT_TRACKING_URI, EXPERIMENT, connect
from hdnet.registry.lineage_of import VersionLineage, lineage, stage_runs
from hdnet.registry.models import Card, download, model_cache, register, resolve
from hdnet.registry.pending import Delivery, deliver_pending
from hdnet.registry.runs import MLflowTracker, flatten, open_run_id, run

__all__ = [
    "DEFAULT_TRACKING_URI",
    "EXPERIMENT",
    "Card",
    "Champions",
    "Delivery",
    "MLflowTracker",
    "VersionLineage",
    "connect",
    "deliver_pending",
    "download",
    "flatten",
    "lineage",
    "model_cache",
    "open_run_id",
    "register",
    "resolve",
    "run",
    "stage_runs",
]
