"""The OpenAPI document says what the service does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import serving
from hdnet.pictures.faults import FAULTS
from serving import problems
from serving.forms import BATCH, ONE
from serving.problems import PROBLEMS, ProblemKind, problem_table
from serving.schemas import BatchBody, DepthBody, ProblemBody

STATUSES = {
    "/depth": "400 401 403 406 413 415 422 500 503 504",
    "/depth/batch": "400 401 403 406 413 415 422 500 503",
}


@pytest.fixture
def schema(client: TestClient) -> dict[str, Any]:
    return client.get("/openapi.json").json()


def form_of(schema: dict[str, Any], path: str) -> dict[str, Any]:
    content = schema["paths"][path]["post"]["requestBody"]["content"]
    assert list(content) == ["multipart/form-data"]
    return schema["components"]["schemas"][content["multipart/form-data"]["schema"]["$ref"].split("/")[-1]]


def test_forms(schema: dict[str, Any]) -> None:
    camera = {"fx", "fy", "cx", "cy", "fov_deg"}
    one = form_of(schema, "/depth")
    pictures = {"image", "densepose", "mask", "densepose_order", "box", "height_m"}
    assert set(one["required"]) == {"image"}
    assert set(one["properties"]) == set(ONE.once) == pictures | camera | {"model"}
    assert all(field.get("description") for field in one["properties"].values())
    several = form_of(schema, "/depth/batch")
    assert set(several["properties"]) == {*BATCH.once, *BATCH.each} == pictures | {"cameras", "model"}
    assert {name for name, field in several["properties"].items() if field["type"] == "array"} == set(BATCH.each)
    for form in (one, several):
        assert form["additionalProperties"] is False
        assert "'null'" not in str(form)


@pytest.mark.parametrize("path", STATUSES)
def test_every_problem_has_a_schema_and_examples(schema: dict[str, Any], path: str) -> None:
    responses = schema["paths"][path]["post"]["responses"]
    assert set(responses) == {"200", *STATUSES[path].split()}
    assert "ProblemBody" in schema["components"]["schemas"]
    for status in STATUSES[path].split():
        assert list(responses[status]["content"]) == ["application/problem+json"]
        content = responses[status]["content"]["application/problem+json"]
        assert content["schema"] == {"$ref": "#/components/schemas/ProblemBody"}
        assert content["examples"]
        for code, example in content["examples"].items():
            body = ProblemBody.model_validate(example["value"])
            assert (body.code, body.status, body.instance) == (code, int(status), path)
    assert "Retry-After" in responses["503"]["headers"]


def test_answers_have_media_types_headers_and_an_example(schema: dict[str, Any]) -> None:
    answer = schema["paths"]["/depth"]["post"]["responses"]["200"]
    single = {"application/json", "image/png", "application/x-npz", "model/gltf-binary"}
    assert set(answer["content"]) == single | {"application/zip"}
    several = schema["paths"]["/depth/batch"]["post"]["responses"]["200"]
    assert set(several["content"]) == {"application/json", "application/zip"}
    BatchBody.model_validate(several["content"]["application/json"]["example"])
    assert {"X-Camera", "X-Request-Id", "X-Model-Version"} <= set(answer["headers"])
    DepthBody.model_validate(answer["content"]["application/json"]["example"])


def test_the_list_of_problems_is_that_of_the_source() -> None:
    """Every declared problem and input fault is documented, and none is made in another way."""
    declared = {value.code for value in vars(problems).values() if isinstance(value, ProblemKind)}
    declared |= {fault.code for fault in FAULTS}
    declared.discard("cors_refused")  # only browsers meet it, before they send anything
    assert declared == set(PROBLEMS)
    source = "\n".join(path.read_text() for path in Path(serving.__file__).parent.glob("*.py"))
    assert not re.findall(r'Problem\(\s*\d{3},\s*"(\w+)"', source)


def test_the_documents_table_lists_every_problem() -> None:
    text = (Path(serving.__file__).parent.parent / "docs" / "api.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", text, re.M))
    assert rows == {code: str(documented.status) for code, documented in PROBLEMS.items()}
    assert problem_table() in text
