from __future__ import annotations

import pytest
from specs import spec_of

from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.synthetic import SyntheticSpec, generate_sequences, generate_stills


@pytest.fixture(scope="session")
def spec() -> SyntheticSpec:
    return spec_of(people=8, sequences=1, frames_per_sequence=4, seed=3)


@pytest.fixture(scope="session")
def stills(spec: SyntheticSpec) -> list[LabelledSample]:
    return list(generate_stills(spec))


@pytest.fixture(scope="session")
def frames(spec: SyntheticSpec) -> list[UnlabelledFrame]:
    return list(generate_sequences(spec))
