import json
import zipfile

import pytest

from hdnet.cli import main


def run(capsys, *arguments):
    """Exit status and output of ``hdnet ARGUMENTS``."""
    try:
        main([str(argument) for argument in arguments])
        status = 0
    except SystemExit as stop:
        status = stop.code
    return status, capsys.readouterr().out


@pytest.mark.parametrize("verb", ["import-archive", "import-tang"])
def test_the_originals_archive_is_imported_and_reported(capsys, tmp_path, request, verb):
    archive = request.config.rootpath / "tests/parity/data/training_data.tar.xz"
    status, out = run(capsys, "data", verb, archive, "--out", tmp_path / "raw", "--heldout", 2, "--seed", 1)
    assert status == 0
    stored = json.loads((tmp_path / "raw/import.json").read_text())
    assert stored["counts"]["refused"] == 0
    assert f"taken   {stored['counts']['taken']:>6}" in out
    assert f"held-out people: 2: {', '.join(stored['extra']['held-out people'])}" in out
    assert (tmp_path / "raw/tiktok_data").exists() == (verb == "import-archive")


def test_what_is_kept_can_be_chosen(capsys, tmp_path, request):
    archive = request.config.rootpath / "tests/parity/data/training_data.tar.xz"
    options = ["--no-keep-correspondences", "--no-keep-normals", "--heldout", 0]
    assert run(capsys, "data", "import-archive", archive, "--out", tmp_path / "raw", *options)[0] == 0
    assert not (tmp_path / "raw/tiktok_data/correspondences").exists()
    assert not (tmp_path / "raw/tiktok_data/pred_normals").exists()
    assert not (tmp_path / "raw/heldout").exists()


@pytest.mark.parametrize("verb", ["import-archive", "import-tang"])
def test_bad_archives_end_in_one_line_and_status_one(capsys, tmp_path, verb):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../evil.txt", "evil")
    for source in ("evil.zip", "none.zip", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        status, _ = run(capsys, "data", verb, tmp_path / source, "--out", tmp_path / "raw")
        assert status.startswith(f"error: {tmp_path / source}")
        assert "\n" not in status
    status, _ = run(capsys, "data", verb, tmp_path / "evil.zip", "--out", tmp_path / "raw", "--max-gb", 0)
    assert status.startswith("error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "evil.zip"]
