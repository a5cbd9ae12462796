import dataclasses
import errno
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_folders import CAMERA, labelled_sample, unlabelled_frame

from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.errors import DataError
from hdnet.geometry import Camera
from hdnet.params import Params, parse_section
from hdnet.synthetic import raw as module
from hdnet.synthetic.raw import contact_sheets, progress_bar, synthetic_spec
from hdnet.workspace import Workspace
from pipelines.acquire import acquire, gather

VALUES = Params().model_dump(mode="json", by_alias=True)


def params(**data) -> Params:
    amounts = {"people": 5, "heldout_people": 4, "sequences": 2, "frames_per_sequence": 3}
    return parse_section(Params, VALUES | {"data": VALUES["data"] | amounts | data}, "test")


def write_people(folder: Path, count: int, seed: int) -> None:
    tang, names = TangFolder(folder), [f"{index:07d}" for index in range(count)]
    for index, name in enumerate(names):
        tang.write(labelled_sample(name, seed + index))
    tang.write_meta(dict.fromkeys(names, CAMERA))


def write_dances(folder: Path, sequences: int, frames: int) -> None:
    tiktok, members = TikTokFolder(folder), {}
    for index in range(sequences):
        members[f"made-{index}"] = [f"{index * frames + frame:07d}" for frame in range(frames)]
    for sequence, names in members.items():
        for name in names:
            tiktok.write(unlabelled_frame(name, sequence, int(name)))
    tiktok.write_meta(dict.fromkeys([name for names in members.values() for name in names], CAMERA), members)


@pytest.fixture
def made(monkeypatch) -> list:
    """Spheres instead of synthetic people; what was asked for."""
    asked = []

    def synthesize(out, spec, jobs, progress):
        asked.append((spec.people, spec.sequences, spec.seed))
        shutil.rmtree(out, ignore_errors=True)
        if spec.people:
            write_people(out / "Tang_data", spec.people, seed=0)
        if spec.sequences:
            write_dances(out / "tiktok_data", spec.sequences, spec.frames_per_sequence)
        progress(spec.people + spec.sequences, spec.people + spec.sequences)

    monkeypatch.setattr(module, "synthesize", synthesize)
    return asked


@pytest.fixture
def own(tmp_path) -> Path:
    """A raw folder of the user: three people, one held out, a dance of two frames."""
    folder = tmp_path / "own"
    write_people(folder / "Tang_data", 3, seed=20)
    write_people(folder / "heldout/Tang_data", 1, seed=40)
    write_dances(folder / "tiktok_data", 1, 2)
    (folder / "import.json").write_text("{}")
    return folder


def counts(raw: Path) -> tuple[int, int, int]:
    people, heldout = TangFolder(raw / "Tang_data"), TangFolder(raw / "heldout/Tang_data")
    return len(people.names()), len(heldout.names()), len(TikTokFolder(raw / "tiktok_data").names())


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_everything_is_made(tmp_path, made):
    report = gather(tmp_path / "raw", tmp_path / "nothing", params().data, 7, 1)
    assert counts(tmp_path / "raw") == (5, 4, 6)
    assert made == [(5, 2, 7), (4, 0, 7 + 1_000_003)]
    assert report is None
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["Tang_data", "heldout", "tiktok_data"]
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_sheets_show_people_and_film_strips(tmp_path, own, made):
    sheets = contact_sheets(own)
    assert {name: sheet.size for name, sheet in sheets.items()} == {
        "contact_sheet.png": (3 * 24 + 2 * 4, 5 * 32 + 4 * 4),
        "sequences.png": (2 * 24 + 4, 32),
    }
    shutil.rmtree(own / "tiktok_data")
    assert list(contact_sheets(own)) == ["contact_sheet.png"]


def test_all_that_the_parameters_say_reaches_the_generator():
    data = params(stride=3, masks="segmenter", occluded=0.25).data
    spec = synthetic_spec(data, 9, 2, 11)
    assert (spec.people, spec.sequences, spec.seed) == (9, 2, 11)
    fields = set(type(spec).model_fields) - {"people", "sequences", "seed"}
    assert {name: getattr(spec, name) for name in fields} == {name: getattr(data, name) for name in fields}


def test_an_interrupted_run_goes_on(tmp_path, made, monkeypatch):
    """Killed while held-out people are made: the others are not made again, unless something else is wanted."""
    fake, raw = module.synthesize, tmp_path / "raw"

    def interrupted(out, spec, jobs, progress):
        if out.name == "heldout":
            raise KeyboardInterrupt
        fake(out, spec, jobs, progress)

    def interrupt(values):
        monkeypatch.setattr(module, "synthesize", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gather(raw, tmp_path / "nothing", values.data, 7, 1)
        monkeypatch.setattr(module, "synthesize", fake)

    interrupt(params())
    interrupt(params())
    assert made == [(5, 2, 7)]
    assert [path.name for path in tmp_path.iterdir()] == [".raw.made"]
    gather(raw, tmp_path / "nothing", params().data, 7, 1)
    assert made == [(5, 2, 7), (4, 0, 1_000_010)]
    assert counts(raw) == (5, 4, 6)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]

    interrupt(params())
    gather(raw, tmp_path / "nothing", params(people=3).data, 7, 1)
    assert made[2:] == [(5, 2, 7), (3, 2, 7), (4, 0, 1_000_010)]
    assert counts(raw) == (3, 4, 6)


def test_what_an_interrupted_run_had_made_goes_when_it_is_not_wanted(tmp_path, own, made, monkeypatch):
    (tmp_path / ".raw.made/train/Tang_data").mkdir(parents=True)
    gather(tmp_path / "raw", own, params(source="folder").data, 7, 1)
    assert not (tmp_path / ".raw.made").exists()


def test_the_progress_bar_counts_pictures_an_hour_without_those_of_an_earlier_run(capsys):
    with progress_bar("made") as progress:
        progress(400, 500)
        progress(450, 500)
        progress(500, 500)
    last = capsys.readouterr().err.split("\r")[-1]
    assert "made: 100%" in last
    assert "500/500 pictures" in last
    assert "/h]" in last


def test_everything_comes_from_a_folder_byte_by_byte(tmp_path, own, made):
    gather(tmp_path / "raw", own, params(source="folder").data, 7, 1)
    assert files(tmp_path / "raw") == {name: data for name, data in files(own).items() if name != "import.json"}
    assert made == []


@pytest.mark.parametrize(
    ("take", "expected", "asked"),
    [("dances", (5, 4, 2), [(5, 0, 7), (4, 0, 1_000_010)]), ("people", (3, 1, 6), [(0, 2, 7)])],
)
def test_the_rest_is_made(tmp_path, own, made, take, expected, asked):
    gather(tmp_path / "raw", own, params(source="folder", take=take).data, 7, 1)
    assert counts(tmp_path / "raw") == expected
    assert made == asked
    taken = {"dances": "tiktok_data", "people": "Tang_data"}[take]
    assert files(tmp_path / "raw" / taken) == files(own / taken)


@pytest.mark.parametrize(
    ("missing", "take", "said"),
    [
        ("Tang_data", "both", "has no Tang_data; .*data.take: dances"),
        ("tiktok_data", "both", "has no tiktok_data; .*data.take: people"),
        ("heldout/Tang_data", "people", "has no heldout/Tang_data; move some"),
        ("tiktok_data", "dances", "has no tiktok_data; expected tiktok_data in it$"),
    ],
)
def test_a_missing_part_is_named_and_nothing_is_written(tmp_path, own, made, missing, take, said):
    (own / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=said):
        gather(tmp_path / "raw", own, params(source="folder", take=take).data, 7, 1)
    assert not (tmp_path / "raw").exists()


def test_a_missing_folder_is_named(tmp_path, made):
    with pytest.raises(DataError, match="nothing: no such folder"):
        gather(tmp_path / "raw", tmp_path / "nothing", params(source="folder").data, 7, 1)


@pytest.mark.parametrize("place", ["raw", "raw/inside"])
def test_data_that_would_be_overwritten_is_not_taken(tmp_path, own, made, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    own.rename(tmp_path / place)
    before = files(tmp_path / "raw")
    with pytest.raises(DataError, match=r"lies in .*raw"):
        gather(tmp_path / "raw", tmp_path / place, params(source="folder").data, 7, 1)
    assert files(tmp_path / "raw") == before


def test_a_full_disk_leaves_earlier_data_as_it_was(tmp_path, own, made, monkeypatch):
    gather(tmp_path / "raw", own, params().data, 7, 1)
    before = files(tmp_path / "raw")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hdnet.data.importing.copying.shutil.copyfile", full)
    monkeypatch.setattr("hdnet.data.importing.copying._share", lambda *_: False)
    with pytest.raises(DataError, match="No space left"):
        gather(tmp_path / "raw", own, params(source="folder").data, 7, 1)
    assert files(tmp_path / "raw") == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.fixture
def archive(tmp_path) -> Path:
    """As the authors published theirs: eleven people without cameras and held-out ones, one dance."""
    folder, camera = tmp_path / "training_data", Camera.reference()
    for index in range(11):
        sample = pictures_of_size_256(labelled_sample(f"{index:07d}", index))
        TangFolder(folder / "Tang_data").write(dataclasses.replace(sample, camera=camera))
    for index in range(2):
        frame = pictures_of_size_256(unlabelled_frame(f"{17634 + index:07d}", "all", index))
        TikTokFolder(folder / "tiktok_data").write(dataclasses.replace(frame, camera=camera))
    with zipfile.ZipFile(tmp_path / "training_data.zip", "w") as packed:
        for file in sorted(folder.rglob("*")):
            packed.write(file, file.relative_to(tmp_path))
    return tmp_path / "training_data.zip"


def pictures_of_size_256(sample):
    pictures = {
        field.name: np.pad(value, [(112, 112), (116, 116)] + [(0, 0)] * (value.ndim - 2), constant_values=filling)
        for field in dataclasses.fields(sample)
        if isinstance(value := getattr(sample, field.name), np.ndarray)
        for filling in [255 if field.name == "white_image" else 0]
    }
    return dataclasses.replace(sample, **pictures)


def test_the_authors_archive_is_imported_and_reported(tmp_path, archive, made):
    work, values = Workspace(tmp_path / "work"), params(source="archive", folder=str(archive))
    work.raw.parent.mkdir(parents=True)
    acquire(work, values)
    assert counts(work.raw) == (10, 1, 2)
    assert made == []
    assert (work.report("acquire") / "contact_sheet.png").is_file()
    assert (work.report("acquire") / "sequences.png").is_file()
    report = json.loads((work.report("acquire") / "import.json").read_text())
    assert report["counts"] == {"items": 13, "taken": 13, "refused": 0}
    assert report["out"] == str(work.raw)
    assert sorted(path.name for path in work.raw.iterdir()) == ["Tang_data", "heldout", "tiktok_data"]
    assert [path.name for path in work.raw.parent.iterdir()] == ["raw"]

    acquire(work, params(source="synthetic"))
    assert not (work.report("acquire") / "import.json").exists()


def test_the_archives_dances_with_made_people(tmp_path, archive, made):
    report = gather(tmp_path / "raw", archive, params(source="archive", take="dances").data, 7, 1)
    assert counts(tmp_path / "raw") == (5, 4, 2)
    assert len(report.taken) == 2


def test_an_unpacked_archive_without_dances_is_refused(tmp_path, archive, made):
    (tmp_path / "training_data/tiktok_data").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"training_data: has no tiktok_data; .*data.take: people"):
        gather(tmp_path / "raw", tmp_path / "training_data", params(source="archive").data, 7, 1)
    assert not (tmp_path / "raw").exists()
