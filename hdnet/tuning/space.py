"""Search space: the varied parameters, and params.yaml with a trial's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna

from hdnet.errors import ParamsError
from hdnet.params import Params, parse_section
from hdnet.params.overlay import merge_values, read_overlay
from hdnet.params.training import Choices, Range

Values = Mapping[str, Any]

STRENGTH = "augment"
"""Key of a space that scales the whole section ``augment``."""
PARAMS_POINT, ORIGINAL_POINT = "params.yaml", "original"
"""Points that are measured beside the draws: params.yaml as it is, and with the loss weights of the original."""

_STAGE = "train_hdnet"
# Set by the search itself, or part of what all trials start from.
_FIXED = frozenset({"steps", "start_from", "warm_start", "warm_moments"})
# A draw has 17 digits; an overlay must state exactly what was measured and be readable.
_DIGITS = 4


class Space:
    """Search space ``tune.space`` around the values of params.yaml.

    Args:
        params: The whole params.yaml.

    Raises:
        ParamsError: Stage `train_hdnet` does not read a key, an end of a range is not valid in params.yaml, or
            params.yaml's own value lies outside.
    """

    def __init__(self, params: Params) -> None:
        self.params = params
        self.dimensions = params.tune.space
        self._plain = params.model_dump(mode="json", by_alias=True)
        for key, dimension in self.dimensions.items():
            own = self._own_value(key)
            ends = dimension.choices if isinstance(dimension, Choices) else (dimension.low, dimension.high)
            for value in ends:
                self.applied({key: value})
            if not _contains(dimension, own):
                raise ParamsError(
                    f"tune.space: params.yaml's own {key} is {own!r}, outside of {_shown(dimension)}; widen the range, "
                    "so that the search can be compared with params.yaml"
                )

    def points(self) -> dict[str, dict[str, Any]]:
        """Return the points that every study measures first: values by key, by name of the point."""
        own = {key: self._own_value(key) for key in self.dimensions}
        weights = read_overlay("reference")[_STAGE]["weights"]
        theirs = {f"{_STAGE}.weights.{name}": weight for name, weight in weights.items()}
        different = {key: weight for key, weight in theirs.items() if key in own or self._own_value(key) != weight}
        return {PARAMS_POINT: own, ORIGINAL_POINT: own | different}

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Draw a trial's values by key, floats with four digits."""
        return {key: self._suggest(trial, key, dimension) for key, dimension in self.dimensions.items()}

    def overlay(self, values: Values) -> dict[str, Any]:
        """Return values by key as an overlay of params.yaml, nested.

        Raises:
            ParamsError: A key is unknown.
        """
        nested: dict[str, Any] = {}
        for key, value in values.items():
            if key == STRENGTH:
                nested[STRENGTH] = self._augmentation(value)
                continue
            section = nested
            *above, name = key.split(".")
            for part in above:
                section = section.setdefault(part, {})
            section[name] = value
        return nested

    def applied(self, values: Values) -> Params:
        """Return params.yaml with other values.

        Raises:
            ParamsError: A value has the wrong type or is out of range; names the key.
        """
        return parse_section(Params, merge_values(self._plain, self.overlay(values)), "tune.space")

    def _suggest(self, trial: optuna.Trial, key: str, dimension: Range | Choices) -> Any:
        if isinstance(dimension, Choices):
            return trial.suggest_categorical(key, dimension.choices)
        if _is_whole(dimension, self._own_value(key)):
            return trial.suggest_int(key, int(dimension.low), int(dimension.high), log=dimension.log)
        drawn = trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)
        return float(f"{drawn:.{_DIGITS}g}")

    def _own_value(self, key: str) -> Any:
        if key == STRENGTH:
            return self._strength()
        stage, *path = key.split(".")
        value = self._plain.get(stage)
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if stage != _STAGE or not path or path[0] in _FIXED or not isinstance(value, bool | int | float | str):
            raise ParamsError(
                f"tune.space: {key!r} cannot be varied; expected values of {_STAGE} (such as {_STAGE}.weights.warp, "
                f"not {', '.join(sorted(_FIXED))}) that params.yaml sets, or {STRENGTH!r}"
            )
        return value

    def _augmentation(self, strength: float) -> dict[str, Any]:
        full = self.params.tune.augment_full.model_dump()
        return {
            name: round(value * strength) if isinstance(value, int) else float(f"{value * strength:.{_DIGITS}g}")
            for name, value in full.items()
        }

    def _strength(self) -> float:
        """Return the strength of params.yaml's own augmentation."""
        own, full = self.params.augment.model_dump(), self.params.tune.augment_full.model_dump()
        shares = [own[name] / value for name, value in full.items() if value]
        strength = shares[0] if shares else 0.0
        if any(
            abs(own[name] - value) > 1e-3 * max(value, 1e-9) for name, value in self._augmentation(strength).items()
        ):
            raise ParamsError(
                "tune.space: augment scales tune.augment_full, but params.yaml's own section augment is no multiple of "
                "that; copy it to tune.augment_full, or leave augment out of tune.space"
            )
        return strength


def _is_whole(dimension: Range, own: Any) -> bool:
    return all(isinstance(value, int) for value in (dimension.low, dimension.high, own))


def _contains(dimension: Range | Choices, value: Any) -> bool:
    if isinstance(dimension, Choices):
        return value in dimension.choices
    return isinstance(value, int | float) and dimension.low <= value <= dimension.high


def _shown(dimension: Range | Choices) -> str:
    if isinstance(dimension, Choices):
        return str(list(dimension.choices))
    return f"{dimension.low:g} .. {dimension.high:g}"
