"""The trainings' workspace of tiny spheres, and parameters with which a trial takes a second."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from hdnet.params import Params, parse_section
from hdnet.tuning.settings import StudySettings

_spec = importlib.util.spec_from_file_location("training_conftest", Path(__file__).parents[1] / "training/conftest.py")
_training = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_training)
raw_workspace, trained_data = _training.raw_workspace, _training.trained_data


def tuning_values(**tune) -> dict:
    """The spheres' parameters with a short search; two held-out spheres of three for the report."""
    values = _training.tiny_values()
    values["tune"] |= {"steps": 4, "validate_every": 1, "select_people": 1, "prune_after": 99, "startup_trials": 3}
    values["tune"] |= {"top_seeds": 2, "stale_after_s": 3, **tune}
    return values


@pytest.fixture
def tune_params() -> Params:
    return parse_section(Params, tuning_values(), "tiny")


@pytest.fixture
def settings(trained_data, tune_params, tmp_path) -> StudySettings:
    """A study in a database of the test's own; no MLflow."""
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    return StudySettings(trained_data, tune_params, url, f"study-{tmp_path.name}", is_tracked=False)
