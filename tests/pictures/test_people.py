from __future__ import annotations

import numpy as np
import pytest

from hdnet.pictures.people import count_people, separate_people

TORSO, ARM, HEAD = 2, 15, 23
SIZE = (200, 300)


def disc(parts: np.ndarray, part: int, row: float, column: float, radius: float) -> None:
    y, x = np.mgrid[: parts.shape[0], : parts.shape[1]]
    parts[(y - row) ** 2 + (x - column) ** 2 < radius**2] = part


def body(parts: np.ndarray, column: float, size: float = 1.0) -> None:
    """Head, torso and legs one above the other, around row 100."""
    disc(parts, HEAD, 100 - 43 * size, column, 10 * size)
    top, bottom = int(100 - 33 * size), int(100 + 30 * size)
    parts[top:bottom, int(column - 20 * size) : int(column + 20 * size)] = TORSO
    parts[bottom : int(100 + 90 * size), int(column - 18 * size) : int(column + 18 * size)] = 8


def count(parts: np.ndarray, mask: np.ndarray | None = None) -> int:
    return count_people(parts, parts > 0 if mask is None else mask)


def test_nobody_and_one() -> None:
    parts = np.zeros(SIZE, np.uint8)
    assert count(parts) == 0
    assert count(parts, np.ones(SIZE, bool)) == 0
    body(parts, 150)
    assert count(parts) == 1


@pytest.mark.parametrize(("columns", "people"), [((80, 180), 2), ((60, 150, 240), 3)])
def test_people_side_by_side(columns: tuple[int, ...], people: int) -> None:
    parts = np.zeros(SIZE, np.uint8)
    for column in columns:
        body(parts, column)
    assert count(parts) == people
    assert count(np.kron(parts, np.ones((4, 4), np.uint8))) == people


@pytest.mark.parametrize(("size", "people"), [(0.6, 2), (0.4, 1)])
def test_somebody_far_behind_is_a_person_and_somebody_farther_a_speck(size: float, people: int) -> None:
    """Areas of 36 and of 16 % of the one in front; a quarter is where it changes."""
    parts = np.zeros(SIZE, np.uint8)
    body(parts, 80)
    body(parts, 220, size)
    assert count(parts) == people


def test_people_who_touch_are_told_apart_by_their_heads() -> None:
    parts = np.zeros(SIZE, np.uint8)
    body(parts, 120)
    body(parts, 160)
    assert count(parts) == 2


def test_only_those_inside_the_mask_count() -> None:
    parts = np.zeros(SIZE, np.uint8)
    body(parts, 80)
    body(parts, 180)
    mask = np.zeros(SIZE, bool)
    mask[:, 130:] = True
    assert count(parts, mask) == 1


def test_an_arm_across_the_torso_makes_no_second_person() -> None:
    parts = np.zeros(SIZE, np.uint8)
    body(parts, 150)
    parts[90:108, 100:200] = ARM
    assert count(parts) == 1


def test_a_hand_across_the_face_and_specks_make_no_second_person() -> None:
    parts = np.zeros(SIZE, np.uint8)
    body(parts, 150)
    parts[55:59, 130:170] = 3
    for place in ((5, 5), (190, 290), (100, 20)):
        disc(parts, HEAD, *place, 3)
        disc(parts, TORSO, place[0], place[1] + 8 if place[1] < 200 else 280, 3)
    assert count(parts) == 1


def test_a_person_whose_torso_and_head_are_hidden_counts_as_one() -> None:
    parts = np.zeros(SIZE, np.uint8)
    body(parts, 150)
    parts[np.isin(parts, (TORSO, HEAD))] = 0
    assert count(parts) == 1


def test_people_are_separated_half_way_through_the_mask() -> None:
    """Two equal bodies joined by a bar: every body is one person's, the bar is shared."""
    parts = np.zeros(SIZE, np.uint8)
    body(parts, 80)
    body(parts, 220)
    mask = parts > 0
    mask[95:100, 80:220] = True
    person = separate_people(parts, mask)
    assert set(np.unique(person)) == {0, 1, 2}
    assert np.array_equal(person > 0, mask)
    left, right = person[100, 80], person[100, 220]
    assert left != right
    assert (person[:, :130][mask[:, :130]] == left).all()
    assert (person[:, 170:][mask[:, 170:]] == right).all()


def test_heads_separate_whom_torsos_do_not() -> None:
    """The torso of the second person is hidden to a sliver."""
    parts = np.zeros(SIZE, np.uint8)
    body(parts, 80)
    body(parts, 220)
    parts[70:, 200:] = np.where(parts[70:, 200:] == TORSO, ARM, parts[70:, 200:])
    mask = parts > 0
    mask[95:100, 80:220] = True
    person = separate_people(parts, mask)
    assert person[57, 80] != person[57, 220]


def test_one_person_or_none_is_not_divided() -> None:
    parts = np.zeros(SIZE, np.uint8)
    body(parts, 150)
    assert np.array_equal(separate_people(parts, parts > 0), (parts > 0).astype(np.int32))
    mask = np.ones(SIZE, bool)
    assert (separate_people(np.zeros(SIZE, np.uint8), mask) == 1).all()
