import bz2
import errno
import gzip
import io
import lzma
import os
import pickle
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from hdnet.data.importing import archive_checks
from hdnet.data.importing.archive import check_space, open_source
from hdnet.errors import DataError

FILES = {"top.txt": b"top", "data/a.txt": b"a" * 1000, "data/deep/b.bin": bytes(range(256)) * 40}


def write_folder(path, files=FILES):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def write_zip(path, files=FILES, **kwargs):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **kwargs) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path, files=FILES, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def write_tar_entry(path, **attributes):
    """A tar with one good member and one forged one."""
    with tarfile.open(path, "w") as archive:
        for entry in (tarfile.TarInfo("good.txt"), tarfile.TarInfo("forged")):
            for key, value in attributes.items() if entry.name == "forged" else ():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(b"") if entry.isreg() else None)
    return path


KINDS = {
    "folder": write_folder,
    "in.zip": write_zip,
    "in.tar": write_tar,
    "in.tar.gz": lambda path: write_tar(path, mode="w:gz"),
    "in.tar.bz2": lambda path: write_tar(path, mode="w:bz2"),
    "in.tar.xz": lambda path: write_tar(path, mode="w:xz"),
}


@pytest.mark.parametrize("name", KINDS)
def test_all_kinds_hold_the_same_files(tmp_path, name):
    source = open_source(KINDS[name](tmp_path / name))
    assert source.sizes == {name: len(content) for name, content in sorted(FILES.items())}
    assert source.total_bytes == sum(map(len, FILES.values()))
    reader = pickle.loads(pickle.dumps(source.reader(tmp_path / "scratch")))
    with reader.files({key: key for key in FILES}) as paths:
        assert {key: path.read_bytes() for key, path in paths.items()} == FILES


def test_a_zip_is_unpacked_for_the_block_alone(tmp_path):
    reader = open_source(write_zip(tmp_path / "in.zip")).reader(tmp_path / "scratch")
    with reader.files({"key": "data/a.txt"}) as paths:
        assert list(paths) == ["key"]
        kept = paths["key"]
        assert kept.is_file()
    assert not kept.exists()


def test_a_tar_is_unpacked_once_and_completely_or_not_at_all(tmp_path, monkeypatch):
    source = open_source(write_tar(tmp_path / "in.tar"))
    copy = archive_checks.copy_exactly

    def full_disk(stream, target, size, path, member):
        if member == "data/deep/b.bin":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copy(stream, target, size, path, member)

    with monkeypatch.context() as patch:
        patch.setattr("hdnet.data.importing.archive.copy_exactly", full_disk)
        with pytest.raises(OSError, match="No space left"):
            source.reader(tmp_path / "scratch")
    root = source.reader(tmp_path / "scratch").root
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()) == sorted(FILES)
    (root / "top.txt").write_bytes(b"kept")
    assert (source.reader(tmp_path / "scratch").root / "top.txt").read_bytes() == b"kept"


@pytest.mark.parametrize("name", ["in.zip", "in.tar"])
def test_errors_inside_the_block_name_the_source(tmp_path, name):
    reader = open_source(KINDS[name](tmp_path / name)).reader(tmp_path / "scratch")
    with (
        pytest.raises(DataError, match=rf"^{tmp_path / name}/data/a.txt: no number$"),
        reader.files({"a": "data/a.txt"}) as paths,
    ):
        raise DataError(f"{paths['a']}: no number")


LEADING_OUT = ["../evil.txt", "data/../../evil.txt", "/etc/evil", "C:/evil", "c:evil", "..\\evil.txt", "\\evil"]


@pytest.mark.parametrize("name", LEADING_OUT)
@pytest.mark.parametrize("write", [write_zip, write_tar], ids=["zip", "tar"])
def test_names_that_lead_out_are_refused(tmp_path, write, name):
    path = write(tmp_path / "in", {"good.txt": b"", name: b"evil"})
    with pytest.raises(DataError, match="leads out of it") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_folders_that_lead_out_are_refused_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.mkdir("../evil/")
    with pytest.raises(DataError, match="leads out of it"):
        open_source(tmp_path / "in.zip")
    with pytest.raises(DataError, match="leads out of it"):
        open_source(write_tar_entry(tmp_path / "in.tar", name="../evil", type=tarfile.DIRTYPE))


@pytest.mark.parametrize(
    "attributes",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "good.txt"},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.FIFOTYPE},
    ],
    ids=["symlink", "hardlink", "device", "fifo"],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, attributes):
    with pytest.raises(DataError, match="'forged' is a link or device"):
        open_source(write_tar_entry(tmp_path / "in.tar", **attributes))


def test_links_in_a_zip_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        entry = zipfile.ZipInfo("forged")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match="'forged' is a link or device"):
        open_source(tmp_path / "in.zip")


def test_links_in_a_folder_are_followed_and_pipes_refused(tmp_path):
    write_folder(tmp_path / "far")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "far/data")
    (folder / "link.txt").symlink_to(tmp_path / "far/top.txt")
    (tmp_path / "far/data/back").symlink_to(folder)
    assert list(open_source(folder).sizes) == ["link.txt", "link/a.txt", "link/deep/b.bin"]
    os.mkfifo(folder / "pipe")
    with pytest.raises(DataError, match="pipe: is no plain file"):
        open_source(folder)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("names", [("a.txt", "a.txt"), ("data/A.txt", "data/a.TXT"), ("a.txt", "./a.txt")])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_exist_twice_are_refused(tmp_path, names, kind):
    path = tmp_path / f"in.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"x")
    else:
        with tarfile.open(path, "w") as archive:
            for name in names:
                archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(DataError, match="twice"):
        open_source(path)


def test_what_operating_systems_leave_behind_is_passed_over(tmp_path):
    extra = {"__MACOSX/data/._a.txt": b"", "data/.DS_Store": b"", "Thumbs.db": b""}
    assert list(open_source(write_zip(tmp_path / "in.zip", FILES | extra)).sizes) == sorted(FILES)


def test_a_bomb_is_refused_from_its_headers(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", os.urandom(10**6) * 10)
        archive.infolist()[0].file_size = 10 * 2**30
    with pytest.raises(DataError, match=r"'bomb.txt' unpacks from 10.00 MB to 10737 MB.*bomb") as caught:
        open_source(path)
    assert "\n" not in str(caught.value)


def test_many_small_bombs_and_sheer_size_are_refused(tmp_path):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(100):
            archive.writestr(f"{k}.txt", b"")
            archive.infolist()[k].file_size = 10**8
    with pytest.raises(DataError, match="bomb"):
        open_source(path)
    with pytest.raises(DataError, match="more than the limit"):
        open_source(write_zip(tmp_path / "in.zip"), max_bytes=1000)
    with pytest.raises(DataError, match="more than the limit"):
        open_source(write_tar(tmp_path / "in.tar"), max_bytes=1000)


def test_a_bomb_in_a_tar_is_refused_before_it_is_unpacked(tmp_path):
    entry = tarfile.TarInfo("bomb.txt")
    entry.size = 10**15
    for name, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        (tmp_path / name).write_bytes(pack(entry.tobuf() + bytes(5000)))
        with pytest.raises(DataError, match=r"more than the limit of 200.0 GB"):
            open_source(tmp_path / name)
        with pytest.raises(DataError, match="bomb"):
            open_source(tmp_path / name, max_bytes=10**16)


def test_a_header_that_claims_gigabytes_for_a_name_is_refused(tmp_path):
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 8 * 10**9
    (tmp_path / "in.tar").write_bytes(entry.tobuf() + bytes(5000))
    with pytest.raises(DataError, match="a header claims 8000000000 bytes"):
        open_source(tmp_path / "in.tar")


def test_a_zip_member_larger_than_its_header_says_is_refused_while_it_is_read(tmp_path):
    path = tmp_path / "in.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.txt", bytes(64 * 2**20))
        archive.infolist()[0].file_size = 1000
    source = open_source(path)
    assert source.total_bytes == 1000
    with (
        pytest.raises(DataError, match=r"'bomb.txt' in it is damaged or truncated"),
        source.reader(tmp_path).files({"x": "bomb.txt"}),
    ):
        pytest.fail("must not be readable")


def test_copies_stop_at_the_stated_size(tmp_path):
    target = io.BytesIO()
    with pytest.raises(DataError, match="larger than the 1000 bytes"):
        archive_checks.copy_exactly(io.BytesIO(bytes(5 * 2**20)), target, 1000, tmp_path, "member")
    assert len(target.getvalue()) == 0
    with pytest.raises(DataError, match="truncated"):
        archive_checks.copy_exactly(io.BytesIO(b"12"), target, 3, tmp_path, "member")


def test_encrypted_and_unusual_zips_are_refused(tmp_path):
    path = write_zip(tmp_path / "in.zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "encrypted.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"'top.txt' is encrypted"):
        open_source(tmp_path / "encrypted.zip")
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x", b"x")
    with pytest.raises(DataError, match="method 14"):
        open_source(tmp_path / "lzma.zip")


@pytest.mark.parametrize("name", ["in.zip", "in.tar", "in.tar.gz", "in.tar.bz2", "in.tar.xz"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_truncated_archives_are_one_clear_error(tmp_path, name, share):
    path = KINDS[name](tmp_path / name)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data.rstrip(b"\0")) * share)])
    with pytest.raises(DataError, match=r"truncated|damaged|no zip, tar or folder") as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_tar_cut_between_two_members_is_noticed(tmp_path):
    path = write_tar(tmp_path / "in.tar", {"a": b"x" * 512, "b": b"y" * 512})
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(DataError, match="end mark is missing"):
        open_source(path)


def test_a_damaged_zip_member_is_one_clear_error(tmp_path):
    path = write_zip(tmp_path / "in.zip", {"a.txt": os.urandom(5000)})
    data = bytearray(path.read_bytes())
    data[2000] ^= 255
    path.write_bytes(data)
    source = open_source(path)
    with (
        pytest.raises(DataError, match=r"'a.txt' in it is damaged"),
        source.reader(tmp_path).files({"a": "a.txt"}),
    ):
        pytest.fail("must not be readable")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x89PNG\r\n" + bytes(600), gzip.compress(b"hello")],
    ids=["empty", "text", "picture", "gzip"],  # gzip's bytes hold the time: processes that share the tests would differ
)
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "in").write_bytes(content)
    with pytest.raises(DataError, match="is no zip, tar or folder"):
        open_source(tmp_path / "in")
    with pytest.raises(DataError, match="no such file or folder"):
        open_source(tmp_path / "none")


def test_a_folder_that_cannot_be_read_is_one_clear_error(tmp_path, monkeypatch):
    write_folder(tmp_path / "in")
    listing = os.scandir

    def scandir(path):
        if Path(path).name == "data":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"in/data: cannot be read \(Permission denied\)"):
        open_source(tmp_path / "in")


def test_too_little_space_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 90, 10))
    with pytest.raises(DataError, match=r"needs about 5.0 GB, the disk has 0.0 GB free"):
        check_space(tmp_path / "not/there/yet", 5 * 10**9)
    check_space(tmp_path / "not/there/yet", 10)
