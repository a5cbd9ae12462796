import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from authors_data import FRAMES, PEOPLE, change_text, copy_of, files_of, zipped

from hdnet.data.importing import authors_frames
from hdnet.data.importing.authors import import_authors
from hdnet.data.layout.correspondences import read_corr_mat, read_correspondences
from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.errors import DataError
from hdnet.geometry import Camera

REAL_FORM = Path(__file__).parents[2] / "parity/data/training_data.tar.xz"
MAPS = ("image", "white_image", "iuv", "mask", "depth_m", "normals")


def same(one, other, maps=MAPS):
    return all(np.array_equal(getattr(one, key), getattr(other, key)) for key in maps)


def labelled(raw, name):
    """A labelled sample of a raw folder, wherever it is."""
    for part in ("Tang_data", "heldout/Tang_data"):
        if (raw / part / "mask" / f"{name}.png").exists():
            return TangFolder(raw / part).read(name)
    return None


def test_the_originals_form_is_read_as_the_original_reads_it(tmp_path):
    with tarfile.open(REAL_FORM) as archive:
        archive.extractall(tmp_path, filter="data")
    raw, source = tmp_path / "raw", tmp_path / "training_data"
    report = import_authors(REAL_FORM, raw)
    assert not report.refused
    assert report.extra["held-out people"] == [path.stem for path in (raw / "heldout/Tang_data/mask").iterdir()]
    tang = TangFolder(source / "Tang_data")
    for name in tang.names():
        assert same(tang.read(name), labelled(raw, name))
    before, after = TikTokFolder(source / "tiktok_data"), TikTokFolder(raw / "tiktok_data")
    assert before.names() == after.names()
    for name in before.names():
        assert same(before.read(name), after.read(name), MAPS[:4])
        assert np.array_equal(before.read_pred_normals(name), after.read_pred_normals(name))
        assert after.camera(name) == Camera.reference()
    folders = before.root / "correspondences", after.root / "correspondences"
    partners = [read_corr_mat(folder, before.names()) for folder in folders]
    assert partners[0] == partners[1]
    for name_i, others in partners[0].items():
        for name_j in others:
            one, other = (read_correspondences(folder, name_i, name_j) for folder in folders)
            assert np.array_equal(one.rows, other.rows)


def test_folder_zip_and_tar_give_the_same(tmp_path, authors_original):
    import_authors(authors_original, tmp_path / "folder")
    import_authors(zipped(authors_original, tmp_path / "in.zip"), tmp_path / "zip", jobs=2)
    with tarfile.open(tmp_path / "in.tar.gz", "w:gz") as archive:
        archive.add(authors_original, "some/where/training_data")
    import_authors(tmp_path / "in.tar.gz", tmp_path / "tar")
    wanted = files_of(tmp_path / "folder")
    for kind in ("zip", "tar"):
        found = files_of(tmp_path / kind)
        assert found.keys() == wanted.keys()
        assert [key for key in wanted if wanted[key] != found[key]] == ["import.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "in.tar.gz", "in.zip", "tar", "zip"]


@pytest.mark.parametrize(
    ("inside", "parts"),
    [
        (".", ["Tang_data", "heldout", "tiktok_data"]),
        ("Tang_data", ["Tang_data", "heldout"]),
        ("tiktok_data", ["tiktok_data"]),
    ],
)
def test_the_source_may_be_the_whole_or_one_of_its_folders(tmp_path, authors_original, inside, parts):
    import_authors(authors_original / inside, tmp_path / "raw")
    assert sorted(path.name for path in (tmp_path / "raw").iterdir() if path.is_dir()) == parts
    assert json.loads((tmp_path / "raw/import.json").read_text())["parts"] == parts


def test_what_a_raw_folder_holds_out_stays_held_out(tmp_path, authors_original):
    import_authors(authors_original, tmp_path / "one", heldout=2, seed=1)
    report = import_authors(tmp_path / "one", tmp_path / "two", seed=2)
    assert report.extra["held-out people"] == "as given: 2"
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert {key for key in one if one[key] != two.get(key)} == {"import.json"}


@pytest.mark.parametrize(("heldout", "count"), [(None, 1), (0, 0), (2, 2)])
def test_people_are_held_out_by_number_and_seed(tmp_path, authors_original, heldout, count):
    report = import_authors(authors_original / "Tang_data", tmp_path / "raw", heldout=heldout, seed=3)
    trained = TangFolder(tmp_path / "raw/Tang_data").names()
    chosen = report.extra["held-out people"]
    assert len(trained) == len(PEOPLE) - count
    if not count:
        assert chosen == "none"
        assert not (tmp_path / "raw/heldout").exists()
        return
    held = TangFolder(tmp_path / "raw/heldout/Tang_data").names()
    assert held == chosen == sorted(set(PEOPLE) - set(trained))
    kinds = {path.name for path in (tmp_path / "raw/Tang_data").iterdir()}
    assert {path.name for path in (tmp_path / "raw/heldout/Tang_data").iterdir()} == kinds
    again = import_authors(authors_original / "Tang_data", tmp_path / "again", heldout=heldout, seed=3)
    assert again.extra["held-out people"] == chosen


def test_other_seeds_hold_out_other_people(tmp_path, authors_original):
    chosen = {
        import_authors(authors_original / "Tang_data", tmp_path / f"{seed}", seed=seed).extra["held-out people"][0]
        for seed in range(5)
    }
    assert len(chosen) > 1


def test_somebody_must_be_left_to_train_on(tmp_path, authors_original):
    with pytest.raises(DataError, match=r"--heldout 3 of 3 labelled people: expected 0 to 2"):
        import_authors(authors_original, tmp_path / "raw", heldout=3)
    assert not (tmp_path / "raw").exists()


def test_importing_again_without_holding_out_leaves_nobody_in_both(tmp_path, authors_original):
    import_authors(authors_original, tmp_path / "raw")
    import_authors(authors_original, tmp_path / "raw", heldout=0)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["Tang_data", "import.json", "tiktok_data"]


def test_cameras_and_sequences_of_hdnet_json_are_kept(tmp_path, authors_folder):
    camera = Camera.centred(300)
    (authors_folder / "Tang_data/hdnet.json").write_text(json.dumps({"camera": camera.to_dict()}))
    sequences = {"a": FRAMES[:1], "b": FRAMES[1:]}
    (authors_folder / "tiktok_data/hdnet.json").write_text(json.dumps({"sequences": sequences}))
    report = import_authors(authors_folder, tmp_path / "raw")
    assert TangFolder(tmp_path / "raw/Tang_data").camera(PEOPLE[0]) == camera
    assert TikTokFolder(tmp_path / "raw/tiktok_data").sequences() == sequences
    assert report.extra["camera of Tang_data"] == "from hdnet.json"
    assert "from hdnet.json" in report.extra["camera of tiktok_data"]


def test_frames_that_corr_mat_links_are_a_sequence(tmp_path, authors_original):
    report = import_authors(authors_original / "tiktok_data", tmp_path / "raw")
    sequences = {FRAMES[0]: FRAMES[:3], FRAMES[3]: FRAMES[3:]}
    assert TikTokFolder(tmp_path / "raw/tiktok_data").sequences() == sequences
    assert "corr_mat.txt links" in report.extra["tiktok_data"]
    assert "not given; the original's" in report.extra["camera of tiktok_data"]


def test_an_interrupted_import_goes_on_and_ends_the_same(tmp_path, authors_original, monkeypatch):
    import_authors(authors_original, tmp_path / "clean")
    write, calls = TangFolder.write, []

    def dying(self, sample):
        calls.append(sample.name)
        if len(calls) == 2:
            self._write_pictures(sample)  # half of the second sample
            raise KeyboardInterrupt
        write(self, sample)

    with monkeypatch.context() as patch:
        patch.setattr(TangFolder, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            import_authors(authors_original, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    monkeypatch.setattr(TangFolder, "write", lambda self, sample: (calls.append(sample.name), write(self, sample)))
    report = import_authors(authors_original, tmp_path / "raw")
    assert calls == [*PEOPLE[:2], *PEOPLE[1:]]
    assert len(report.taken) == len(PEOPLE) + len(FRAMES) + 2
    clean, found = files_of(tmp_path / "clean"), files_of(tmp_path / "raw")
    assert {key for key in clean if clean[key] != found.get(key)} == {"import.json"}
    assert clean.keys() == found.keys()


def test_a_changed_source_starts_afresh(tmp_path, authors_folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(authors_frames, "write_correspondences", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            import_authors(authors_folder, tmp_path / "raw")
    (authors_folder / "Tang_data/mask/0000001.png").unlink()
    report = import_authors(authors_folder, tmp_path / "raw")
    assert [outcome.source for outcome in report.refused] == ["Tang_data/0000001"]
    assert not list((tmp_path / "raw").rglob("0000001*"))


def test_correspondences_and_normals_can_be_left_behind(tmp_path, authors_original):
    import_authors(authors_original, tmp_path / "raw", keep_correspondences=False, keep_normals=False)
    kinds = {path.name for path in (tmp_path / "raw/tiktok_data").iterdir()}
    assert kinds == {"color", "color_WO_bg", "densepose", "mask", "hdnet.json"}


def test_what_belongs_to_nothing_is_named(tmp_path, authors_folder):
    (authors_folder / "Tang_data/readme.txt").write_text("hello")
    (authors_folder / "Tang_data/mask/person.png").write_text("hello")
    report = import_authors(authors_folder, tmp_path / "raw")
    assert report.extra["files that belong to nothing, left out"] == [
        "Tang_data/mask/person.png",
        "Tang_data/readme.txt",
    ]


@pytest.mark.parametrize("content", [{}, {"images/0001.png": b"", "densepose/0001.png": b""}])
def test_a_source_of_another_form_is_refused(tmp_path, content):
    for name, data in content.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    (tmp_path / "in").mkdir(exist_ok=True)
    with pytest.raises(DataError, match="holds neither Tang_data nor tiktok_data"):
        import_authors(tmp_path / "in", tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_two_folders_of_one_kind_are_refused(tmp_path, authors_original):
    for place in ("a", "b"):
        copy_of(authors_original / "Tang_data", tmp_path / "in" / place / "Tang_data")
    with pytest.raises(DataError, match="holds two Tang_data folders, a/Tang_data and b/Tang_data"):
        import_authors(tmp_path / "in", tmp_path / "raw")


def test_too_little_space_is_refused_before_anything_is_written(tmp_path, authors_original, monkeypatch):
    def full(out, needed):
        raise DataError(f"{out}: needs {needed}")

    monkeypatch.setattr("hdnet.data.importing.authors.check_space", full)
    with pytest.raises(DataError, match="needs"):
        import_authors(authors_original, tmp_path / "raw")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_clear_error_and_nothing_is_half_written(tmp_path, authors_original, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("hdnet.data.layout.folders.write_map", full)
        with pytest.raises(DataError, match=r"raw: the import stopped .*No space left") as caught:
            import_authors(authors_original, tmp_path / "raw")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_damaged_hdnet_json_names_the_file_in_the_archive(tmp_path, authors_folder):
    change_text_of = authors_folder / "Tang_data/hdnet.json"
    change_text_of.write_text("{")
    source = zipped(authors_folder, tmp_path / "in.zip")
    with pytest.raises(DataError, match=rf"{source}/training_data/Tang_data/hdnet.json: cannot be read as JSON"):
        import_authors(source, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()
    change_text(change_text_of, lambda _: "{}")
    import_authors(authors_folder, tmp_path / "raw")


def test_parts_of_which_nothing_can_be_taken_are_left_out(tmp_path, authors_folder):
    copy_of(authors_folder / "Tang_data", authors_folder / "heldout/Tang_data")
    for part in ("Tang_data", "heldout/Tang_data"):
        for path in (authors_folder / part / "mask").iterdir():
            path.unlink()
    report = import_authors(authors_folder, tmp_path / "raw")
    assert len(report.refused) == 2 * len(PEOPLE)
    assert sorted(path.name for path in (tmp_path / "raw").iterdir()) == ["import.json", "tiktok_data"]
