"""The original's training data, made up, as it lies on disk and as our data sets hand it to the networks."""

import tarfile
from pathlib import Path

import pytest

from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.store.datasets import LabelledDataset, PairDataset
from hdnet.data.store.packed import (
    PackedFrames,
    PackedLabelled,
    PseudoNormals,
    pack_tang,
    pack_tiktok,
    write_pseudo_normals,
)

_ARCHIVE = Path(__file__).parent / "data" / "training_data.tar.xz"


@pytest.fixture(scope="session")
def training_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds ``Tang_data`` and ``tiktok_data`` (see ``parity_figures``), unpacked once."""
    folder = tmp_path_factory.mktemp("original")
    with tarfile.open(_ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "training_data"


@pytest.fixture(scope="session")
def original_labelled(training_data: Path, tmp_path_factory: pytest.TempPathFactory) -> LabelledDataset:
    """Frames 0, 1, 3, 4, 5 of ``Tang_data``, packed."""
    packed = tmp_path_factory.mktemp("packed") / "labelled"
    pack_tang(training_data / "Tang_data", packed)
    return LabelledDataset(PackedLabelled(packed))


@pytest.fixture(scope="session")
def original_pairs(training_data: Path, tmp_path_factory: pytest.TempPathFactory) -> PairDataset:
    """The pairs of ``tiktok_data`` with the normals that are stored there, packed."""
    packed = tmp_path_factory.mktemp("packed")
    folder = TikTokFolder(training_data / "tiktok_data")
    pack_tiktok(folder.root, packed / "frames")
    frames = PackedFrames(packed / "frames")
    write_pseudo_normals(
        packed / "normals", frames, lambda numbers: (folder.read_pred_normals(frames.names[k]) for k in numbers)
    )
    return PairDataset(frames, PseudoNormals(packed / "normals"), folder.root / "correspondences")
