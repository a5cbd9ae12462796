"""The trainings' workspace of tiny spheres, and parameters with which a trial takes a second."""

from __future__ import annotations

import pytest
from spheres import raw_workspace, trained_data
from tuning_values import tuning_values

from hdnet.params import Params, parse_section
from hdnet.tuning.study import StudySettings

__all__ = ["raw_workspace", "trained_data"]


@pytest.fixture
def tune_params() -> Params:
    return parse_section(Params, tuning_values(), "tiny")


@pytest.fixture
def settings(trained_data, tune_params, tmp_path) -> StudySettings:
    """A study in a database of the test's own; no MLflow."""
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    return StudySettings(trained_data, tune_params, url, f"study-{tmp_path.name}", is_tracked=False)
