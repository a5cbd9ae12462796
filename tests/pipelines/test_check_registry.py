"""Stage `check_registry` alone, in a checkout whose model was registered before."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from checkouts import Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    made = Checkout.of_the_code(tmp_path / "checkout")
    pipeline = yaml.safe_load((made.folder / "dvc.yaml").read_text())
    stage = pipeline["stages"]["check_registry"]
    (made.folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"check_registry": stage}}))
    version = made.folder / "reports/register/version.json"
    version.parent.mkdir(parents=True)
    version.write_text(json.dumps({"version": "1", "registry": "sqlite:///mlflow.db"}))
    return made


def test_a_changed_registry_is_noticed_by_each_repro(checkout: Checkout) -> None:
    for uri, commands in (
        ("", []),
        ("http://team:5000", ["repro -f -s register", "repro -f -s promote"]),
        ("http://team:5000", ["repro -f -s register", "repro -f -s promote"]),
        (f"sqlite:///{checkout.folder}/mlflow.db", []),
    ):
        checkout.environment["MLFLOW_TRACKING_URI"] = uri
        done = checkout.dvc("repro")
        assert (done.returncode, checkout.ran(done)) == (0, ["check_registry"]), done.stderr
        assert re.findall(r"`dvc (repro [^`]*)`", done.stdout + done.stderr) == commands
