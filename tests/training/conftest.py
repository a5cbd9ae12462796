"""Parameters with which a training takes a second."""

from __future__ import annotations

import pytest
from spheres import raw_workspace, tiny_values, trained_data

from hdnet.params import Params, parse_section

__all__ = ["raw_workspace", "trained_data"]


@pytest.fixture
def tiny_params() -> Params:
    return parse_section(Params, tiny_values(), "tiny")
