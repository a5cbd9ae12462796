"""One outbox's events as calls of MLflow's client. Every call may be repeated: nothing appears twice."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np

from hdnet.tracking.connection import EXPERIMENT
from hdnet.tracking.outbox import Event, Outbox
from hdnet.tracking.pipeline_summary import RESULT_STAGES, share_metrics, share_params

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

logger = logging.getLogger(__name__)

# MLflow's limits of one log_batch and of a dataset's digest.
MAX_METRICS = 1000
_MAX_PARAMS = 100
_DIGEST_LENGTH = 36
_PARENT_TAG = "mlflow.parentRunId"
# MLflow's page has another layout for language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
# Finds a run again whose creation was answered by nobody, and the parent of one `dvc repro`.
_OUTBOX_TAG = "hdnet.outbox"
_PIPELINE_TAG = "hdnet.pipeline"
# A run that several commands share, and on the runs below it the key of that one.
_KEY_TAG = "hdnet.key"
_PARENT_KEY_TAG = "hdnet.parent_key"


class RunIsGoneError(Exception):
    """The run that the events belong to was deleted; a new one must take all of them."""


class Courier:
    """Delivers events of one outbox.

    Args:
        outbox: Its ``state`` remembers the run and the logged models.
        uri: Tracking URI.
    """

    def __init__(self, outbox: Outbox, uri: str) -> None:
        self.outbox = outbox
        self.client = mlflow.MlflowClient(tracking_uri=uri)
        self._experiment_id: str | None = None

    @property
    def run_id(self) -> str:
        """Of the run that takes the events."""
        run_id: str = self.outbox.state["run_id"]
        return run_id

    def deliver_metrics(self, events: list[Event]) -> None:
        """Numbers of many steps in few calls. Sent twice they are stored once: the times are the events' own."""
        metrics = [
            Metric(key, value, event["time"], event["step"])
            for event in events
            for key, value in event["values"].items()
        ]
        for first in range(0, len(metrics), MAX_METRICS):
            batch = metrics[first : first + MAX_METRICS]
            self.client.log_batch(self.run_id, metrics=batch, synchronous=True)
            if self.outbox.state.get("result_of"):
                share_metrics(self.client, self.outbox.state["result_of"], batch)

    def deliver(self, event: Event) -> None:
        """Any other event."""
        getattr(self, f"_deliver_{event['kind']}")(event)

    def _deliver_open(self, event: Event) -> None:
        """Finds or makes the run, and gives it its parameters, tags and parent."""
        pipeline = event["pipeline"]
        if self.outbox.state["run_id"] is None:
            self._create_run(event)
        else:
            parent = self._run_tags().get(_PARENT_TAG)
            if self.outbox.state.get("history_unknown"):
                self._learn_history()
            if pipeline and parent and self._pipeline_run(pipeline) is None:
                # A pipeline that was cut off goes on: what it runs from here belongs to the same parent.
                self.client.set_tag(parent, _PIPELINE_TAG, pipeline)
        params = [Param(key, str(value)) for key, value in event["params"].items()]
        for first in range(0, len(params), _MAX_PARAMS):
            self.client.log_batch(self.run_id, params=params[first : first + _MAX_PARAMS], synchronous=True)
        if pipeline:
            self._share(event["stage"], params)
        self._deliver_tags({"values": event["tags"]})
        self.client.update_run(self.run_id, status="RUNNING")
        self._set_parent_status("RUNNING", None)

    def _share(self, stage: str, params: list[Param]) -> None:
        parent = self._run_tags().get(_PARENT_TAG)
        if parent is None:
            return
        for first in range(0, len(params), _MAX_PARAMS):
            share_params(self.client, parent, params[first : first + _MAX_PARAMS])
        if stage in RESULT_STAGES:
            self.outbox.state["result_of"] = parent
            self.outbox.save_state()

    def _run_tags(self) -> dict[str, str]:
        try:
            run = self.client.get_run(self.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise RunIsGoneError(self.run_id) from error
        if run.info.lifecycle_stage != "active":
            raise RunIsGoneError(self.run_id)
        tags: dict[str, str] = run.data.tags
        return tags

    def _learn_history(self) -> None:
        """The journal was deleted, but the run goes on: the server says what it has."""
        for key in self.client.get_run(self.run_id).data.metrics:
            history = self.client.get_metric_history(self.run_id, key)
            self.outbox.seen.update(("metrics", key, metric.step) for metric in history)
        self.outbox.state["history_unknown"] = False

    def _create_run(self, event: Event) -> None:
        state, experiment = self.outbox.state, self._experiment()
        token = self.outbox.folder.name
        found = self._find(_OUTBOX_TAG, token) if state.get("creating") else None
        if found is None:
            state["creating"] = True
            self.outbox.save_state()
            tags = {**event["tags"], _OUTBOX_TAG: token}
            if event["pipeline"]:
                tags[_PARENT_TAG] = self._pipeline_run(event["pipeline"]) or self._create_pipeline(event)
            if event.get("parent"):
                tags |= {_PARENT_KEY_TAG: event["parent"], **self._keyed_parent(event["parent"])}
            if event.get("key"):
                tags[_KEY_TAG] = event["key"]
                found = self._find(_KEY_TAG, event["key"])
            found = found or self.client.create_run(experiment, event["time"], tags, event["stage"]).info.run_id
        state.update(run_id=found, creating=False)
        self.outbox.save_state()

    def _keyed_parent(self, key: str) -> dict[str, str]:
        found = self._find(_KEY_TAG, key)
        return {_PARENT_TAG: found} if found else {}

    def _experiment(self) -> str:
        if self._experiment_id is None:
            found = self.client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                try:
                    self._experiment_id = self.client.create_experiment(EXPERIMENT, tags=_EXPERIMENT_TAGS)
                except MlflowException:  # another process was faster
                    found = self.client.get_experiment_by_name(EXPERIMENT)
                    if found is None:
                        raise
            if found is not None:
                if found.lifecycle_stage != "active":
                    raise MlflowException.invalid_parameter_value(
                        f"{EXPERIMENT!r} is a deleted experiment; restore it with "
                        f"`mlflow experiments restore --experiment-id {found.experiment_id}`"
                    )
                self._experiment_id = found.experiment_id
        return str(self._experiment_id)

    def _find(self, tag: str, value: str) -> str | None:
        runs = self.client.search_runs([self._experiment()], f"tags.`{tag}` = '{value}'", max_results=1)
        return runs[0].info.run_id if runs else None

    def _pipeline_run(self, pipeline: str) -> str | None:
        return self._find(_PIPELINE_TAG, pipeline)

    def _create_pipeline(self, event: Event) -> str:
        kept = {key: value for key, value in event["tags"].items() if key.startswith(("git_", "mlflow."))}
        tags = {**kept, "stage": "pipeline", _PIPELINE_TAG: event["pipeline"]}
        run_id: str = self.client.create_run(self._experiment(), event["time"], tags, "pipeline").info.run_id
        return run_id

    def _set_parent_status(self, status: str, end_time: int | None) -> None:
        tags = self._run_tags()
        parent = tags.get(_PARENT_TAG)
        if parent is None or _PARENT_KEY_TAG in tags:  # one with a key has an end of its own
            return
        try:
            if end_time is None:
                self.client.update_run(parent, status=status)
            else:
                self.client.set_terminated(parent, status, end_time)
        except MlflowException as error:  # somebody deleted it: the stage's own run matters more
            logger.debug("parent run %s: %s", parent, error)

    def _deliver_tags(self, event: Event) -> None:
        tags = [RunTag(key, str(value)) for key, value in event["values"].items()]
        for first in range(0, len(tags), _MAX_PARAMS):
            self.client.log_batch(self.run_id, tags=tags[first : first + _MAX_PARAMS], synchronous=True)

    def _deliver_dataset(self, event: Event) -> None:
        profile = json.dumps({"num_rows": event["size"], "sha256": event["digest"]})
        source = json.dumps({"uri": event["source"] or event["name"]})
        dataset = Dataset(event["name"], event["digest"][:_DIGEST_LENGTH], "local", source, profile=profile)
        used = DatasetInput(dataset, [InputTag("mlflow.data.context", event["context"])])
        self.client.log_inputs(self.run_id, [used])

    def _deliver_close(self, event: Event) -> None:
        self.client.set_terminated(self.run_id, event["status"], event["time"])
        self._set_parent_status(event["status"], event["time"])

    def _deliver_image(self, event: Event) -> None:
        path = self.outbox.folder / event["file"]
        if not path.exists() or self._has_image(event):
            return
        picture, key = np.load(path, allow_pickle=False), event["key"]
        self.client.log_image(
            self.run_id, picture, key=key, step=event["step"], timestamp=event["time"], synchronous=True
        )

    def _has_image(self, event: Event) -> bool:
        """Whether an earlier try arrived whole though its answer did not: MLflow would show the picture twice."""
        if not event.get("retried"):
            return False
        start = f"images/{event['key'].replace('/', '~')}+step+{event['step']}+timestamp+{event['time']}+"
        paths = [item.path for item in self.client.list_artifacts(self.run_id, "images")]
        return sum(1 for path in paths if path.startswith(start)) >= 2  # the picture and its thumbnail

    def _deliver_file(self, event: Event) -> None:
        path = self.outbox.folder / event["file"]
        if path.exists():
            self.client.log_artifact(self.run_id, str(path))

    def _deliver_checkpoint(self, event: Event) -> None:
        """A logged model of the run: weights, step, and the numbers of that step."""
        path = self.outbox.folder / event["file"]
        if not path.exists():
            return
        model_id = self._checkpoint_model(event, path.stem)
        self.client.log_model_artifact(model_id, str(path))
        self.client.finalize_logged_model(model_id, "READY")
        outputs = self.client.get_run(self.run_id).outputs
        if not any(output.model_id == model_id for output in (outputs.model_outputs if outputs else [])):
            self.client.log_outputs(self.run_id, [LoggedModelOutput(model_id, event["step"])])
        # The run has these numbers with the same times already, and MLflow does not store them twice.
        metrics = [
            Metric(key, value, row["time"], event["step"], model_id=model_id)
            for row in event["metrics"]
            for key, value in row["values"].items()
        ]
        if metrics:
            self.client.log_batch(self.run_id, metrics=metrics, synchronous=True)

    def _checkpoint_model(self, event: Event, name: str) -> str:
        named = f"name = '{name}' AND source_run_id = '{self.run_id}'"
        found: list[Any] = self.client.search_logged_models([self._experiment()], named) if event.get("retried") else []
        if found:
            return str(found[0].model_id)
        params = {"step": str(event["step"])}
        created = self.client.create_logged_model(
            self._experiment(), name, self.run_id, params=params, model_type="hdnet-checkpoint"
        )
        return str(created.model_id)
