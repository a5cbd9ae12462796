"""Two processes that change the champion at once, in any store."""

from __future__ import annotations

import subprocess
import sys

from mlflow import MlflowClient

from hdnet import registry

# Makes one version after the other the champion, each against the one that is it at that moment.
_INSTALLS = """
import sys
from hdnet import registry
champions = registry.Champions(sys.argv[1], "champion", "challenger")
print("ready", flush=True)
sys.stdin.readline()
for version in sys.argv[2:]:
    while not champions.install(version, champions.champion(), "run", ""):
        pass
"""
_EACH = 7


def check_that_two_at_once_lose_no_champion(client: MlflowClient, name: str, source: str) -> None:
    """Two processes install seven versions each: all have to be in the history of the last, each once.

    Args:
        client: Of the store that MLFLOW_TRACKING_URI names.
        name: Of the model that is made for it.
        source: Address of its versions, which need not exist.
    """
    client.create_registered_model(name)
    versions = [str(client.create_model_version(name, source).version) for _ in range(2 * _EACH)]
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _INSTALLS, name, *its],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for its in (versions[:_EACH], versions[_EACH:])
    ]  # fmt: skip
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    for child in children:
        _, errors = child.communicate(timeout=300)
        assert child.returncode == 0, errors
    last = registry.Champions(name, "champion", "challenger").champion()
    before = client.get_model_version(name, last).tags["champion.stack"].split(",")
    assert sorted([last, *before], key=int) == versions
    assert f"{name}.lock" not in [model.name for model in client.search_registered_models()]
