"""Names that ``import hdnet`` offers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import hdnet
from hdnet.predict.inference import Predictor


def test_the_predictor_is_there_and_listed() -> None:
    assert hdnet.Predictor is Predictor
    assert {"Predictor", "__version__"} <= set(dir(hdnet))


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="module 'hdnet' has no attribute 'Predicter'"):
        hdnet.Predicter  # noqa: B018


def test_importing_the_package_does_not_import_torch() -> None:
    program = "import sys, hdnet; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("room", ["hdnet.predict.inference", "hdnet.registry"])
def test_torchs_compiler_is_not_loaded_where_nothing_trains(room: str) -> None:
    """Seconds of every start, as much as all the rest; MLflow loads it where all of Lightning is installed."""
    program = f"import sys, {room}; sys.exit('torch._dynamo' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_openvino_neither_counts_its_user_nor_writes_into_the_home(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    program = "import hdnet, openvino.tools.ovc.telemetry_utils as used; print(used.tm.__name__)"
    environment = os.environ | {"HOME": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "openvino.tools.ovc.telemetry_stub\n"
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("told", [None, "active"])
def test_threads_that_wait_sleep_unless_the_user_says_otherwise(told: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "true"} | ({"OMP_WAIT_POLICY": told} if told else {})
    program = "import hdnet, torch; torch.ones(9).sum()"
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert f"OMP_WAIT_POLICY = '{(told or 'passive').upper()}'" in found.stderr  # what OpenMP itself has read
