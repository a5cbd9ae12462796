from __future__ import annotations

import pytest

from hdnet.data.samples import LabelledSample, UnlabelledFrame
from hdnet.data.synthetic import generate_sequences, generate_stills


@pytest.fixture(scope="session")
def seed() -> int:
    return 3


@pytest.fixture(scope="session")
def stills(seed: int) -> list[LabelledSample]:
    return list(generate_stills(6, seed))


@pytest.fixture(scope="session")
def frames(seed: int) -> list[UnlabelledFrame]:
    return list(generate_sequences(1, 4, seed))
