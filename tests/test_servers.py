"""The fixtures other tests rely on."""

import urllib.error
import urllib.request

import pytest
from servers import TEAM_HOST


def test_postgres_makes_databases_and_asks_for_the_password(postgres):
    psycopg = pytest.importorskip("psycopg")
    assert postgres.url("some_study") == postgres.url("some_study")
    address = postgres.url("some_study").replace("+psycopg", "")
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("some_study",)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(address.replace(postgres.password, "wrong"))


def test_s3_server_keeps_objects(s3_server):
    s3_server.make_bucket("shelf")
    s3_server.client().put_object(Bucket="shelf", Key="a/b", Body=b"content")
    assert s3_server.keys("shelf") == ["a/b"]
    assert s3_server.client().get_object(Bucket="shelf", Key="a/b")["Body"].read() == b"content"


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:5000", 200), ("mlflow:5000", 200), (TEAM_HOST, 200), ("mlflow", 403), ("elsewhere.example", 403)],
)
def test_mlflow_server_answers_to_its_names_only(mlflow_server, host, status):
    assert answer(mlflow_server, "experiments/search?max_results=1", {"Host": host}) == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [(f"https://{TEAM_HOST}", 200), ("http://localhost:1234", 200), ("https://other.example", 403)],
)
def test_mlflow_server_takes_changes_from_pages_that_are_named(mlflow_server, origin, status):
    headers = {"Host": TEAM_HOST, "Origin": origin, "Content-Type": "application/json"}
    assert answer(mlflow_server, "runs/search", headers, b'{"experiment_ids": ["0"]}') == status


def answer(server, path, headers, body=None):
    request = urllib.request.Request(f"{server.uri}/ajax-api/2.0/mlflow/{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
