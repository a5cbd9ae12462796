"""Registered models: versions, aliases, lineage, cards and promotion.

A registered version holds the complete model twice: as ``extra_files/hdnet.safetensors``, which our own code loads (no
pickle, no code from the registry), and as MLflow's ``pt2`` export, which ``mlflow.pytorch.load_model`` runs without
this package.
"""

from hdnet.registry.baseline import register_shipped
from hdnet.registry.champions import Champions
from hdnet.registry.models import Card, register
from hdnet.registry.version_lineage import VersionLineage, lineage, stage_runs

__all__ = ["Card", "Champions", "VersionLineage", "lineage", "register", "register_shipped", "stage_runs"]
