"""Compressed records of people: each label comes back as it was, within the steps that the format states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data_folders import CAMERA, HEIGHT, WIDTH, person_picture

from hdnet.data.layout.folders import TangFolder
from hdnet.data.store.datasets import LabelledDataset, collate
from hdnet.data.store.packed import PackedLabelled, open_packed, open_people, pack_tang, pack_together
from hdnet.data.store.people import PackedPeople, Piece, join_pieces, table_of_facts
from hdnet.data.store.person_record import PersonPicture, encode
from hdnet.errors import DataError

LABELS = ("mask", "vui", "depth_m", "normals", "shift_m")


def angles_deg(stored: np.ndarray, true: np.ndarray) -> np.ndarray:
    """By the chord, which is exact for small angles, where the cosine is not."""
    unit = stored / np.linalg.norm(stored, axis=-1, keepdims=True)
    return np.degrees(2 * np.arcsin(np.linalg.norm(unit - true, axis=-1) / 2))


def packed_people(folder: Path, pictures: list[PersonPicture], count: int = 2) -> PackedPeople:
    """Each picture is of another person."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [Piece.written(folder / f"{k}.bin", [picture]) for k, picture in enumerate(pictures)]
    notes = folder.with_name("notes")
    notes.mkdir()
    join_pieces(folder, notes, pieces, count)
    return PackedPeople(folder)


@pytest.fixture
def pictures() -> list[PersonPicture]:
    return [person_picture(f"{k:07d}", k, k, 1.0 + k) for k in range(5)]


def test_labels_come_back(tmp_path, pictures):
    packed = packed_people(tmp_path / "people", pictures)
    assert (len(packed), packed.names) == (5, [f"{k:07d}" for k in range(5)])
    assert (packed.empty, packed.people.tolist()) == (0, [0, 1, 2, 3, 4])
    assert packed.camera(3) == CAMERA
    for k, picture in enumerate(pictures):
        sample, record = picture.sample, packed.record(k, (*LABELS, *packed.more_fields))
        inside = sample.mask
        np.testing.assert_array_equal(record["mask"][0], inside)
        np.testing.assert_array_equal(record["vui"], sample.iuv[..., ::-1].transpose(2, 0, 1))
        np.testing.assert_array_equal(record["coverage"][0], picture.coverage)
        np.testing.assert_allclose(record["canonical_m"].transpose(1, 2, 0), picture.canonical_m, atol=1.01e-3)
        true_m = (record["depth_m"] - record["shift_m"])[0][inside]
        np.testing.assert_allclose(true_m, sample.depth_m[inside] * picture.distance_m / 4, rtol=2e-5)
        assert np.median(record["depth_m"][0][inside]) == pytest.approx(4, abs=1e-4)
        assert not record["depth_m"][0][~inside].any()
        assert angles_deg(record["normals"].transpose(1, 2, 0)[inside], sample.normals[inside]).max() < 0.06


def test_pictures_are_jpeg_and_white_outside_the_mask(tmp_path):
    smooth = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8)[None, :, None], (HEIGHT, 1, 3))
    picture = person_picture("0000000")
    picture = replace(picture, sample=replace(picture.sample, image=smooth))
    record = packed_people(tmp_path / "people", [picture]).record(0, ("scene", "white_image"))
    assert np.abs(record["scene"].transpose(1, 2, 0) - smooth.astype(float)).max() <= 4
    mask = picture.sample.mask
    np.testing.assert_array_equal(record["white_image"][:, mask], record["scene"][:, mask])
    assert (record["white_image"][:, ~mask] == 255).all()


def test_normals_of_every_direction_come_back(tmp_path):
    """Also those that face away, along axes and on the folds of the octahedron."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(HEIGHT * WIDTH, 3))
    axes = np.concatenate([np.eye(3), -np.eye(3), [[1, 1, 0], [-1, 1, 0], [0, 1, -1], [-1, 0, 1]]])
    normals[: len(axes)] = axes
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    picture = person_picture("0000000")
    everywhere = np.ones((HEIGHT, WIDTH), bool)
    sample = replace(
        picture.sample,
        mask=everywhere,
        depth_m=np.full((HEIGHT, WIDTH), 4, np.float32),
        normals=normals.reshape(HEIGHT, WIDTH, 3).astype(np.float32),
    )
    found = packed_people(tmp_path / "people", [replace(picture, sample=sample)]).record(0, ("normals",))["normals"]
    found = found.reshape(3, -1).T
    assert angles_deg(found, normals).max() < 0.06
    np.testing.assert_array_equal(found[:6], 32767 * axes[:6])


def test_a_picture_of_nobody_is_a_record_too(tmp_path, pictures):
    packed = packed_people(tmp_path / "people", [pictures[0], person_picture("0000001", 1, 1, distance_m=0)])
    assert packed.empty == 1
    record = packed.record(1, (*LABELS, *packed.more_fields))
    assert not any(record[name].any() for name in (*LABELS, *packed.more_fields))
    item = LabelledDataset(packed, scenes=True)[1]
    assert not item["other_mask"].any()
    assert (item["other_scene"] == item["scene"]).all()
    with pytest.raises(DataError, match=r"1 pictures show nobody, which only model\.network: lite"):
        LabelledDataset(packed)


def test_batches_are_those_of_a_packed_text_folder(tmp_path):
    """Both folders give the same batch where the true distance is that of the text layout."""
    pictures = [person_picture(f"{k:07d}", k, k, 4.0) for k in range(3)]
    folder = TangFolder(tmp_path / "Tang_data")
    for picture in pictures:
        folder.write(picture.sample)
    folder.write_meta({picture.sample.name: CAMERA for picture in pictures})
    pack_tang(folder.root, tmp_path / "text")
    one = collate([LabelledDataset(open_people(tmp_path / "text"), scenes=True)[k] for k in range(3)])
    people = packed_people(tmp_path / "people", pictures)
    other = collate([LabelledDataset(open_people(people.folder), scenes=True)[k] for k in range(3)])
    assert set(one) == set(other)
    for name in ("mask", "vui", "camera", "other_mask"):
        assert (one[name] == other[name]).all()
    assert (one["depth_m"] - other["depth_m"]).abs().max() < 2e-4
    assert (one["normals"].float() - other["normals"].float()).abs().max() < 32
    assert all(one[name].dtype == other[name].dtype and one[name].shape == other[name].shape for name in one)


def test_facts_are_a_table(tmp_path, pictures):
    facts = packed_people(tmp_path / "people", pictures).facts
    assert facts["light"].tolist() == ["window", "sun", "window", "sun", "window"]
    np.testing.assert_allclose(facts["height_m"], [1.5, 1.6, 1.7, 1.8, 1.9], rtol=1e-6)
    table = table_of_facts([{"pose": "seated"}, {"roll_deg": 3.0}])
    assert table["pose"].tolist() == ["seated", ""]
    np.testing.assert_array_equal(table["roll_deg"], [np.nan, 3])


def test_damage_is_named(tmp_path, pictures):
    packed = packed_people(tmp_path / "people", pictures)
    file = packed.folder / "rows-00001.npy"
    content = bytearray(file.read_bytes())
    content[-40:] = bytes(40)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"rows-00001.npy: SHA-256 is .* make the people again"):
        packed.verify()
    with pytest.raises(DataError, match=r"rows-00001.npy: record 0000003 is damaged .* make the people again"):
        packed.record(3, ("canonical_m",))


def test_depth_beyond_the_format_is_refused():
    picture = person_picture("0000000")
    depth_m = picture.sample.depth_m.copy()
    depth_m[picture.sample.mask.nonzero()[0][0], picture.sample.mask.nonzero()[1][0]] = 40
    with pytest.raises(DataError, match=r"depth from .* to 25\.00 m; expected"):
        encode(replace(picture, sample=replace(picture.sample, depth_m=depth_m)))


def test_a_packed_folder_takes_its_place_beside_others(tmp_path, pictures):
    people = packed_people(tmp_path / "people", pictures)
    pack_together({"labelled": people.folder}, tmp_path / "packed", progress=False, jobs=1)
    linked = open_packed(tmp_path / "packed/labelled")
    assert isinstance(linked, PackedPeople)
    assert linked.digest == people.digest
    linked.verify()
    with pytest.raises(DataError, match="a packed folder of kind people, expected labelled"):
        PackedLabelled(people.folder)
