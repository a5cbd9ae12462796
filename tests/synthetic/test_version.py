from __future__ import annotations

from pathlib import Path

import hdnet
from hdnet.synthetic import SyntheticSpec, fingerprint
from hdnet.synthetic.version import source_files


def test_the_key_covers_every_module_of_the_generator_the_layout_and_the_records() -> None:
    package = Path(hdnet.__file__).parent
    expected = {*(package / "synthetic").rglob("*.py"), *(package / "data" / "layout").rglob("*.py")}
    expected.add(package / "data/store/people.py")
    found = {Path(str(file)) for file in source_files()}
    assert found == expected
    assert {"generate.py", "png.py"} <= {file.name for file in found}


def test_the_key_depends_on_the_spec_and_on_nothing_that_changes_between_calls() -> None:
    spec = SyntheticSpec(people=1, sequences=1, frames_per_sequence=2, seed=0)
    assert fingerprint(spec) == fingerprint(spec.model_copy())
    assert fingerprint(spec) != fingerprint(spec.model_copy(update={"seed": 1}))
