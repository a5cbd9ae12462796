"""The network of the tests in the place of every model."""

from __future__ import annotations

import pytest
from red_person import RedPerson

from hdnet.geometry import Camera
from hdnet.models import PersonModel
from hdnet.predict.inference import Predictor


@pytest.fixture
def predictor(monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """The network above in the place of every model; ``predictor.network`` counts its calls."""
    network = RedPerson()
    found = Predictor(PersonModel(network, Camera.centred()))
    found.network = network
    monkeypatch.setattr("hdnet.video.clip._settled", lambda _: "torch")
    monkeypatch.setattr("hdnet.video.clip._predictor", lambda *_: found)
    return found
