"""The network's maps of frames: packed files, and pictures that are shrunk before the network sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from red_person import Figure, RedPerson, paint

from hdnet.models.lite import PersonMaps
from hdnet.video.looks import PackedLook, look_at, read_looks, shrink_for, write_looks
from hdnet.video.survey import Survey


def look_of(seed: int) -> PackedLook:
    rng = np.random.default_rng(seed)
    inside = rng.random((256, 256)) < 0.3 + 0.1 * seed
    support = inside | (rng.random((256, 256)) < 0.1)
    count = int(support.sum())
    return PackedLook(
        square=rng.random(3),
        inside=inside,
        support=support,
        probability=rng.integers(0, 256, count).astype(np.uint8),
        relief=rng.random(count).astype(np.float16),
        normals=rng.random((count, 3)).astype(np.float16),
        log_kappa=rng.random(count).astype(np.float16),
        parts=rng.integers(0, 25, (64, 64)).astype(np.uint8),
        uv=rng.integers(0, 256, (2, 64, 64)).astype(np.uint8),
        log_scale=np.array(rng.random()),
        grey=rng.integers(0, 256, (128, 128)).astype(np.uint8),
    )


def test_looks_come_back_as_they_were_those_of_a_part_alone(tmp_path: Path) -> None:
    looks = {position: look_of(number) for number, position in enumerate((32, 34, 35, 50))}
    write_looks(tmp_path / "a.npz", looks)
    found = dict(read_looks(tmp_path / "a.npz", range(33, 50)))
    assert list(found) == [34, 35]
    for position, look in found.items():
        for name, value in vars(looks[position]).items():
            assert getattr(look, name).dtype == value.dtype, name
            np.testing.assert_array_equal(getattr(look, name), value, err_msg=name)


def test_a_chunk_without_the_person_is_an_empty_file(tmp_path: Path) -> None:
    write_looks(tmp_path / "a.npz", {})
    assert list(read_looks(tmp_path / "a.npz", range(9))) == []


def test_a_shrunk_picture_shows_the_network_the_same_square() -> None:
    def look(inputs_4hw: np.ndarray) -> PersonMaps:
        return RedPerson()(torch.from_numpy(inputs_4hw[None]))

    picture = np.kron(paint(Figure(80)), np.ones((4, 4, 1), np.uint8))
    small = paint(Figure(80))
    row, column = np.nonzero((picture[..., 0] > 150) & (picture[..., 1] < 100))
    box = (float(column.min()), float(row.min()), float(column.max()), float(row.max()))
    large_look, small_look = look_at(picture, box, look), look_at(small, box, look, 4)
    assert isinstance(large_look, PackedLook)
    assert isinstance(small_look, PackedLook)
    np.testing.assert_allclose(small_look.square, large_look.square)
    assert (small_look.inside != large_look.inside).mean() < 0.02


@pytest.mark.parametrize(
    ("width", "height", "person_px", "shrink"),
    [(1920, 1080, 900, 2), (1920, 1080, 300, 1), (960, 540, 500, 1), (3840, 2160, 1900, 4), (3840, 2160, 900, 1)],
)
def test_pictures_are_shrunk_where_more_pixels_are_left_than_the_network_has(
    width: int, height: int, person_px: float, shrink: int
) -> None:
    survey = Survey(width, height, [0], [0.0], [0], [], 5, [])
    boxes = [(0.0, 0.0, person_px / 3, person_px), (0.0, 0.0, 400.0, 1.1 * person_px)]
    assert shrink_for(survey, boxes) == shrink
    assert shrink_for(survey, []) == 1
