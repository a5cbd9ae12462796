"""The network that sees red, ready to predict."""

from __future__ import annotations

import pytest
from red_photo import RedPerson

from hdnet.geometry import Camera
from hdnet.models import PersonModel
from hdnet.predict.inference import Predictor


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(PersonModel(RedPerson(), Camera.centred()))
