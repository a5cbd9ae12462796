from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hdnet.errors import ModelError
from hdnet.models.identity import ModelIdentity
from hdnet.tracking.model_cache import KEPT_VERSIONS, ModelCache, is_cached

FILE = "model.bin"
URI = "models:/hdnet@champion"


def version(number: int, run_id: str = "run") -> ModelIdentity:
    return ModelIdentity("hdnet", str(number), "champion", f"{run_id}{number}")


class Remote:
    """Counts what is fetched from it."""

    def __init__(self, content: bytes = b"weights") -> None:
        self.content, self.fetches = content, 0

    def __call__(self, folder: Path) -> None:
        self.fetches += 1
        (folder / FILE).write_bytes(self.content)


@pytest.fixture
def make_cache(tmp_path: Path) -> Callable[..., ModelCache]:
    def make(registry: str = "http://registry") -> ModelCache:
        return ModelCache(tmp_path / "cache", registry, FILE)

    return make


def test_a_version_is_fetched_once_by_all_who_share_the_folder(make_cache: Callable[..., ModelCache]) -> None:
    remote = Remote()
    folders = {make_cache().get(version(1), remote) for _ in range(3)}
    assert remote.fetches == 1
    assert (folders.pop() / FILE).read_bytes() == b"weights"
    assert not folders


def test_other_registries_versions_and_runs_are_other_models(make_cache: Callable[..., ModelCache]) -> None:
    remote = Remote()
    for cache in (make_cache(), make_cache("http://other")):
        for identity in (version(1), version(2), version(1, "made anew ")):
            cache.get(identity, remote)
    assert remote.fetches == 6


def test_a_file_that_changed_on_disk_is_fetched_again(
    make_cache: Callable[..., ModelCache], caplog: pytest.LogCaptureFixture
) -> None:
    cache, remote = make_cache(), Remote()
    folder = cache.get(version(1), remote)
    (folder / FILE).write_bytes(b"weighty")
    assert (cache.get(version(1), remote) / FILE).read_bytes() == b"weights"
    assert remote.fetches == 2
    assert "SHA-256" in caplog.text


def test_a_download_that_breaks_leaves_nothing(make_cache: Callable[..., ModelCache], tmp_path: Path) -> None:
    def breaks(folder: Path) -> None:
        (folder / FILE).write_bytes(b"wei")
        raise ModelError("connection lost")

    with pytest.raises(ModelError, match="connection lost"):
        make_cache().get(version(1), breaks)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_two_at_once_both_get_the_whole_file(make_cache: Callable[..., ModelCache]) -> None:
    together = threading.Barrier(2)

    def slow(folder: Path) -> None:
        (folder / FILE).write_bytes(b"weights")
        together.wait(10)  # both fetch, one comes second

    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: make_cache().get(version(1), slow), range(2)))
    assert folders[0] == folders[1]
    assert (folders[0] / FILE).read_bytes() == b"weights"


def test_the_last_good_version(make_cache: Callable[..., ModelCache]) -> None:
    cache = make_cache()
    assert cache.last_good(URI) is None
    for number in (1, 2):
        cache.get(version(number), Remote(b"weights %d" % number))
        cache.remember(URI, version(number))
    kept = make_cache().last_good(URI)
    assert kept is not None
    assert kept.identity == version(2)
    assert (kept.folder / FILE).read_bytes() == b"weights 2"
    assert cache.last_good("models:/hdnet@challenger") is None
    assert make_cache("http://other").last_good(URI) is None


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"?"), Path.unlink])
def test_a_damaged_last_good_version_is_none(
    make_cache: Callable[..., ModelCache], damage: Callable[[Path], object]
) -> None:
    cache = make_cache()
    folder = cache.get(version(1), Remote())
    cache.remember(URI, version(1))
    damage(folder / FILE)
    assert cache.last_good(URI) is None


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"identity": {"name": "x"}}'])
def test_a_damaged_note_is_none_and_says_so(
    make_cache: Callable[..., ModelCache], tmp_path: Path, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make_cache()
    cache.get(version(1), Remote())
    cache.remember(URI, version(1))
    (pointer,) = tmp_path.rglob("last_good/*.json")
    pointer.write_text(note)
    assert cache.last_good(URI) is None
    assert str(pointer) in caplog.text


def test_old_versions_go_but_not_what_served_last(make_cache: Callable[..., ModelCache]) -> None:
    cache = make_cache()
    cache.get(version(0), Remote())
    cache.remember(URI, version(0))
    for number in range(1, KEPT_VERSIONS + 3):
        newest = cache.get(version(number), Remote())
    assert len([entry for entry in newest.parent.iterdir() if entry.is_dir()]) == KEPT_VERSIONS + 1
    assert cache.last_good(URI) is not None
    again = Remote()
    cache.get(version(KEPT_VERSIONS + 2), again)
    assert again.fetches == 0


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    cache = ModelCache(tmp_path / "cache", "http://registry", FILE)
    for call in (lambda: cache.get(version(1), Remote()), lambda: cache.remember(URI, version(1))):
        with pytest.raises(ModelError, match=r"cache: cannot keep models \(.*HDNET_CACHE_DIR"):
            call()


def test_the_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path / "named"))
    assert ModelCache(None, "http://registry", FILE).folder == tmp_path / "named"
    monkeypatch.delenv("HDNET_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ModelCache(None, "http://registry", FILE).folder == tmp_path / ".cache/hdnet/models"


def test_a_home_that_cannot_be_written_costs_downloads_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    monkeypatch.delenv("HDNET_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert not is_cached(None)
    assert not caplog.text
    caches = [ModelCache(None, "registry", "hdnet.safetensors") for _ in range(2)]
    assert caches[0].folder == caches[1].folder
    assert caches[0].folder.parent == tmp_path
    assert caplog.text.count("this process keeps models for itself; set HDNET_CACHE_DIR") == 1
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ModelCache(None, "registry", "hdnet.safetensors").folder == tmp_path / ".cache/hdnet/models"


def test_a_registry_that_moved_is_known_by_its_address(make_cache: Callable[..., ModelCache]) -> None:
    old, new = make_cache("http://old"), make_cache("http://new")
    assert old.served_elsewhere(URI) is None
    old.remember(URI, version(1))
    assert old.served_elsewhere(URI) is None
    assert new.served_elsewhere(URI) == "http://old"
    assert new.served_elsewhere("models:/hdnet@challenger") is None
    (pointer,) = old.folder.glob("*/last_good/*.json")
    pointer.write_text("damaged")
    assert new.served_elsewhere(URI) is None
