"""Where a registered version comes from, and which versions came from a commit, a data hash or a run.

All of it stands in tags of the version, written when it is registered: ``git_commit``, ``params_sha256``,
``dvc.PATH`` (DVC's hash of everything the pipeline made), ``training.data.NAME`` (digests of the packed data),
``model_sha256``, ``metrics.NAME`` and ``run.STAGE``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from hdnet.errors import ModelError, TrackingError
from hdnet.tracking.connection import EXPERIMENT, connect, first_line, without_password
from hdnet.tracking.lineage import LockedPipeline
from hdnet.tracking.runs import flatten
from hdnet.tracking.versions import RUN_TAG

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

_PARENT_TAG = "mlflow.parentRunId"
# Shorter, a piece of a hash fits too many.
_SHORTEST_PIECE = 7


@dataclass(frozen=True)
class VersionLineage:
    """One version and what it was made from.

    Attributes:
        name: Registered model.
        version: Its version.
        aliases: That point to it.
        run_id: Run that registered it.
        tags: See the module.
        matched: The tags that what was asked for fits; empty if the version itself was asked for.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    run_id: str
    tags: dict[str, str]
    matched: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """The version as a list, its tags in groups."""
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
    """Finds versions by number, by alias, or by anything they were made from.

    Args:
        name: Registered model.
        what: A version ("3"), an alias, or the beginning (7 characters or more) of a git commit, of a hash of data,
            parameters or the model, or of a run of any stage.

    Returns:
        The versions, the newest first.

    Raises:
        ModelError: If nothing fits.
        TrackingError: If MLflow is away.
    """
    uri = without_password(connect())
    try:
        versions = _versions(mlflow.MlflowClient(), name)
    except MlflowException as error:
        raise TrackingError(f"MLflow at {uri}: {first_line(error)}") from error
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
    """The runs behind a model, as ``run.STAGE`` tags.

    A training and an evaluation are known by the digest of the model. What came before is known where dvc.lock
    describes the model: the newest finished run of the stage that read what the lock says, with its parameters. So
    stages that DVC took from its cache are found, too.

    Args:
        register_run: The run that registers it.
        model_sha256: Digest of the model file.
        locked: See :func:`hdnet.tracking.lineage.locked_pipeline`.
    """
    client = mlflow.MlflowClient()
    found = {f"{RUN_TAG}register": register_run}
    parent = client.get_run(register_run).data.tags.get(_PARENT_TAG)
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
    """Newest first."""
    asked = f"tags.stage = '{stage}' AND attributes.status = 'FINISHED'{more}"
    runs: list[Run] = client.search_runs([experiment], asked, order_by=["attributes.start_time DESC"], max_results=200)
    return runs


def _agrees(run: Run, locked: LockedPipeline, params: dict[str, object]) -> bool:
    """Whether the run read what the lock says, and had the lock's parameters, as far as it has noted either."""
    read = {key.removeprefix("dvc."): md5 for key, md5 in run.data.tags.items() if key.startswith("dvc.")}
    wanted = {key: value for key, value in flatten(params).items() if not isinstance(value, list | tuple)}
    noted = chain(
        ((md5, locked.outputs.get(path)) for path, md5 in read.items()),
        ((run.data.params[key], str(value)) for key, value in wanted.items() if key in run.data.params),
    )
    return all(ours == theirs for ours, theirs in noted)
