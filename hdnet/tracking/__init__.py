"""Experiment tracking: the interface of a tracker, and MLflow behind it.

Tracking goes to ``MLFLOW_TRACKING_URI``, or to ``sqlite:///mlflow.db`` in the working directory. A stage never waits
for the tracking server: its reports go to an outbox on disk (:mod:`hdnet.tracking.outbox`) and are uploaded to MLflow
in the background (:mod:`hdnet.tracking.uploader`). Only this room and :mod:`hdnet.registry` import mlflow.
"""
