from pathlib import Path

import pytest

from hdnet.data.importing import copying
from hdnet.data.importing.copying import copy_folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "color").mkdir(parents=True)
    (folder / "hdnet.json").write_text("{}")
    (folder / "color/0000000.png").write_bytes(b"picture")
    return folder


def test_what_is_there_is_copied_and_what_is_hidden_is_not(source, tmp_path):
    (source / ".cache").mkdir()
    (source / ".cache/x").write_text("x")
    (source / "color/.DS_Store").write_text("x")
    assert copy_folder(source, tmp_path / "copy") == 2
    files = {str(file.relative_to(tmp_path / "copy")) for file in (tmp_path / "copy").rglob("*") if file.is_file()}
    assert files == {"hdnet.json", "color/0000000.png"}


@pytest.mark.parametrize("file_system_shares", [True, False])
def test_a_copy_is_another_file_with_permissions_of_its_own(source, tmp_path, monkeypatch, file_system_shares):
    if file_system_shares:
        monkeypatch.setattr(copying, "_share", lambda read, written: bool(written.write_bytes(read.read_bytes())))
    picture, copy = source / "color/0000000.png", tmp_path / "copy/color/0000000.png"
    picture.chmod(0o444)
    copy_folder(source, tmp_path / "copy")
    assert not picture.samefile(copy)
    assert picture.stat().st_nlink == 1
    copy.write_bytes(b"changed")
    assert picture.read_bytes() == b"picture"


def test_links_are_followed(source, tmp_path):
    elsewhere = tmp_path / "elsewhere.png"
    elsewhere.write_bytes(b"linked")
    (source / "color/0000001.png").symlink_to(elsewhere)
    copy_folder(source, tmp_path / "copy")
    copy = tmp_path / "copy/color/0000001.png"
    assert not copy.is_symlink()
    assert copy.read_bytes() == b"linked"


def test_a_link_to_nothing_is_an_error(source, tmp_path):
    (source / "color/0000001.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(FileNotFoundError, match="0000001"):
        copy_folder(source, tmp_path / "copy")
