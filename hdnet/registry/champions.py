"""Champion and challenger aliases of a registered model, and the history of its champions.

The history is stored in tags of the versions: a champion's ``champion.stack`` lists the champions before it, the last
one first. It is written before the alias moves, so a process that dies in between leaves a consistent state: the alias,
one row of a table, decides.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from hdnet.errors import ModelError, PromotionError, TrackingError
from hdnet.registry.lock import registry_lock
from hdnet.tracking.connection import connect, is_refusal, reason_of, without_password

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

STACK = "champion.stack"
_SINCE, _UNTIL, _RUN, _REASON = "champion.since", "champion.until", "champion.run", "champion.reason"
_ROLLED_BACK = "champion.rolled_back"
# Number of previous champions that a rollback can reach.
_KEPT = 20


class Champions:
    """Champion and challenger of one registered model.

    Args:
        name: Registered model.
        champion_alias: Alias of the version that serves.
        challenger_alias: Alias of the version to decide about.
    """

    def __init__(self, name: str, champion_alias: str, challenger_alias: str) -> None:
        self.name = name
        self.champion_alias = champion_alias
        self.challenger_alias = challenger_alias
        self._uri = without_password(connect())
        self._client = mlflow.MlflowClient()

    def is_empty(self) -> bool:
        """Return whether the registry has no model of that name."""
        return self._find(lambda name, _: self._client.get_registered_model(name), "") is None

    def champion(self) -> str | None:
        """Return the version that serves; None if there is none yet."""
        return self._version_of(self.champion_alias)

    def challenger(self) -> str:
        """Return the version to decide about.

        Raises:
            PromotionError: There is no challenger.
        """
        version = self._version_of(self.challenger_alias)
        if version is None:
            raise PromotionError(
                f"{self.name} has no {self.challenger_alias} in {self._uri}; run `hdnet register`, or name a --version"
            )
        return version

    def existing(self, version: str) -> str:
        """Return the version's number, after a check that it exists.

        Raises:
            ModelError: There is no such version.
        """
        return str(self._get(version).version)

    def rolled_back(self, version: str) -> str | None:
        """Return when and why the version was rolled back; None if it was not."""
        tags: dict[str, str] = self._get(version).tags
        return tags.get(_ROLLED_BACK)

    def install(self, version: str, expected: str | None, run_id: str, reason: str) -> bool:
        """Make a version the champion, unless the champion is no longer the one that it was compared with.

        Args:
            version: The new champion.
            expected: Champion that the version was compared with.
            run_id: Run of the decision.
            reason: Reason of the decision.

        Returns:
            False if another champion was installed meanwhile; then nothing is changed.
        """
        with registry_lock(self._client, self.name):
            if self.champion() != expected:
                return False
            stack = [expected, *self._stack(expected)] if expected else []
            self._set_champion(version, [before for before in stack if before != version], run_id, reason)
            self._client.delete_model_version_tag(self.name, version, _ROLLED_BACK)
            if expected is not None:
                self._set(expected, {_UNTIL: utc_now()})
            if self._version_of(self.challenger_alias) == version:
                self._client.delete_registered_model_alias(self.name, self.challenger_alias)
        return True

    def roll_back(self, run_id: str, reason: str) -> tuple[str, str]:
        """Make the previous champion the champion again.

        Returns:
            The version that was rolled back, and the champion from now on.

        Raises:
            PromotionError: There is no champion, or no previous one whose version still exists.
        """
        with registry_lock(self._client, self.name):
            champion = self.champion()
            if champion is None:
                raise PromotionError(f"{self.name} has no {self.champion_alias} in {self._uri}: nothing to roll back")
            stack = [
                version for version in self._stack(champion) if self._find(self._client.get_model_version, version)
            ]
            if not stack:
                raise PromotionError(f"version {champion} of {self.name} has no champion before it to go back to")
            now = utc_now()
            self._set(champion, {_UNTIL: now, _ROLLED_BACK: f"{now}: {reason}"})
            self._set_champion(stack[0], stack[1:], run_id, f"version {champion} was rolled back: {reason}")
        return champion, stack[0]

    def _set_champion(self, version: str, stack: list[str], run_id: str, reason: str) -> None:
        self._set(version, {STACK: ",".join(stack[:_KEPT]), _SINCE: utc_now(), _RUN: run_id, _REASON: reason})
        self._client.set_registered_model_alias(self.name, self.champion_alias, version)
        self._client.delete_model_version_tag(self.name, version, _UNTIL)

    def _stack(self, version: str) -> list[str]:
        return [before for before in self._get(version).tags.get(STACK, "").split(",") if before]

    def _set(self, version: str, tags: dict[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, version, key, value)

    def _version_of(self, alias: str) -> str | None:
        found = self._find(self._client.get_model_version_by_alias, alias)
        return None if found is None else str(found.version)

    def _get(self, version: str) -> ModelVersion:
        found = self._find(self._client.get_model_version, version)
        if found is None:
            raise ModelError(f"{self.name} has no version {version} in {self._uri}")
        return found

    def _find(self, get: Callable[[str, str], ModelVersion], of: str) -> ModelVersion | None:
        """Get a version by number or alias; None if there is no such version, alias or model."""
        try:
            return get(self.name, of)
        except MlflowException as error:
            if is_refusal(error):
                return None
            raise TrackingError(f"MLflow at {self._uri}: {reason_of(error)}") from error


def utc_now() -> str:
    """Return the time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
