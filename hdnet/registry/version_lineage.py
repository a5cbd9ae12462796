"""Lineage of registered versions: from a version to its commit, data and runs, and back.

The lineage is stored in tags of the version; see :mod:`hdnet.registry.models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from hdnet.errors import ModelError, TrackingError
from hdnet.tracking.connection import EXPERIMENT, connect, reason_of, without_password
from hdnet.tracking.provenance import LockedPipeline
from hdnet.tracking.runs import flatten
from hdnet.tracking.versions import RUN_TAG

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

# A shorter piece of a hash matches too many.
_SHORTEST_PIECE = 7


@dataclass(frozen=True)
class VersionLineage:
    """Lineage of one version.

    Attributes:
        name: Registered model.
        version: Its version.
        aliases: Its aliases.
        run_id: Run that registered it.
        tags: Its tags; see the module.
        matched: The tags that match the query; empty if the query was the version itself.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    run_id: str
    tags: dict[str, str]
    matched: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """Return the version as a list, its tags in groups."""
        shown = {f"{RUN_TAG}register": self.run_id, **self.tags}
        lines = [f"{self.name} version {self.version}" + (f" ({', '.join(self.aliases)})" if self.aliases else "")]
        if self.matched:
            lines.append(f"  found by {', '.join(self.matched)}")
        for title, starts in _GROUPS.items():
            found = {key: shown[key] for key in sorted(shown) if key.startswith(starts)}
            if found:
                width = max(map(len, found))
                lines += [f"  {title}", *(f"    {key:<{width}}  {value}" for key, value in found.items())]
        return "\n".join(lines)


_GROUPS: dict[str, tuple[str, ...]] = {
    "code and parameters": ("git_", "params_"),
    "data and model": ("dvc.", "training.", "data.", "model_sha256"),
    "runs": (RUN_TAG,),
    "metrics": ("metrics.",),
    "history": ("champion.",),
}


def lineage(name: str, what: str) -> list[VersionLineage]:
    """Find versions by number, by alias, or by anything they were made from.

    Args:
        name: Registered model.
        what: A version ("3"), an alias, or the beginning (7 characters or more) of a git commit, of a hash of data,
            parameters or the model, or of a run of any stage.

    Returns:
        The versions, the newest first.

    Raises:
        ModelError: No version matches.
        TrackingError: MLflow is unreachable.
    """
    uri = without_password(connect())
    try:
        versions = _versions(mlflow.MlflowClient(), name)
    except MlflowException as error:
        raise TrackingError(f"MLflow at {uri}: {reason_of(error)}") from error
    by_name = [found for found in versions if what == found.version or what in found.aliases]
    found = by_name or [match for match in (_matching(version, what.lower()) for version in versions) if match]
    if not found:
        raise ModelError(
            f"{what}: is no version or alias of {name} in {uri}, and none was made from it; expected a version, an "
            f"alias, or {_SHORTEST_PIECE} characters or more of a commit, hash or run id"
        )
    return found


def _versions(client: mlflow.MlflowClient, name: str) -> list[VersionLineage]:
    aliases: dict[str, list[str]] = {}
    for model in client.search_registered_models(f"name = '{name}'"):
        for alias, version in model.aliases.items():
            aliases.setdefault(str(version), []).append(alias)
    found, page = [], None
    while True:
        answer = client.search_model_versions(f"name = '{name}'", page_token=page)
        found += [
            VersionLineage(name, str(v.version), tuple(aliases.get(str(v.version), [])), v.run_id or "", dict(v.tags))
            for v in answer
        ]
        page = answer.token
        if not page:
            return sorted(found, key=lambda version: -int(version.version))


def _matching(version: VersionLineage, piece: str) -> VersionLineage | None:
    if len(piece) < _SHORTEST_PIECE:
        return None
    shown = {f"{RUN_TAG}register": version.run_id, **version.tags}
    matched = [
        key for key, value in shown.items() if value.lower().startswith(piece) and not key.startswith("champion.")
    ]
    if not matched:
        return None
    return VersionLineage(version.name, version.version, version.aliases, version.run_id, version.tags, tuple(matched))


def stage_runs(register_run: str, model_sha256: str, locked: LockedPipeline | None) -> dict[str, str]:
    """Find the runs behind a model, as ``run.STAGE`` tags.

    A training and an evaluation are found by the digest of the model. The stages before are found if dvc.lock
    describes the model: the newest finished run of the stage that read the data of the lock, with its parameters. So
    stages that DVC took from its cache are found, too.

    Args:
        register_run: Run that registers the model.
        model_sha256: Digest of the model file.
        locked: See :func:`hdnet.tracking.provenance.locked_pipeline`.
    """
    client = mlflow.MlflowClient()
    found = {f"{RUN_TAG}register": register_run}
    parent = client.get_run(register_run).data.tags.get(MLFLOW_PARENT_RUN_ID)
    if parent:
        found[f"{RUN_TAG}pipeline"] = parent
    experiment = client.get_experiment_by_name(EXPERIMENT)
    for stage in ("train_hdnet", "evaluate"):
        runs = _finished(client, experiment.experiment_id, stage, f" AND tags.model_sha256 = '{model_sha256}'")
        if runs:
            found[f"{RUN_TAG}{stage}"] = runs[0].info.run_id
    if locked is None:
        return found
    for stage, params in locked.params.items():
        if f"{RUN_TAG}{stage}" not in found:
            runs = _finished(client, experiment.experiment_id, stage)
            run_id = next((run.info.run_id for run in runs if _agrees(run, locked, params)), None)
            if run_id is not None:
                found[f"{RUN_TAG}{stage}"] = run_id
    return found


def _finished(client: mlflow.MlflowClient, experiment: str, stage: str, more: str = "") -> list[Run]:
    """Return the finished runs of a stage, the newest first."""
    asked = f"tags.stage = '{stage}' AND attributes.status = 'FINISHED'{more}"
    runs: list[Run] = client.search_runs([experiment], asked, order_by=["attributes.start_time DESC"], max_results=200)
    return runs


def _agrees(run: Run, locked: LockedPipeline, params: dict[str, object]) -> bool:
    """Return whether the run's data and parameters, as far as it has logged them, are those of the lock."""
    read = {key.removeprefix("dvc."): md5 for key, md5 in run.data.tags.items() if key.startswith("dvc.")}
    wanted = {key: value for key, value in flatten(params).items() if not isinstance(value, list | tuple)}
    noted = chain(
        ((md5, locked.outputs.get(path)) for path, md5 in read.items()),
        ((run.data.params[key], str(value)) for key, value in wanted.items() if key in run.data.params),
    )
    return all(ours == theirs for ours, theirs in noted)
