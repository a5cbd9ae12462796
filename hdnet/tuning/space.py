"""Search space: the varied parameters, and params.yaml with a trial's values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import optuna

from hdnet.errors import ParamsError
from hdnet.params import DepthStageParams, HDNetStageParams, Params, parse_section
from hdnet.params.overlay import merge_values, read_overlay
from hdnet.params.training import Choices, Range, TuneParams

Values = Mapping[str, Any]
Dimensions = dict[str, Range | Choices]

STRENGTH = "augment"
"""Key of a space that scales the whole section ``augment``."""
PARAMS_POINT, ORIGINAL_POINT = "params.yaml", "original"
"""Points that are measured beside the draws: params.yaml as it is, and with the loss weights of the original."""

# Set by the search itself, or part of what all trials start from.
_FIXED = frozenset({"steps", "start_from", "warm_start", "warm_moments", "keep_moments", "network"})
# Keys of the stages and of section model that a network does not use. The losses of `lite` on labelled people have
# their weights in section photo.
_IDLE: dict[str, frozenset[str]] = {
    "hourglass": frozenset({"encoder", "encoder_weights"}),
    "lite": frozenset(
        {"weights.depth", "weights.scale_invariant", "weights.normal", "rule", "input_normals"}
        | {"width", "input_scale", "initial_depth_m", "norm"}
    ),
}
_USUAL_FOR_LITE: Dimensions = {
    "photo.frozen_blocks": Choices(choices=(99, 5, 3, 0)),
    "photo.encoder_rate": Range(low=0.05, high=1.0, log=True),
    "photo.weights.normal_cosine": Range(low=0.5, high=8.0, log=True),
    "photo.weights.confidence": Range(low=0.01, high=1.0, log=True),
    "photo.weights.relief": Range(low=0.2, high=5.0, log=True),
    "photo.weights.relief_gradient": Range(low=0.1, high=3.0, log=True),
    "photo.weights.parts": Range(low=0.1, high=2.0, log=True),
}
# A draw has 17 digits; an overlay must state exactly what was measured and be readable.
_DIGITS = 4


def stage_params(params: Params) -> DepthStageParams | HDNetStageParams:
    """Return the section of the searched stage."""
    return params.train_hdnet if params.tune.stage == "train_hdnet" else params.train_depth


class Space:
    """Search space ``tune.space`` around the values of params.yaml.

    A space that varies the network itself has no trained one that all trials could start from: :attr:`is_fresh`.

    Args:
        params: The whole params.yaml.

    Raises:
        ParamsError: Stage ``tune.stage`` does not read a key, an end of a range is not valid in params.yaml, or
            params.yaml's own value lies outside.
    """

    def __init__(self, params: Params) -> None:
        self.params, self.stage = params, params.tune.stage
        self._network = params.model.network
        self._plain = params.model_dump(mode="json", by_alias=True)
        self._variable = {
            f"{section}.{path}": value
            for section in self._sections()
            for path, value in _leaves(self._plain[section])
            if path not in _FIXED and path not in _IDLE[self._network]
        }
        self.dimensions = self._usual() if params.tune.space is None else params.tune.space
        self.is_fresh = any(key.startswith("model.") for key in self.dimensions)
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
        if self._network == "lite":  # the original has no such network
            return {PARAMS_POINT: own}
        weights = read_overlay("reference")[self.stage]["weights"]
        theirs = {f"{self.stage}.weights.{name}": weight for name, weight in weights.items()}
        different = {key: weight for key, weight in theirs.items() if key in own or self._own_value(key) != weight}
        return {PARAMS_POINT: own, ORIGINAL_POINT: own | different}

    def changes(self) -> list[dict[str, Any]]:
        """Return the trials of an ablation: params.yaml with one key changed, for each choice that is not its own.

        Other samplers have none.

        Raises:
            ParamsError: A key has a range instead of choices.
        """
        if self.params.tune.sampler != "ablation":
            return []
        own = self.points()[PARAMS_POINT]
        found = []
        for key, dimension in self.dimensions.items():
            if not isinstance(dimension, Choices):
                raise ParamsError(f"tune.space: sampler ablation needs {{choices: [...]}} of {key}, not a range")
            found += [own | {key: choice} for choice in _plain_choices(dimension) if choice != own[key]]
        return found

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Draw a trial's values by key, floats with four digits."""
        return {key: self._suggest(trial, key, dimension) for key, dimension in self.dimensions.items()}

    def stored(self, values: Values) -> dict[str, Any]:
        """Return the values of the varied parameters as Optuna stores them; others are left out."""
        return {key: _stored(values[key]) for key in self.dimensions}

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
            # Optuna stores plain values only: a list is its JSON text there.
            choices = {_stored(choice): choice for choice in _plain_choices(dimension)}
            return choices[trial.suggest_categorical(key, list(choices))]
        if _is_whole(dimension, self._own_value(key)):
            return trial.suggest_int(key, int(dimension.low), int(dimension.high), log=dimension.log)
        drawn = trial.suggest_float(key, dimension.low, dimension.high, log=dimension.log)
        return float(f"{drawn:.{_DIGITS}g}")

    def _own_value(self, key: str) -> Any:
        if key == STRENGTH:
            return self._strength()
        if key not in self._variable:
            raise ParamsError(
                f"tune.space: {key!r} cannot be varied in stage {self.stage} of network {self._network!r}; expected "
                f"keys of {', '.join(self._sections())} that it uses (not {', '.join(sorted(_FIXED))}), or {STRENGTH!r}"
            )
        return self._variable[key]

    def _sections(self) -> tuple[str, ...]:
        """Return the sections whose values the stage reads and a trial may change."""
        of_lite = ("photo",) if self._network == "lite" else ()
        return (self.stage, *of_lite, *(("model",) if self.stage == "train_depth" else ()))

    def _usual(self) -> Dimensions:
        """Return the space of ``tune.space: null``: the demo's or that of `lite`, as far as the stage uses it."""
        usual = {key.replace("train_hdnet", self.stage): one for key, one in (TuneParams().space or {}).items()}
        if self._network == "lite":
            del usual[STRENGTH]  # the augmentation of photographs is no multiple of the demo's
            usual |= _USUAL_FOR_LITE
        return {key: one for key, one in usual.items() if key == STRENGTH or key in self._variable}

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


def _leaves(values: Values) -> Iterator[tuple[str, Any]]:
    """Yield the values of a section and of those in it, with their path."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{path}", inner) for path, inner in _leaves(value))
        else:
            yield name, value


def _plain_choices(dimension: Choices) -> list[Any]:
    """Return the choices with lists for tuples, as params.yaml's own values are."""
    return [list(choice) if isinstance(choice, tuple) else choice for choice in dimension.choices]


def _stored(choice: Any) -> Any:
    return json.dumps(choice) if isinstance(choice, list) else choice


def _is_whole(dimension: Range, own: Any) -> bool:
    return all(isinstance(value, int) for value in (dimension.low, dimension.high, own))


def _contains(dimension: Range | Choices, value: Any) -> bool:
    if isinstance(dimension, Choices):
        return value in _plain_choices(dimension)
    return isinstance(value, int | float) and dimension.low <= value <= dimension.high


def _shown(dimension: Range | Choices) -> str:
    if isinstance(dimension, Choices):
        return str(list(dimension.choices))
    return f"{dimension.low:g} .. {dimension.high:g}"
