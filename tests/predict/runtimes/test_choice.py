"""The choice: the fastest among those that are close enough, by what was measured here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest

from hdnet.errors import ModelError
from hdnet.models import HDNet
from hdnet.predict.runtimes import RUNTIMES, choice, choose_runtime


class FakeRuntime:
    """Depth of 4 m and normals towards the camera; ``off_m`` away, after ``seconds``."""

    def __init__(self, name: str, seconds: float, off_m: float = 0.0) -> None:
        self.name, self.seconds, self.off_m = name, seconds, off_m

    def __call__(self, inputs_b7hw: np.ndarray) -> np.ndarray:
        time.sleep(self.seconds)
        outputs = np.zeros((len(inputs_b7hw), 4, *inputs_b7hw.shape[2:]), np.float32)
        outputs[:, 0], outputs[:, 3] = 4 + self.off_m, -1
        return outputs


Fakes = Callable[..., None]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    def install(*runtimes: FakeRuntime, missing: str | None = None) -> None:
        made = {one.name: one for one in runtimes}

        def make(name: str, *_: object) -> FakeRuntime:
            if name == missing:
                raise ModelError(f"runtime {name!r} needs a package")
            return made[name]

        monkeypatch.setattr(choice, "make_runtime", make)

    return install


def test_the_fastest_of_the_accurate_is_taken(fakes: Fakes, model: HDNet) -> None:
    fakes(
        FakeRuntime("torch", 0.08),
        FakeRuntime("quick", 0.02, off_m=0.0015),
        FakeRuntime("slow", 0.05),
        FakeRuntime("wrong", 0.0, off_m=0.1),
        FakeRuntime("broken", 0.0, off_m=math.nan),
        missing="absent",
    )

    found = choose_runtime(model, candidates=["slow", "wrong", "absent", "broken", "quick"])

    assert found.name == found.runtime.name == "quick"
    assert list(found.seconds_by_name) == ["torch", "slow", "quick"]
    assert found.difference_by_name["quick"].depth_mm == pytest.approx(1.5, abs=1e-3)
    assert found.refused["wrong"] == "wrong: 1e+02 mm and 0 deg from float32, more than 2 mm or 1 deg"
    assert found.refused["absent"] == "absent: runtime 'absent' needs a package"
    assert found.refused.keys() == {"wrong", "absent", "broken"}


def test_plain_torch_is_taken_where_nothing_else_will_do(fakes: Fakes, model: HDNet) -> None:
    fakes(FakeRuntime("torch", 0.0), FakeRuntime("wrong", 0.0, off_m=-0.1))

    assert choose_runtime(model, candidates=["wrong"]).name == "torch"


def test_all_runtimes_of_a_processor_are_looked_at(model: HDNet) -> None:
    found = choose_runtime(model, threads=1)

    assert found.difference_by_name.keys() | found.refused.keys() == set(RUNTIMES)
    assert found.name in found.seconds_by_name
    assert found.difference_by_name[found.name].is_small


@pytest.mark.parametrize(
    ("has_openvino", "has_bfloat16", "off_m", "name"),
    [
        (True, True, 0.001, "openvino-bf16"),
        (True, True, 0.003, "openvino"),
        (True, False, 0.0, "openvino"),
        (False, True, 0.0, "torch"),
    ],
)
def test_bfloat16_is_settled_on_where_processor_and_model_bear_it(
    fakes: Fakes, model: HDNet, monkeypatch, has_openvino: bool, has_bfloat16: bool, off_m: float, name: str
) -> None:
    pytest.importorskip("openvino")
    fakes(FakeRuntime("openvino", 0.0), FakeRuntime("openvino-bf16", 0.0, off_m))
    monkeypatch.setattr("hdnet.predict.runtimes.openvino_cpu.computes_bfloat16", lambda: has_bfloat16)
    monkeypatch.setattr(choice, "find_spec", lambda _: object() if has_openvino else None)
    assert choice.settled_runtime(model) == name
