from pathlib import Path

import pytest
from data_folders import CAMERA, SEQUENCES, labelled_sample, unlabelled_frame

from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.layout.samples import LabelledSample
from hdnet.data.store import shards


@pytest.fixture
def sample() -> LabelledSample:
    return labelled_sample("0000003", seed=3)


@pytest.fixture
def tang(tmp_path: Path) -> TangFolder:
    """Three labelled samples."""
    folder = TangFolder(tmp_path / "Tang_data")
    names = ["0000000", "0000001", "0000002"]
    for seed, name in enumerate(names):
        folder.write(labelled_sample(name, seed))
    folder.write_meta(dict.fromkeys(names, CAMERA))
    return folder


@pytest.fixture
def tiktok(tmp_path: Path) -> TikTokFolder:
    """Seven frames of two sequences."""
    folder = TikTokFolder(tmp_path / "tiktok_data")
    names = [name for members in SEQUENCES.values() for name in members]
    for sequence, members in SEQUENCES.items():
        for name in members:
            folder.write(unlabelled_frame(name, sequence, seed=int(name)))
    folder.write_meta(dict.fromkeys(names, CAMERA), SEQUENCES)
    return folder


@pytest.fixture
def two_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed folders of two records a file, so that three make two files."""
    monkeypatch.setattr(shards, "SHARD_RECORDS", 2)
