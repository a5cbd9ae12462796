"""Groups of pixels by hand."""

import numpy as np
import pytest

from hdnet.evaluation.breakdown import PARTS_OF_GROUP, fact_groups, group_metrics, part_groups, view_groups
from hdnet.geometry import Camera


def test_every_part_belongs_to_one_group():
    parts = [part for group in PARTS_OF_GROUP.values() for part in group]

    assert sorted(parts) == list(range(25))


def test_groups_of_parts_that_are_seen():
    part = np.array([[0, 1, 2, 23], [3, 3, 5, 5]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)

    found = part_groups(part, mask)

    assert {name: int(where.sum()) for name, where in found.items()} == {
        "part_torso": 2, "part_hands": 2, "part_head": 1, "part_none": 1,
    }  # fmt: skip


def test_view_angles_are_against_the_ray_not_the_axis():
    # The ray of the last column leaves at 45 degrees: a wall that faces the axis is seen under 45 degrees there.
    camera = Camera(4, 4, 0, 0)
    tilted = [-np.sin(np.radians(59)), 0, -np.cos(np.radians(59))]
    edge_on = [1.0, 0, 0]
    normals = np.array([[[0, 0, -1.0], tilted, edge_on, [0, 0, 0], [0, 0, -1.0]]])

    found = view_groups(normals, np.ones((1, 5), bool), camera)

    # Column 1 leaves at atan(1/4) = 14 degrees towards +x, the normal leans to -x: 59 - 14 = 45.
    assert {name: np.flatnonzero(where[0]).tolist() for name, where in found.items()} == {
        "view_00_30": [0], "view_30_60": [1, 4], "view_60_90": [2],
    }  # fmt: skip


def test_the_bins_end_at_30_and_60():
    def leaning(angle_deg):
        return [np.sin(np.radians(angle_deg)), 0, -np.cos(np.radians(angle_deg))]

    normals = np.array([[leaning(29.9)], [leaning(30.1)], [leaning(59.9)], [leaning(60.1)], [leaning(95)]])

    found = view_groups(normals, np.ones((5, 1), bool), Camera(1e9, 1e9, 0, 0))

    assert [int(found[name].sum()) for name in ("view_00_30", "view_30_60", "view_60_90")] == [1, 2, 2]


def test_errors_within_groups_after_one_shift_of_the_whole_person():
    mask = np.array([[1, 1, 1, 1, 0]], bool)
    true = np.array([[4.0, 4.0, 4.0, 5.0, 0]])
    pred = np.array([[2.0, 2.0, 2.1, 3.5, 9]])  # median 2.05, shifted by 1.95: 3.95 3.95 4.05 5.45
    normals = np.array([[[0, 0, -1.0]] * 5])
    true_normals = np.array([[[0, 0, -1.0], [1.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]])
    groups = {"left": np.array([[1, 1, 0, 0, 0]], bool), "right": np.array([[0, 0, 1, 1, 0]], bool)}

    found = group_metrics(groups, pred, true, mask, normals, true_normals)

    assert found["left"] == pytest.approx({"depth_mae_mm": 50, "share_pct": 50, "normal_mean_deg": 45})
    assert found["right"] == pytest.approx({"depth_mae_mm": 250, "share_pct": 50})
    assert "normal_mean_deg" not in group_metrics(groups, pred, true, mask, normals, None)["left"]


def test_groups_make_up_the_whole():
    chance = np.random.default_rng(0)
    mask = chance.uniform(size=(20, 20)) < 0.8
    true, pred = chance.uniform(3, 5, (2, 20, 20))
    normals, true_normals = chance.normal(size=(2, 20, 20, 3))

    found = group_metrics(part_groups(chance.integers(0, 25, (20, 20)), mask), pred, true, mask, normals, true_normals)

    whole = 1000 * np.abs(pred[mask] - np.median(pred[mask]) + np.median(true[mask]) - true[mask]).mean()
    assert sum(row["share_pct"] for row in found.values()) == pytest.approx(100)
    assert sum(row["share_pct"] / 100 * row["depth_mae_mm"] for row in found.values()) == pytest.approx(whole)


def test_groups_of_pictures_by_what_is_known_of_them():
    facts = np.zeros(7, [("age", "f4"), ("clothes", "U20"), ("furniture", "f4"), ("seed", "f4")])
    facts["age"] = [np.nan, 6, 5, 4, 3, 2, 1]
    facts["clothes"] = ["shirt skirt", "shirt", "", "dress", "shirt", "dress", "shirt"]
    facts["furniture"][2:4] = 1
    found = fact_groups(facts)
    assert list(found) == ["age", "clothes", "furniture"]
    assert {name: np.flatnonzero(where).tolist() for name, where in found["clothes"].items()} == {
        "dress": [3, 5], "shirt": [0, 1, 4, 6], "skirt": [0],
    }  # fmt: skip
    assert {name: np.flatnonzero(where).tolist() for name, where in found["furniture"].items()} == {
        "0": [0, 1, 4, 5, 6], "1": [2, 3],
    }  # fmt: skip
    # Thirds of 1..6 end at 2.67 and 4.33; the picture without an age is in none.
    assert {name: np.flatnonzero(where).tolist() for name, where in found["age"].items()} == {
        "1 to 2.67": [5, 6], "2.67 to 4.33": [3, 4], "4.33 to 6": [1, 2],
    }  # fmt: skip
