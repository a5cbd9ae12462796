"""What the run of a whole pipeline shows of its stages, so that MLflow can compare pipelines and not only stages.

Its compare view takes parameters and metrics of the runs that are marked. A training knows the parameters, the
evaluation the metrics, and only their parent knows which belong together.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import mlflow
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

logger = logging.getLogger(__name__)

# The stages whose metrics are the pipeline's result.
RESULT_STAGES = ("evaluate",)
# Parameters that differ between stages of one pipeline: somebody changed params.yaml while it was interrupted.
CHANGED_TAG = "params_changed"


def share_params(client: mlflow.MlflowClient, parent: str, params: Sequence[Param]) -> None:
    """Adds a stage's parameters to its parent. The first value stays, as MLflow has it; a tag names those that differ.

    Args:
        client: Where both are.
        parent: Id of the parent run.
        params: Of the stage, 100 at most at once.
    """
    try:
        run = client.get_run(parent)
        known = run.data.params
        new = [param for param in params if param.key not in known]
        client.log_batch(parent, params=new, synchronous=True)
        changed = {param.key for param in params if known.get(param.key, param.value) != param.value}
        if changed:
            changed |= set(run.data.tags.get(CHANGED_TAG, "").split())
            client.set_tag(parent, CHANGED_TAG, " ".join(sorted(changed)))
    except MlflowException as error:  # somebody deleted it: the stage's own run matters more
        logger.debug("parent run %s: %s", parent, error)


def share_metrics(client: mlflow.MlflowClient, parent: str, metrics: Sequence[Metric]) -> None:
    """Adds a result stage's metrics to its parent; sent twice they are stored once."""
    try:
        client.log_batch(parent, metrics=metrics, synchronous=True)
    except MlflowException as error:
        logger.debug("parent run %s: %s", parent, error)
