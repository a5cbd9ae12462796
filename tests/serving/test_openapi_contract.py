"""Requests that schemathesis makes of the OpenAPI document: every answer is as the document says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.core.transport import Response
from schemathesis.schemas import APIOperation, BaseSchema
from serving_fakes import FakeRegistry, person, png

from serving.problems import PROBLEM_TYPE
from serving.responses import ENCODERS, JSON, ZIP

TOKEN = "a-token-of-the-test"
CASES = 60  # for an operation and a kind of data
load_all_checks()
# What is right and wrong data, the document cannot say: that pictures have one size, that fov_deg excludes fx, and that
# in a form a number is a file of one digit. The tests say themselves what is to be refused.
EXCLUDED = schemathesis.checks.CHECKS.get_by_names(["positive_data_acceptance", "negative_data_rejection"])
DEPTH, BATCH = "POST /depth", "POST /depth/batch"
FORM = {"media_type": "multipart/form-data"}
OPERATIONS = [
    DEPTH,
    BATCH,
    "GET /health/live",
    "GET /health/ready",
    "GET /version",
    "GET /models",
    "GET /metrics",
    "POST /admin/reload",
]

bounded = settings(
    max_examples=CASES, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    image, mask, iuv = person(24, 16)
    return {"image": png(image), "mask": png(mask.astype("uint8") * 255), "densepose": png(iuv[..., ::-1])}


@pytest.fixture
def service(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client(admin_token=TOKEN, reload_interval_s=60)


@pytest.fixture
def document(service: TestClient) -> BaseSchema:
    return schemathesis.openapi.from_asgi("/openapi.json", service.app)


def operation_of(document: BaseSchema, label: str) -> APIOperation:
    method, path = label.split()
    return document[path][method]


def test_every_operation_of_the_document_is_tried(document: BaseSchema) -> None:
    assert {result.ok().label for result in document.get_all_operations()} == set(OPERATIONS)


def send(case: Case, statuses: Counter[int], **options: Any) -> Response:
    """Asks, and checks status, media type, headers and body against the document."""
    response = case.call(**options)
    case.validate_response(response, excluded_checks=EXCLUDED)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == [PROBLEM_TYPE]
        assert response.json()["status"] == response.status_code
    statuses[response.status_code] += 1
    return response


@pytest.mark.parametrize("label", OPERATIONS)
def test_answers_to_data_of_the_document_are_documented(document: BaseSchema, label: str) -> None:
    statuses: Counter[int] = Counter()

    @seed(0)
    @bounded
    @given(case=operation_of(document, label).as_strategy(generation_mode=GenerationMode.POSITIVE))
    def try_it(case: Case) -> None:
        send(case, statuses)

    try_it()
    assert statuses
    if label.startswith("GET"):
        assert set(statuses) == {200}


@pytest.mark.parametrize("label", [DEPTH, BATCH, "POST /admin/reload"])
def test_data_against_the_document_are_refused(document: BaseSchema, label: str) -> None:
    statuses: Counter[int] = Counter()

    @seed(0)
    @bounded
    @given(case=operation_of(document, label).as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def try_it(case: Case) -> None:
        response = send(case, statuses)
        if label == BATCH and response.status_code == 200:  # its entries are refused, each by itself
            assert {item["status"] for item in response.json()["results"]} == {422}
        else:
            assert 400 <= response.status_code < 500

    try_it()
    assert statuses


@pytest.mark.parametrize(("label", "offered"), [(DEPTH, list(ENCODERS)), (BATCH, [JSON, ZIP])])
def test_real_pictures_with_fields_of_the_document(
    document: BaseSchema, pictures: dict[str, bytes], label: str, offered: list[str]
) -> None:
    """The document knows pictures as bytes only: here they are right, and all else is as the document says."""
    statuses: Counter[int] = Counter()
    types: set[str] = set()

    @seed(0)
    @bounded
    @given(
        case=operation_of(document, label).as_strategy(generation_mode=GenerationMode.POSITIVE),
        accept=st.sampled_from([*offered, "*/*", "text/html"]),
        count=st.integers(1, 3),
    )
    def try_it(case: Case, accept: str, count: int) -> None:
        case.body = dict(case.body)
        for name, data in pictures.items():
            case.body[name] = [data] * count if label == BATCH else data
        response = send(case, statuses, headers={"Accept": accept})
        assert (response.status_code == 406) == (accept == "text/html")
        if response.status_code == 200:
            types.update(response.headers["content-type"])

    try_it()
    assert set(statuses) <= {200, 406, 422}
    assert statuses[200] > 0
    assert types <= set(offered)


def test_the_token_of_the_document_opens_the_reload(service: TestClient, document: BaseSchema) -> None:
    case = operation_of(document, "POST /admin/reload").Case()
    statuses: Counter[int] = Counter()

    send(case, statuses, headers={"Authorization": f"Bearer {TOKEN}"})
    send(case, statuses)

    assert statuses == {200: 1, 401: 1}


def test_without_a_model_all_is_documented_too(
    make_client: Callable[..., TestClient], registry: FakeRegistry, pictures: dict[str, bytes]
) -> None:
    registry.champion = None
    document = schemathesis.openapi.from_asgi("/openapi.json", make_client(ready=False, reload_interval_s=60).app)

    for label in (DEPTH, BATCH, "GET /health/ready", "GET /models", "GET /version"):
        case = operation_of(document, label).Case(**({"body": pictures, **FORM} if label in (DEPTH, BATCH) else {}))
        response = case.call()
        case.validate_response(response, excluded_checks=[*EXCLUDED, schemathesis.checks.not_a_server_error])
        assert response.status_code == (200 if label == "GET /version" else 503)
