"""The two aliases of a registered model, champion and challenger, and the history of the champion.

The history stands in tags of the versions: a champion's ``champion.stack`` names the champions before it, the last one
first. It is written before the alias moves, so that a process that dies in between leaves nothing wrong: the alias, one
row of a table, decides.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hdnet.errors import ModelError, PromotionError, TrackingError
from hdnet.registry.lock import registry_lock
from hdnet.tracking.connection import connect, first_line, is_refusal, without_password

import mlflow  # isort: skip - after connection, which sets its environment
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

STACK = "champion.stack"
_SINCE, _UNTIL, _RUN, _REASON = "champion.since", "champion.until", "champion.run", "champion.reason"
_ROLLED_BACK = "champion.rolled_back"
# Champions that a rollback can reach.
_KEPT = 20


class Champions:
    """Moves the aliases of one registered model.

    Args:
        name: Registered model.
        champion_alias: Alias of the version that serves.
        challenger_alias: Alias of the version that waits for a decision.
    """

    def __init__(self, name: str, champion_alias: str, challenger_alias: str) -> None:
        self.name = name
        self.champion_alias = champion_alias
        self.challenger_alias = challenger_alias
        self._uri = without_password(connect())
        self._client = mlflow.MlflowClient()

    def champion(self) -> str | None:
        """The version that serves; None if there is none yet."""
        return self._version_of(self.champion_alias)

    def challenger(self) -> str:
        """The version that waits.

        Raises:
            PromotionError: If none does.
        """
        version = self._version_of(self.challenger_alias)
        if version is None:
            raise PromotionError(
                f"{self.name} has no {self.challenger_alias} in {self._uri}; run `hdnet register`, or name a --version"
            )
        return version

    def existing(self, version: str) -> str:
        """The same version.

        Raises:
            ModelError: If there is none of that number.
        """
        return str(self._get(version).version)

    def rolled_back(self, version: str) -> str | None:
        """When and why the version was taken back, if it was."""
        tags: dict[str, str] = self._get(version).tags
        return tags.get(_ROLLED_BACK)

    def install(self, version: str, expected: str | None, run_id: str, reason: str) -> bool:
        """Makes a version the champion, unless the champion is no longer the one that it was compared with.

        Args:
            version: The new champion.
            expected: Champion that the decision was made against.
            run_id: The decision's run.
            reason: Why.

        Returns:
            False if another champion was installed meanwhile; nothing has changed then.
        """
        with registry_lock(self._client, self.name):
            if self.champion() != expected:
                return False
            stack = [expected, *self._stack(expected)] if expected else []
            self._enthrone(version, [before for before in stack if before != version], run_id, reason)
            self._client.delete_model_version_tag(self.name, version, _ROLLED_BACK)
            if expected is not None:
                self._set(expected, {_UNTIL: _now()})
            if self._version_of(self.challenger_alias) == version:
                self._client.delete_registered_model_alias(self.name, self.challenger_alias)
        return True

    def roll_back(self, run_id: str, reason: str) -> tuple[str, str]:
        """Gives the alias back to the champion before.

        Returns:
            The version that was taken back, and the champion from now on.

        Raises:
            PromotionError: If there is no champion, or none before it whose version still exists.
        """
        with registry_lock(self._client, self.name):
            champion = self.champion()
            if champion is None:
                raise PromotionError(f"{self.name} has no {self.champion_alias} in {self._uri}: nothing to roll back")
            stack = [version for version in self._stack(champion) if self._exists(version)]
            if not stack:
                raise PromotionError(f"version {champion} of {self.name} has no champion before it to go back to")
            now = _now()
            self._set(champion, {_UNTIL: now, _ROLLED_BACK: f"{now}: {reason}"})
            self._enthrone(stack[0], stack[1:], run_id, f"version {champion} was rolled back: {reason}")
        return champion, stack[0]

    def _enthrone(self, version: str, stack: list[str], run_id: str, reason: str) -> None:
        self._set(version, {STACK: ",".join(stack[:_KEPT]), _SINCE: _now(), _RUN: run_id, _REASON: reason})
        self._client.set_registered_model_alias(self.name, self.champion_alias, version)
        self._client.delete_model_version_tag(self.name, version, _UNTIL)

    def _stack(self, version: str) -> list[str]:
        return [before for before in self._get(version).tags.get(STACK, "").split(",") if before]

    def _set(self, version: str, tags: dict[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_model_version_tag(self.name, version, key, value)

    def _exists(self, version: str) -> bool:
        try:
            self._get(version)
        except ModelError:
            return False
        return True

    def _version_of(self, alias: str) -> str | None:
        try:
            return str(self._client.get_model_version_by_alias(self.name, alias).version)
        except MlflowException as error:
            if not is_refusal(error):
                raise TrackingError(f"MLflow at {self._uri}: {first_line(error)}") from error
            return None  # no such alias, or no such model

    def _get(self, version: str) -> ModelVersion:
        try:
            return self._client.get_model_version(self.name, version)
        except MlflowException as error:
            if not is_refusal(error):
                raise TrackingError(f"MLflow at {self._uri}: {first_line(error)}") from error
            raise ModelError(f"{self.name} has no version {version} in {self._uri}") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
