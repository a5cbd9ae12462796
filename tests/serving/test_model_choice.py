"""Models that a request chooses: which there are, which answers, which stay loaded."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from fastapi.testclient import TestClient
from serving_fakes import FakePredictor, FakeRegistry, good_upload, person

from hdnet.errors import ModelError

ClientMaker = Callable[..., TestClient]


@pytest.fixture
def registry(registry: FakeRegistry) -> FakeRegistry:
    """Versions 1 to 3 with depths of their own, of which 2 is the champion, and a shipped model."""
    for version in (1, 2, 3):
        registry.add(str(version), offset_m=float(version))
    registry.champion = "2"
    registry.shipped = FakePredictor(offset_m=7.0)
    return registry


@pytest.fixture
def client(make_client: ClientMaker) -> TestClient:
    return make_client(reload_interval_s=60)


def answered_by(client: TestClient, model: str) -> tuple[str | None, float]:
    """Version of the answer to a request that chooses a model, and the offset of its depths."""
    answer = client.post("/depth", files=good_upload(), data={"model": model})
    assert answer.status_code == 200, answer.text
    image, mask, _ = person()
    version = answer.json()["model"]["version"]
    assert answer.headers.get("X-Model-Version") == version
    return version, round(answer.json()["depth"]["median"] - float(np.median(image[mask][:, 0])) / 1000, 3)


def test_models_are_listed_newest_first(client: TestClient) -> None:
    body = client.get("/models").json()
    assert [model["id"] for model in body["models"]] == ["3", "2", "1", "shipped"]
    assert [model["in_service"] for model in body["models"]] == [False, True, False, False]
    assert body["models"][1] == {
        "id": "2",
        "name": "hdnet",
        "version": "2",
        "alias": "champion",
        "run_id": "run2",
        "in_service": True,
    }
    assert body["models"][3]["name"] == "shipped"
    assert body["notes"] == []


@pytest.mark.parametrize(
    ("model", "version", "offset_m"), [("", "2", 2.0), ("2", "2", 2.0), ("1", "1", 1.0), ("shipped", None, 7.0)]
)
def test_the_chosen_model_answers(client: TestClient, model: str, version: str | None, offset_m: float) -> None:
    assert answered_by(client, model) == (version, offset_m)
    assert client.get("/version").json()["model"]["version"] == "2"


def test_a_batch_has_one_model(client: TestClient) -> None:
    files = [(name, file) for name, file in good_upload().items()] * 2
    answer = client.post("/depth/batch", files=files, data={"model": "3"})
    assert answer.headers["X-Model-Version"] == answer.json()["model"]["version"] == "3"
    assert {entry["result"]["model"]["version"] for entry in answer.json()["results"]} == {"3"}


def test_errors_name_the_chosen_model(client: TestClient, registry: FakeRegistry) -> None:
    assert answered_by(client, "1") == ("1", 1.0)
    registry.versions["1"].error = ModelError("broken")
    answer = client.post("/depth", files=good_upload(), data={"model": "1"})
    assert (answer.status_code, answer.headers["X-Model-Version"]) == (500, "1")


def test_a_model_that_is_not_there_is_named_with_those_that_are(client: TestClient) -> None:
    answer = client.post("/depth", files=good_upload(), data={"model": "9"})
    assert (answer.status_code, answer.json()["code"], answer.json()["fields"]) == (422, "unknown_model", ["model"])
    assert "the model '9', expected one of 3, 2, 1, shipped" in answer.json()["detail"]


def test_the_models_used_last_stay_loaded(make_client: ClientMaker, registry: FakeRegistry) -> None:
    client = make_client(reload_interval_s=60, other_models=2)
    before = registry.loads
    for model in ("1", "3", "1", "3", "1"):
        answered_by(client, model)
    assert registry.loads == before + 2
    registry.add("4", offset_m=4.0)
    assert answered_by(client, "4") == ("4", 4.0)  # in place of 3, which was used before 1
    answered_by(client, "1")
    assert registry.loads == before + 3
    answered_by(client, "3")
    assert registry.loads == before + 4
    assert 'hdnet_model_loads_total{outcome="chosen"} 4.0' in client.get("/metrics").text


def test_a_choice_can_be_turned_off(make_client: ClientMaker) -> None:
    client = make_client(reload_interval_s=60, other_models=0)
    assert [model["id"] for model in client.get("/models").json()["models"]] == ["2"]
    assert answered_by(client, "2") == ("2", 2.0)
    answer = client.post("/depth", files=good_upload(), data={"model": "1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_model")
    assert "expected one of 2 (" in answer.json()["detail"]


def test_while_the_registry_is_away_loaded_models_can_be_chosen(client: TestClient, registry: FakeRegistry) -> None:
    answered_by(client, "1")
    registry.down = ModelError("no answer of the registry")
    body = client.get("/models").json()
    assert [model["id"] for model in body["models"]] == ["1", "2", "shipped"]
    assert body["notes"] == ["no answer of the registry"]
    assert answered_by(client, "1") == ("1", 1.0)
    answer = client.post("/depth", files=good_upload(), data={"model": "3"})
    assert (answer.status_code, answer.json()["detail"]) == (500, "no answer of the registry")


def test_a_model_that_fails_its_self_check_does_not_answer(client: TestClient, registry: FakeRegistry) -> None:
    registry.versions["3"].finite = False
    for _ in range(2):
        answer = client.post("/depth", files=good_upload(), data={"model": "3"})
        assert (answer.status_code, answer.json()["code"]) == (500, "model_failed")
        assert "self-check" in answer.json()["detail"]
    assert 'hdnet_model_loads_total{outcome="failed"} 2.0' in client.get("/metrics").text


def test_models_are_listed_with_a_key_only(make_client: ClientMaker) -> None:
    client = make_client(api_keys="sixteen-letters-or-more", reload_interval_s=60)
    assert client.get("/models").status_code == 401
    assert client.get("/models", headers={"X-API-Key": "sixteen-letters-or-more"}).status_code == 200
