from __future__ import annotations

from pathlib import Path

import pytest

import hdnet
from hdnet.errors import DataError
from hdnet.synthetic import SyntheticSpec, fingerprint
from hdnet.synthetic.version import source_files


def test_the_key_covers_every_module_of_the_generator_the_layout_and_the_records() -> None:
    package = Path(hdnet.__file__).parent
    expected = {*(package / "synthetic").rglob("*.py"), *(package / "data" / "layout").rglob("*.py")}
    expected |= {package / "data/store/people.py", package / "data/store/person_record.py"}
    found = {Path(str(file)) for file in source_files()}
    assert found == expected
    assert {"generate.py", "png.py"} <= {file.name for file in found}


def test_the_key_depends_on_the_spec_and_on_nothing_that_changes_between_calls() -> None:
    spec = SyntheticSpec(people=1, sequences=1, frames_per_sequence=2, seed=0)
    assert fingerprint(spec) == fingerprint(spec.model_copy())
    assert fingerprint(spec) != fingerprint(spec.model_copy(update={"seed": 1}))


@pytest.mark.parametrize(("folder", "name"), [("environments", "a.hdr"), ("photographs", "a.jpg")])
def test_the_key_depends_on_the_files_of_a_folder_and_not_on_its_place(tmp_path: Path, folder: str, name: str) -> None:
    def key(place: str, **contents: bytes) -> str:
        for file, content in contents.items():
            (tmp_path / place).mkdir(exist_ok=True)
            (tmp_path / place / name.replace("a", file)).write_bytes(content)
        spec = SyntheticSpec(people=1, sequences=0, frames_per_sequence=0, seed=0, **{folder: tmp_path / place})
        return fingerprint(spec)

    first = key("one", a=b"1", b=b"2")
    assert key("elsewhere", a=b"1", b=b"2") == first
    others = [key("changed", a=b"1", b=b"3"), key("renamed", a=b"1", c=b"2"), key("more", a=b"1", b=b"2", c=b"3")]
    assert len({first, *others}) == 4
    (tmp_path / "one" / "notes.txt").write_text("of no matter")
    assert key("one") == first
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no"):
        key("empty")
