import numpy as np
import pytest

from hdnet.data.correspondence.matching import choose_pairs, match, usable
from hdnet.data.layout.correspondences import Correspondences
from hdnet.errors import DataError
from hdnet.params import CorrespondParams


def random_iuv(seed: int, parts: int = 4, shape: tuple[int, int] = (20, 14)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    part = rng.integers(0, parts + 1, shape)
    return np.stack([part, rng.integers(0, 60, shape), rng.integers(0, 60, shape)], axis=-1).astype(np.uint8)


def brute_force(iuv_i: np.ndarray, iuv_j: np.ndarray, max_distance: float) -> dict[tuple[int, int, int], float]:
    """Distance to the nearest pixel of the same part, by (part, row, column) of frame i."""
    nearest = {}
    for row, column in np.ndindex(iuv_i.shape[:2]):
        part, u, v = (int(k) for k in iuv_i[row, column])
        same = iuv_j[iuv_j[..., 0] == part].astype(float)
        if part and len(same):
            distance = np.sqrt((same[:, 1] - u) ** 2 + (same[:, 2] - v) ** 2).min()
            if distance < max_distance:
                nearest[part, row + 1, column + 1] = distance
    return nearest


@pytest.mark.parametrize("seed", range(4))
def test_match_agrees_with_brute_force(seed):
    iuv_i, iuv_j = random_iuv(seed), random_iuv(seed + 100, shape=(17, 23))
    expected = brute_force(iuv_i, iuv_j, 7.0)
    found = match(iuv_i, iuv_j, CorrespondParams(max_distance=7.0, min_matches=1))
    assert {tuple(row[:3]) for row in found.rows.tolist()} == set(expected)
    assert len(found.rows) == len(expected)
    assert 30 < len(expected) < (iuv_i[..., 0] > 0).sum()
    for part, r1, c1, r2, c2 in found.rows.tolist():
        here, there = iuv_i[r1 - 1, c1 - 1].astype(float), iuv_j[r2 - 1, c2 - 1].astype(float)
        assert here[0] == there[0] == part
        assert np.hypot(*(here - there)[1:]) == pytest.approx(expected[part, r1, c1], abs=1e-12)


def test_distance_at_the_limit_is_dropped():
    iuv_i, iuv_j = np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2, 3), np.uint8)
    iuv_i[0, 0], iuv_j[0, 1] = (3, 100, 100), (3, 107, 100)
    assert len(match(iuv_i, iuv_j, CorrespondParams(max_distance=7.0, min_matches=1)).rows) == 0
    assert match(iuv_i, iuv_j, CorrespondParams(max_distance=7.01, min_matches=1)).rows.tolist() == [[3, 1, 1, 1, 2]]


def test_a_part_counts_from_the_minimum():
    iuv = np.zeros((10, 10, 3), np.uint8)
    iuv[:5, :, 0], iuv[5:, :9, 0] = 6, 7
    iuv[..., 1:] = np.random.default_rng(0).integers(0, 255, (10, 10, 2))
    found = match(iuv, iuv, CorrespondParams(min_matches=50))
    assert (len(found.rows), found.parts) == (50, 1)
    assert (found.rows[:, 0] == 6).all()
    assert match(iuv, iuv, CorrespondParams(min_matches=45)).parts == 2


def test_rows_are_grouped_and_limits_describe_them():
    found = match(random_iuv(5), random_iuv(6), CorrespondParams(min_matches=1))
    assert (np.diff(found.rows[:, 0]) >= 0).all()
    assert found.limits[:, 0].tolist() == list(range(1, 25))
    for part, first, last in found.limits.tolist():
        if part <= 4:
            assert (found.rows[first : last + 1, 0] == part).all()
        else:
            assert (first, last) == (-1, -1)
    assert (found.limits[:4, 2] - found.limits[:4, 1] + 1).sum() == len(found.rows)
    same_part = found.rows[found.rows[:, 0] == 2]
    order = same_part[:, 1] * 1000 + same_part[:, 2]
    assert (np.diff(order) > 0).all()


def test_identical_frames_match_themselves_at_distance_0():
    iuv = random_iuv(7)
    rows = match(iuv, iuv, CorrespondParams(min_matches=1)).rows
    assert len(rows) == (iuv[..., 0] > 0).sum()
    np.testing.assert_array_equal(iuv[rows[:, 1] - 1, rows[:, 2] - 1], iuv[rows[:, 3] - 1, rows[:, 4] - 1])


def test_empty_frames_give_no_match():
    nothing = np.zeros((8, 8, 3), np.uint8)
    for iuv_i, iuv_j in ((nothing, random_iuv(0)), (random_iuv(0), nothing), (nothing, nothing)):
        found = match(iuv_i, iuv_j)
        assert (found.rows.shape, found.parts) == ((0, 5), 0)


def test_wrong_channel_order_is_refused():
    with pytest.raises(DataError, match="order I, U, V"):
        match(random_iuv(0)[..., ::-1], random_iuv(1))


def test_usable_needs_five_parts():
    rows = np.array([[part, 1, 1, 1, 1] for part in (1, 2, 8, 9, 24)])
    assert usable(Correspondences.from_rows(rows))
    assert not usable(Correspondences.from_rows(rows[:4]))
    assert usable(Correspondences.from_rows(rows[:4]), CorrespondParams(min_parts=4))


def test_partners_are_the_next_frames_then_the_ones_before_and_never_of_another_sequence():
    names = {"a": ["0", "3", "6", "9", "12", "15"], "b": ["20", "21"], "c": ["30"]}
    assert choose_pairs(names, CorrespondParams(partners=4)) == {
        "0": ["3", "6", "9", "12"],
        "3": ["6", "9", "12", "15"],
        "6": ["9", "12", "15", "3"],
        "9": ["12", "15", "6", "3"],
        "12": ["15", "9", "6", "3"],
        "15": ["12", "9", "6", "3"],
        "20": ["21"],
        "21": ["20"],
    }


def test_frames_farther_apart_than_the_gap_are_no_partners():
    names = {"a": ["0000001", "0000002", "0000004", "0000009", "0000010"]}
    assert choose_pairs(names, CorrespondParams(partners=2, max_gap_frames=2)) == {
        "0000001": ["0000002"],
        "0000002": ["0000004"],
        "0000009": ["0000010"],
        "0000010": ["0000009"],
    }


@pytest.mark.parametrize("seed", range(4))
def test_mutual_matches_are_those_that_are_nearest_in_both_directions(seed):
    iuv_i, iuv_j = random_iuv(seed), random_iuv(seed + 100, shape=(17, 23))
    back = brute_force(iuv_j, iuv_i, 7.0)
    plain, mutual = (
        match(iuv_i, iuv_j, CorrespondParams(min_matches=1, mutual=mutual)).rows for mutual in (False, True)
    )
    forth = brute_force(iuv_i, iuv_j, 7.0)
    expected = [row for row in plain.tolist() if back[row[0], row[3], row[4]] == pytest.approx(forth[tuple(row[:3])])]
    assert mutual.tolist() == expected
    assert 10 < len(mutual) < len(plain)


def test_a_planted_copy_of_a_place_is_no_mutual_match():
    iuv_j = np.zeros((20, 40, 3), np.uint8)
    y, x = np.mgrid[:20, :20]
    iuv_j[:, :20] = np.stack([np.full_like(x, 3), x * 8, y * 8], axis=-1)
    iuv_i = iuv_j.copy()
    # Pixels beside the hand that DensePose takes for a part of it, off by 3.
    iuv_i[5:15, 25:35] = iuv_j[5:15, 5:15] + np.array([0, 3, 0], np.uint8)
    plain, mutual = (match(iuv_i, iuv_j, CorrespondParams(mutual=mutual)).rows for mutual in (False, True))
    assert (len(plain), len(mutual)) == (500, 400)
    assert (mutual[:, 1:3] == mutual[:, 3:]).all()


def test_parts_are_counted_after_the_filters():
    iuv_j = np.zeros((10, 20, 3), np.uint8)
    y, x = np.mgrid[:10, :10]
    iuv_j[:, :10] = np.stack([np.full_like(x, 4), x * 20, y * 20], axis=-1)
    iuv_i = iuv_j.copy()
    iuv_i[:, 10:] = iuv_j[:, :10] + np.array([0, 2, 0], np.uint8)
    assert len(match(iuv_i, iuv_j, CorrespondParams(min_matches=150)).rows) == 200
    assert len(match(iuv_i, iuv_j, CorrespondParams(min_matches=150, mutual=True)).rows) == 0
