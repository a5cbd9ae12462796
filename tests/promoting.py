"""Two processes that change the champion at once, in any store."""

from __future__ import annotations

import subprocess
import sys

from mlflow import MlflowClient

from hdnet import registry

# Each makes its version the champion over and over, always against the one that is it at that moment.
_INSTALLS = """
import sys
from hdnet import registry
name, version = sys.argv[1:]
champions = registry.Champions(name, "champion", "challenger")
done = 0
while done < 8:
    before = champions.champion()
    done += champions.install(version, before, "run", "") if before != version else 1
print(done)
"""


def check_that_two_at_once_keep_a_whole_history(client: MlflowClient, name: str) -> None:
    """With versions 1 to 3 of a model that has no champion yet, in the store that MLFLOW_TRACKING_URI names."""
    champions = registry.Champions(name, "champion", "challenger")
    champions.install("1", None, "run", "")
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _INSTALLS, name, version], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for version in ("2", "3")
    ]
    for child in children:
        output, errors = child.communicate(timeout=300)
        assert (child.returncode, output) == (0, b"8\n"), errors
    last = champions.champion()
    assert last in ("2", "3")
    stack = client.get_model_version(name, last).tags["champion.stack"].split(",")
    assert stack[-1] == "1"
    assert len(set(stack)) == len(stack)
    assert last not in stack
    assert f"{name}.lock" not in [model.name for model in client.search_registered_models()]
