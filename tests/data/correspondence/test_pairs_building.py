import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from data_folders import unlabelled_frame

from hdnet.data.correspondence.frames import match_folder
from hdnet.data.layout.folders import TikTokFolder
from hdnet.errors import DataError
from hdnet.params import CorrespondParams

RULE = CorrespondParams(partners=2, min_matches=10, min_parts=4)
TEXT_RULE = RULE.model_copy(update={"text_files": True})
NAMES = [f"{k:07d}" for k in range(12)]
BATCH = 3
# Kills its own process while the third batch is matched.
KILLED = """
import os, signal, sys
from pathlib import Path
from hdnet.data.correspondence import building as pairs_building
from hdnet.data.correspondence.frames import match_folder
from hdnet.params import CorrespondParams
from hdnet.data.layout.folders import TikTokFolder

pairs_building.BATCH_FRAMES = 3
real = TikTokFolder.read_iuv_and_mask

def read(self, name):
    if name == "0000010":
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, name)

TikTokFolder.read_iuv_and_mask = read
rule = CorrespondParams(partners=2, min_matches=10, min_parts=4, text_files=True)
match_folder(TikTokFolder(Path(sys.argv[1])), Path(sys.argv[2]), rule)
"""


@pytest.fixture
def frames(tmp_path, monkeypatch) -> TikTokFolder:
    """Twelve frames, four batches."""
    monkeypatch.setattr("hdnet.data.correspondence.building.BATCH_FRAMES", BATCH)
    folder = TikTokFolder(tmp_path / "tiktok_data")
    for k, name in enumerate(NAMES):
        folder.write(unlabelled_frame(name, "a", seed=k))
    return folder


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the frames that are read from now on."""
    names: list[str] = []
    real = TikTokFolder.read_iuv_and_mask
    monkeypatch.setattr(TikTokFolder, "read_iuv_and_mask", lambda self, name: names.append(name) or real(self, name))
    return names


def everything(folder) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(frames, tmp_path, read):
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", KILLED, frames.root, out], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    match_folder(frames, out, TEXT_RULE)
    assert "0000000" not in read
    assert "0000011" in read
    match_folder(frames, tmp_path / "whole", TEXT_RULE)
    assert everything(out) == everything(tmp_path / "whole")
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def interrupted(frames: TikTokFolder, out, rule=RULE) -> None:
    """A run that fails at the last frame, which is whole again afterwards."""
    last = frames.png("densepose", NAMES[-1])
    content = last.read_bytes()
    last.write_bytes(content[:50])
    with pytest.raises(DataError, match=rf"densepose/{NAMES[-1]}\.png"):
        match_folder(frames, out, rule)
    last.write_bytes(content)


def test_only_what_has_changed_is_matched_again(frames, tmp_path, read):
    interrupted(frames, tmp_path / "out")
    read.clear()
    # The second batch has this frame, and the first as a partner.
    mask = frames.png("mask", "0000004")
    os.utime(mask, ns=(1, 1))
    match_folder(frames, tmp_path / "out", RULE)
    assert read[0] == "0000000"
    assert "0000004" in read
    read.clear()
    interrupted(frames, tmp_path / "again")
    read.clear()
    match_folder(frames, tmp_path / "again", RULE)
    assert min(read) > "0000004"


@pytest.mark.parametrize(
    "rule", [CorrespondParams(partners=1, min_matches=10, min_parts=4), TEXT_RULE], ids=["one partner", "text files"]
)
def test_other_settings_begin_again_and_leave_nothing_behind(frames, tmp_path, rule):
    interrupted(frames, tmp_path / "out", CorrespondParams(partners=3, min_matches=10, min_parts=4, text_files=True))
    match_folder(frames, tmp_path / "out", rule)
    match_folder(frames, tmp_path / "fresh", rule)
    assert everything(tmp_path / "out") == everything(tmp_path / "fresh")


def test_a_damaged_shard_of_an_interrupted_run_is_made_again(frames, tmp_path):
    interrupted(frames, tmp_path / "out")
    shard = tmp_path / ".out.partial" / "rows-00000.npy"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 255
    shard.write_bytes(content)
    match_folder(frames, tmp_path / "out", RULE)
    match_folder(frames, tmp_path / "fresh", RULE)
    assert everything(tmp_path / "out") == everything(tmp_path / "fresh")


def test_batches_do_not_change_what_is_matched(frames, tmp_path, monkeypatch):
    match_folder(frames, tmp_path / "small", RULE)
    monkeypatch.setattr("hdnet.data.correspondence.building.BATCH_FRAMES", 256)
    match_folder(frames, tmp_path / "large", RULE)
    small, large = ([np.load(file) for file in sorted((tmp_path / name).glob("rows-*"))] for name in ("small", "large"))
    assert (len(small), len(large)) == (4, 1)
    np.testing.assert_array_equal(np.concatenate(small), large[0])
    for name in ("pairs.npy", "offsets.npy", "overlap.npy", "turn_deg.npy"):
        np.testing.assert_array_equal(np.load(tmp_path / "small" / name), np.load(tmp_path / "large" / name))
