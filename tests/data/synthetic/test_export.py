from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hdnet.data.layout import TangFolder, TikTokFolder
from hdnet.data.samples import LabelledSample, UnlabelledFrame
from hdnet.data.synthetic import SyntheticSpec, export, synthesize
from hdnet.errors import DataError


def test_folders_hold_what_was_generated(
    tmp_path: Path, seed: int, stills: list[LabelledSample], frames: list[UnlabelledFrame]
) -> None:
    calls: list[tuple[int, int]] = []
    counts = synthesize(
        tmp_path / "data",
        SyntheticSpec(2, 1, 4, seed),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert (counts.stills, counts.sequences, counts.frames) == (2, 1, 4)
    assert calls == [(1, 3), (2, 3), (3, 3)]
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


def test_foreign_files_are_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r"thesis\.tex"):
        synthesize(tmp_path, SyntheticSpec(1, 0, 0, 0))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        synthesize(tmp_path / "file", SyntheticSpec(1, 0, 0, 0))


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "data" / "Tang_data"
    old.mkdir(parents=True)

    def broken(*_: object) -> None:
        raise ValueError("no such bone")

    monkeypatch.setattr(export, "make_still", broken)
    with pytest.raises(DataError, match="no such bone"):
        synthesize(tmp_path / "data", SyntheticSpec(1, 0, 0, 0))
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]
    assert old.is_dir()
