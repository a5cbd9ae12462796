"""compose.yaml itself: what can be checked without Docker. tests/pipelines/test_team_server.py runs its pieces."""

import re
import subprocess

import pytest
from compose_file import ROOT, read_compose, read_env, variables_of

SERVICES = read_compose(read_env())["services"]


def test_the_example_of_env_sets_what_the_file_asks_for_and_nothing_else():
    assert set(read_env()) == variables_of()


@pytest.mark.parametrize("name", ["POSTGRES_USER", "POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"])
def test_a_missing_secret_stops_it(name):
    with pytest.raises(ValueError, match=name):
        read_compose({**read_env(), name: ""})


def test_git_ignores_the_secrets_and_keeps_the_example():
    def is_ignored(path):
        return subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0

    assert is_ignored(".env")
    assert not is_ignored(".env.example")


def test_images_of_others_are_pinned_and_our_own_have_a_target():
    targets = re.findall(r"^FROM \S+ AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for service in SERVICES.values():
        if "build" in service:
            assert service["build"]["target"] in targets
        else:
            assert re.search(r":\d+\.\d+", service["image"]), service["image"]


def test_pip_keeps_its_cache_where_the_dockerfile_mounts_one():
    """pip's own place is below HOME, which the images set."""
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    environment: dict[str, str] = {}
    mounts = 0
    for stage in stages:
        base, name = re.match(r"(\S+) AS (\S+)", stage).groups()
        places = re.findall(r"PIP_CACHE_DIR=(\S+)", stage)
        environment[name] = places[0] if places else environment.get(base, "")
        for target in re.findall(r"--mount=type=cache,target=(\S+)", stage):
            assert target == environment[name], name
            mounts += 1
    assert mounts == 3


def test_services_wait_for_healthy_ones():
    for service in SERVICES.values():
        for needed, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[needed], needed


def test_only_this_machine_is_let_in_by_default():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_volumes_and_configs_that_are_used_are_declared():
    whole = read_compose(read_env())
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(whole["volumes"])
    assert {config["source"] for config in SERVICES["postgres"]["configs"]} == set(whole["configs"])


def test_mlflow_allows_the_name_by_which_the_service_calls_it():
    called = SERVICES["serve"]["environment"]["MLFLOW_TRACKING_URI"].removeprefix("http://")
    assert called in SERVICES["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
