from __future__ import annotations

import collections
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import quick_engine
import torch
from quick_engine import QUICK, files, nothing, quick_person, quick_sequence
from specs import spec_of

from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.data.store import people
from hdnet.data.store.people import PackedPeople
from hdnet.data.store.person_record import PersonPicture
from hdnet.errors import DataError
from hdnet.synthetic import Engine, SyntheticSpec, export, synthesize, version

SPEC = spec_of(9, 2, 3, 7)


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, bytes]:
    """Return the files of an uninterrupted run."""
    synthesize(tmp_path / "uninterrupted", SPEC, engine=QUICK)
    return files(tmp_path / "uninterrupted")


def stopping_after(calls: int, error: type[BaseException]) -> Engine:
    """Return an engine that raises at the person after so many calls."""

    def still(spec: SyntheticSpec, person: int) -> list[PersonPicture]:
        if person >= calls:
            raise error
        return quick_person(spec, person)

    return Engine(still, quick_sequence, nothing)


def counting(made: list[str]) -> Engine:
    def still(spec: SyntheticSpec, person: int) -> list[PersonPicture]:
        made.append(f"person {person}")
        return quick_person(spec, person)

    def sequence(spec: SyntheticSpec, index: int) -> list[UnlabelledFrame]:
        made.append(f"sequence {index}")
        return quick_sequence(spec, index)

    return Engine(still, sequence, nothing)


def test_folders_hold_what_was_generated(
    tmp_path: Path, spec: SyntheticSpec, stills: list[LabelledSample], frames: list[UnlabelledFrame]
) -> None:
    counts = synthesize(tmp_path / "data", spec.model_copy(update={"people": 2}))
    assert (counts.stills, counts.sequences, counts.frames) == (2, spec.sequences, len(frames))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data"]
    tang = TangFolder(tmp_path / "data" / "Tang_data")
    assert tang.names() == ["0000000", "0000001"]
    read = tang.read("0000001")
    assert np.array_equal(read.mask, stills[1].mask)
    assert np.array_equal(read.iuv, stills[1].iuv)
    assert np.array_equal(read.white_image, stills[1].white_image)
    assert np.allclose(read.depth_m, stills[1].depth_m, atol=1e-5)
    assert np.allclose(read.normals, stills[1].normals, atol=1e-5)
    assert read.camera == stills[1].camera
    tiktok = TikTokFolder(tmp_path / "data" / "tiktok_data")
    assert tiktok.sequences() == {"seq-000": [frame.name for frame in frames]}
    assert np.array_equal(tiktok.read("0000002").iuv, frames[2].iuv)


def test_layout_and_progress_in_pictures(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    synthesize(tmp_path / "data", SPEC, progress=lambda done, total: calls.append((done, total)), engine=QUICK)
    assert calls[:3] == [(0, 15), (3, 15), (6, 15)]
    assert calls[-1] == (15, 15)
    assert TangFolder(tmp_path / "data/Tang_data").names() == [f"{k:07d}" for k in range(9)]
    sequences = TikTokFolder(tmp_path / "data/tiktok_data").sequences()
    assert sequences == {"seq-000": ["0000000", "0000001", "0000002"], "seq-001": ["0000003", "0000004", "0000005"]}
    assert not list(tmp_path.rglob(".*"))


def test_two_processes_write_the_same_bytes(tmp_path: Path, expected: dict[str, bytes]) -> None:
    synthesize(tmp_path / "data", SPEC, jobs=2, engine=QUICK)
    assert files(tmp_path / "data") == expected


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_an_interrupted_run_goes_on(tmp_path: Path, expected: dict[str, bytes], error: type[BaseException]) -> None:
    out, made, calls = tmp_path / "data", [], []
    with pytest.raises(DataError if error is ValueError else error):
        synthesize(out, SPEC, engine=stopping_after(1, error))
    assert not out.exists()
    synthesize(out, SPEC, progress=lambda done, total: calls.append((done, total)), engine=counting(made))
    assert made
    assert "person 0" not in made
    assert not [call for call in made if call.startswith("sequence")]
    assert calls[0][0] > 6
    assert files(out) == expected
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "uninterrupted"]


def test_a_finished_run_only_has_to_be_published(tmp_path: Path, expected: dict[str, bytes], monkeypatch) -> None:
    out, made = tmp_path / "data", []
    with monkeypatch.context() as patch:
        patch.setattr(export, "_write_meta", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            synthesize(out, SPEC, engine=QUICK)
    synthesize(out, SPEC, engine=counting(made))
    assert made == []
    assert files(out) == expected


PACKED = SPEC.model_copy(update={"format": "packed", "pictures_per_person": 2})


def test_packed_people_are_those_of_the_text_layout(tmp_path: Path) -> None:
    """Text holds five decimals of a metre, the packed folder steps of 0.1 mm at 4 m, and JPEG pictures."""
    spec = PACKED.model_copy(update={"format": "text", "people": 3, "sequences": 0})
    synthesize(tmp_path / "text", spec, engine=QUICK)
    synthesize(tmp_path / "packed", spec.model_copy(update={"format": "packed"}), engine=QUICK)
    text, packed = TangFolder(tmp_path / "text/Tang_data"), PackedPeople(tmp_path / "packed/Tang_data")
    assert packed.names == text.names() == [f"{k:07d}" for k in range(6)]
    assert packed.people.tolist() == [0, 0, 1, 1, 2, 2]
    for k, name in enumerate(packed.names):
        one, other = text.read(name), packed.sample(k)
        assert np.array_equal(one.mask, other.mask)
        assert np.array_equal(one.iuv, other.iuv)
        assert np.allclose(one.depth_m, other.depth_m, atol=1.5e-4)
        assert np.allclose(one.normals, other.normals, atol=1e-3)
        assert one.camera == other.camera
    assert sorted(path.name for path in packed.folder.iterdir()) == sorted([*packed.index["files"], "index.json"])


@pytest.mark.parametrize("stop", ["between people", "between shards"])
def test_interrupted_packed_people_go_on(tmp_path: Path, monkeypatch, stop: str) -> None:
    monkeypatch.setattr(people, "SHARD_RECORDS", 4)
    synthesize(tmp_path / "uninterrupted", PACKED, jobs=2, engine=QUICK)
    out, made = tmp_path / "data", []
    with monkeypatch.context() as patch:
        if stop == "between shards":
            whole = people.finish_shard

            def interrupted(file: Path, *more: Any) -> Any:
                if file.name == "rows-00002.npy":
                    raise KeyboardInterrupt
                return whole(file, *more)

            patch.setattr(people, "finish_shard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            synthesize(out, PACKED, engine=QUICK if stop == "between shards" else stopping_after(5, KeyboardInterrupt))
    synthesize(out, PACKED, engine=counting(made))
    assert made == ([] if stop == "between shards" else [f"person {k}" for k in range(5, 9)])
    assert files(out) == files(tmp_path / "uninterrupted")
    assert len(PackedPeople(out / "Tang_data").index["files"]) == 5 + 4


@pytest.mark.parametrize("changed", ["spec", "generator"])
def test_another_run_starts_afresh_and_says_so(
    tmp_path: Path, expected: dict[str, bytes], monkeypatch, caplog, changed: str
) -> None:
    out, made = tmp_path / "data", []
    with pytest.raises(KeyboardInterrupt):
        synthesize(out, SPEC, engine=stopping_after(1, KeyboardInterrupt))
    caplog.set_level(logging.INFO)
    spec = SPEC.model_copy(update={"seed": 8}) if changed == "spec" else SPEC
    if changed == "generator":
        monkeypatch.setattr(version, "generator_version", lambda: "next")
    synthesize(out, spec, engine=counting(made))
    assert {"sequence 0", "sequence 1", "person 0"} <= set(made)
    assert "starting afresh" in caplog.text
    assert (files(out) == expected) is (changed == "generator")


def test_files_that_a_power_cut_emptied_are_made_again(tmp_path: Path, expected: dict[str, bytes]) -> None:
    out, made = tmp_path / "data", []
    with pytest.raises(KeyboardInterrupt):
        synthesize(out, SPEC, engine=stopping_after(1, KeyboardInterrupt))
    (tmp_path / ".data.partial/tiktok_data/mask/0000004.png").write_bytes(b"")
    (note,) = (tmp_path / ".data.partial/.finished").rglob("sequence-000000.json")
    note.write_bytes(b"")
    synthesize(out, SPEC, engine=counting(made))
    assert [call for call in made if call.startswith("sequence")] == ["sequence 0", "sequence 1"]
    assert files(out) == expected


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """`kill -9` of the process that was started, again and again, while its workers are at work."""
    people, out = 24, tmp_path / "data"
    tests = Path(quick_engine.__file__).parent
    paths = [str(tests), str(tests.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}

    def start(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, quick_engine.__file__, str(folder), str(people), "2"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def notes() -> int:
        return len(list((tmp_path / ".data.partial/.finished").rglob("*-*.json")))

    for least in (3, 6):
        process = start(out)
        while notes() < least and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert notes() >= least
        assert not out.exists()
    process = start(out)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    synthesize(tmp_path / "uninterrupted", spec_of(people, 2, 3, 7), engine=QUICK)
    assert files(out) == files(tmp_path / "uninterrupted")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "uninterrupted"]


def test_the_engine_works_with_one_thread(tmp_path: Path) -> None:
    threads = []

    def still(spec: SyntheticSpec, person: int) -> list[PersonPicture]:
        threads.append(torch.get_num_threads())
        return quick_person(spec, person)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        synthesize(
            tmp_path / "data", SPEC.model_copy(update={"sequences": 0}), engine=Engine(still, quick_sequence, nothing)
        )
        assert (set(threads), torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)


def test_a_disk_without_room_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch) -> None:
    usage = collections.namedtuple("Usage", "total used free")
    monkeypatch.setattr("hdnet.synthetic.cost.shutil.disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    with pytest.raises(DataError, match=r"0\.0 GB free, 0\.\d GB are needed"):
        synthesize(tmp_path / "deep/data", SPEC, engine=stopping_after(0, AssertionError))
    assert not list((tmp_path / "deep").iterdir())


def test_foreign_files_are_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r"thesis\.tex"):
        synthesize(tmp_path, SPEC, engine=QUICK)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        synthesize(tmp_path / "file", SPEC, engine=QUICK)
    with pytest.raises(DataError, match="jobs is 0"):
        synthesize(tmp_path / "new", SPEC, jobs=0, engine=QUICK)


def test_a_failure_at_once_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    old = tmp_path / "data" / "Tang_data"
    old.mkdir(parents=True)

    def broken(*_: object) -> list[PersonPicture]:
        raise ValueError("no such bone")

    with pytest.raises(DataError, match=r"synthetic person-000000 of seed 7 .*no such bone"):
        synthesize(
            tmp_path / "data", SPEC.model_copy(update={"sequences": 0}), engine=Engine(broken, quick_sequence, nothing)
        )
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]
    assert old.is_dir()


def test_a_wrong_number_of_pictures_is_refused(tmp_path: Path) -> None:
    engine = Engine(quick_person, lambda spec, index: quick_sequence(spec, index)[:-1], nothing)
    with pytest.raises(DataError, match="sequence-000000 has 2 pictures; expected 3"):
        synthesize(tmp_path / "data", SPEC, engine=engine)
