"""Experiment tracking: the interface of a run, and MLflow behind it.

Tracking goes to ``MLFLOW_TRACKING_URI``, or to ``sqlite:///mlflow.db`` in the working directory. A stage never waits
for the tracking server: what it reports goes to an outbox on disk first (:mod:`hdnet.tracking.outbox`) and from there,
in the background, to MLflow (:mod:`hdnet.tracking.sender`). Only this room and :mod:`hdnet.registry` import mlflow.
"""
