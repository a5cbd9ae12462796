"""Run in MLflow that receives the events of one outbox. Every call may be repeated: nothing appears twice."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import quote

import numpy as np

from hdnet.errors import TrackingError
from hdnet.tracking.connection import EXPERIMENT, is_refusal, reason_of, without_password
from hdnet.tracking.outbox import Event, Outbox

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

logger = logging.getLogger(__name__)

# The stages whose metrics are the pipeline's result.
RESULT_STAGES = ("evaluate",)
# Of a pipeline's run: parameters that differ between its stages, because params.yaml changed in between.
CHANGED_TAG = "params_changed"

# MLflow's limit.
_DIGEST_LENGTH = 36
# MLflow's page has another layout for language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
# Identify a run whose creation succeeded but whose answer got lost, and the parent of one `dvc repro`.
_OUTBOX_TAG = "hdnet.outbox"
_PIPELINE_TAG = "hdnet.pipeline"
# Key of a run that several commands share, and the same key on the runs below it.
_KEY_TAG = "hdnet.key"
_PARENT_KEY_TAG = "hdnet.parent_key"


class RunDeletedError(Exception):
    """The run was deleted; a new one must receive all events."""


class RemoteRun:
    """Run in MLflow that receives the events of one outbox.

    A stage of a pipeline also writes to the pipeline's run: all parameters and the result's metrics, since MLflow's
    compare view shows only what the marked runs hold themselves.

    Args:
        outbox: Its ``state`` stores the ids of the run and of its pipeline.
        uri: Tracking URI.

    Raises:
        TrackingError: The tables of a local database cannot be made or read.
    """

    def __init__(self, outbox: Outbox, uri: str) -> None:
        self.outbox = outbox
        try:
            self.client = mlflow.MlflowClient(tracking_uri=uri)
        except Exception as error:  # of MLflow or SQLAlchemy
            raise TrackingError(f"MLflow at {without_password(uri)}: {reason_of(error)}") from error

    @property
    def run_id(self) -> str:
        """Id of the run."""
        run_id: str = self.outbox.state["run_id"]
        return run_id

    def log_metrics(self, events: Sequence[Event]) -> None:
        """Log metrics of many steps in few calls. MLflow stores each once, since their times are the events' own."""
        metrics = [Metric(key, value, e["time"], e["step"]) for e in events for key, value in e["values"].items()]
        self.client.log_batch(self.run_id, metrics=metrics, synchronous=True)
        if self.outbox.state.get("is_result"):
            self._on_pipeline(lambda run_id: self.client.log_batch(run_id, metrics=metrics, synchronous=True))

    def log(self, event: Event, *, is_retry: bool) -> None:
        """Log any other event; with ``is_retry`` an earlier try may have succeeded though its answer got lost."""
        if "file" in event:
            if not (self.outbox.folder / event["file"]).exists():  # dropped to save space
                return
            event = {**event, "path": str(self.outbox.folder / event["file"]), "is_retry": is_retry}
        getattr(self, f"_log_{event['kind']}")(event)

    def _log_open(self, event: Event) -> None:
        """Find or create the run, and set its parameters, tags and parent."""
        state, pipeline = self.outbox.state, event["pipeline"]
        is_new = state["run_id"] is None
        if is_new:
            self._create_run(event)
        run = self._active_run()
        if state.get("history_unknown"):
            self._read_history(run)
        parent = run.data.tags.get(MLFLOW_PARENT_RUN_ID)
        # A shared run that is named by a key has parameters and an end of its own.
        state["pipeline_run"] = None if _PARENT_KEY_TAG in run.data.tags else parent
        state["is_result"] = bool(pipeline and event["stage"] in RESULT_STAGES) or state.get("is_result", False)
        self.outbox.save_state()
        params = [Param(key, str(value)) for key, value in event["params"].items()]
        tags = [RunTag(key, str(value)) for key, value in event["tags"].items()]
        self.client.log_batch(self.run_id, params=params, tags=tags, synchronous=True)
        if pipeline:
            if not is_new and parent and self._find(_PIPELINE_TAG, pipeline) is None:
                # An interrupted pipeline continues: what this command runs belongs to the same parent.
                self._on_pipeline(lambda run_id: self.client.set_tag(run_id, _PIPELINE_TAG, pipeline))
            self._on_pipeline(lambda run_id: self._share_params(run_id, params))
        self.client.update_run(self.run_id, status="RUNNING")
        self._on_pipeline(lambda run_id: self.client.update_run(run_id, status="RUNNING"))

    def _log_tags(self, event: Event) -> None:
        tags = [RunTag(key, str(value)) for key, value in event["values"].items()]
        self.client.log_batch(self.run_id, tags=tags, synchronous=True)

    def _log_dataset(self, event: Event) -> None:
        profile = json.dumps({"num_rows": event["size"], "sha256": event["digest"]})
        source = json.dumps({"uri": event["source"] or event["name"]})
        dataset = Dataset(event["name"], event["digest"][:_DIGEST_LENGTH], "local", source, profile=profile)
        used = DatasetInput(dataset, [InputTag("mlflow.data.context", event["context"])])
        self.client.log_inputs(self.run_id, [used])

    def _log_close(self, event: Event) -> None:
        status, time = event["status"], event["time"]
        self.client.set_terminated(self.run_id, status, time)
        self._on_pipeline(lambda run_id: self.client.set_terminated(run_id, status, time))

    def _log_image(self, event: Event) -> None:
        key, step, time = event["key"], event["step"], event["time"]
        if event["is_retry"]:
            name = f"images/{key.replace('/', '~')}+step+{step}+timestamp+{time}+"
            paths = [item.path for item in self.client.list_artifacts(self.run_id, "images")]
            if sum(path.startswith(name) for path in paths) >= 2:  # the picture and its thumbnail
                return
        picture = np.load(event["path"], allow_pickle=False)
        self.client.log_image(self.run_id, picture, key=key, step=step, timestamp=time, synchronous=True)

    def _log_file(self, event: Event) -> None:
        self.client.log_artifact(self.run_id, event["path"])

    def _log_checkpoint(self, event: Event) -> None:
        """Log weights as a logged model of the run, with their step and the metrics of that step."""
        step, name = event["step"], event["file"].rpartition("/")[2].rpartition(".")[0]
        named = f"name = '{name}' AND source_run_id = '{self.run_id}'"
        found: list[Any] = self.client.search_logged_models([self._experiment], named) if event["is_retry"] else []
        model_id = str(
            found[0].model_id
            if found
            else self.client.create_logged_model(
                self._experiment, name, self.run_id, params={"step": str(step)}, model_type="hdnet-checkpoint"
            ).model_id
        )
        self.client.log_model_artifact(model_id, event["path"])
        self.client.finalize_logged_model(model_id, "READY")
        outputs = self.client.get_run(self.run_id).outputs
        if not any(output.model_id == model_id for output in (outputs.model_outputs if outputs else [])):
            self.client.log_outputs(self.run_id, [LoggedModelOutput(model_id, step)])
        # The run has these metrics with the same times already, and MLflow does not store them twice.
        rows = [(key, value, row["time"]) for row in event["metrics"] for key, value in row["values"].items()]
        metrics = [Metric(*row, step, model_id=model_id) for row in rows]
        self.client.log_batch(self.run_id, metrics=metrics, synchronous=True)

    def _on_pipeline(self, call: Callable[[str], object]) -> None:
        """Call with the id of the pipeline's run, if there is one. If it was deleted, the stage's run matters more."""
        pipeline = self.outbox.state.get("pipeline_run")
        try:
            if pipeline is not None:
                call(pipeline)
        except MlflowException as error:
            if not is_refusal(error):
                raise
            logger.debug("pipeline run %s: %s", pipeline, error)

    def _share_params(self, pipeline: str, params: Sequence[Param]) -> None:
        """Log a stage's parameters to its pipeline. The first value stays, as MLflow requires; a tag names changes."""
        run = self.client.get_run(pipeline)
        known = run.data.params
        new = [param for param in params if param.key not in known]
        self.client.log_batch(pipeline, params=new, synchronous=True)
        changed = {param.key for param in params if known.get(param.key, param.value) != param.value}
        if changed:
            changed |= set(run.data.tags.get(CHANGED_TAG, "").split())
            self.client.set_tag(pipeline, CHANGED_TAG, " ".join(sorted(changed)))

    def _active_run(self) -> Run:
        try:
            run = self.client.get_run(self.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise RunDeletedError(self.run_id) from error
        if run.info.lifecycle_stage != "active":
            raise RunDeletedError(self.run_id)
        return run

    def _read_history(self, run: Run) -> None:
        """Read from the server what was reported: the journal was deleted, but the training continues."""
        for key in run.data.metrics:
            history = self.client.get_metric_history(run.info.run_id, key)
            self.outbox.reported.update(("metrics", key, metric.step) for metric in history)
        self.outbox.state["history_unknown"] = False

    def _create_run(self, event: Event) -> None:
        state, token = self.outbox.state, self.outbox.folder.name
        found = self._find(_OUTBOX_TAG, token) if state.get("creating") else None
        if found is None and event.get("key"):
            found = self._find(_KEY_TAG, event["key"])
        if found is None:
            state["creating"] = True
            self.outbox.save_state()
            tags = {**event["tags"], _OUTBOX_TAG: token}
            parent = None
            if event["pipeline"]:
                parent = self._find(_PIPELINE_TAG, event["pipeline"]) or self._create_pipeline(event)
            elif event.get("parent"):
                parent = self._find(_KEY_TAG, event["parent"])
                tags[_PARENT_KEY_TAG] = event["parent"]
            if parent:
                tags[MLFLOW_PARENT_RUN_ID] = parent
            if event.get("key"):
                tags[_KEY_TAG] = event["key"]
            found = self._create(event["stage"], event["time"], tags)
        state.update(run_id=found, creating=False)
        self.outbox.save_state()

    def _create_pipeline(self, event: Event) -> str:
        kept = {key: value for key, value in event["tags"].items() if key.startswith(("git_", "mlflow."))}
        tags = {**kept, "stage": "pipeline", _PIPELINE_TAG: event["pipeline"]}
        return self._create("pipeline", event["time"], tags)

    def _create(self, stage: str, time: int, tags: dict[str, str]) -> str:
        """Create a run, described by a link to its comparison with the stage's last finished run."""
        rule = f"tags.stage = '{stage}' and attributes.status = 'FINISHED'"
        newest_first = ["attributes.start_time DESC"]
        earlier = self.client.search_runs([self._experiment], rule, max_results=1, order_by=newest_first)
        run_id: str = self.client.create_run(self._experiment, time, tags, stage).info.run_id
        if earlier:
            before = earlier[0].info
            runs, experiments = (
                quote(json.dumps(ids, separators=(",", ":"))) for ids in ([before.run_id, run_id], [self._experiment])
            )
            link = f"#/compare-runs?runs={runs}&experiments={experiments}&workflowType=machine_learning"
            day = f"{datetime.fromtimestamp(before.start_time / 1000, UTC):%Y-%m-%d %H:%M} UTC"
            note = f"[Compare with the last finished {stage}, of {day}]({link})"
            self.client.set_tag(run_id, MLFLOW_RUN_NOTE, note)
        return run_id

    def _find(self, tag: str, value: str) -> str | None:
        runs = self.client.search_runs([self._experiment], f"tags.`{tag}` = '{value}'", max_results=1)
        return runs[0].info.run_id if runs else None

    @cached_property
    def _experiment(self) -> str:
        """Id of the experiment, which is created if need be."""
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            try:
                return str(self.client.create_experiment(EXPERIMENT, tags=_EXPERIMENT_TAGS))
            except MlflowException:  # another process was faster
                found = self.client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise MlflowException.invalid_parameter_value(
                f"{EXPERIMENT!r} is a deleted experiment; restore it with "
                f"`mlflow experiments restore --experiment-id {found.experiment_id}`"
            )
        return str(found.experiment_id)
