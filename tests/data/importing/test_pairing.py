"""Pairing by names: hand-made cases, and random ones against a pairing known by construction."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdnet.data.importing.pairing import described, frame_numbers, in_order, pair


def paired(pictures: list[str], files: list[str], **options: str) -> list[str | None]:
    """The one file of each picture; None where there is none, or several."""
    pairing = pair(pictures, files, **options)
    assert not pairing.doubt, pairing.doubt
    return [files[found[0]] if len(found) == 1 else None for found in pairing.partners]


@pytest.mark.parametrize(
    ("pictures", "files"),
    [
        (["a", "b", "c"], ["a", "b", "c"]),
        ([str(i) for i in range(1, 1011)], [f"{i:04d}" for i in range(1, 1011)]),
        (["Frame1", "Frame2"], ["frame_1".replace("_", ""), "frame02"]),
        ([f"frame_{i:04d}" for i in range(9)], [f"frame_{i:04d}_mask_1" for i in range(9)]),
        ([f"frame_{i:04d}" for i in range(9)], [f"mask_1_of_2_frame{i}" for i in range(9)]),
        ([f"{i}_of_3" for i in (1, 2, 3)], [f"{i}_of_3" for i in (1, 2, 3)]),
        (["001", "002", "003"], [f"{i}_of_3" for i in (1, 2, 3)]),
        ([f"cam2_{i}" for i in range(5)], [f"dp_{i:05d}_1920x1080" for i in range(5)]),
        ([f"shot{s}_{i}" for s in (1, 2) for i in (1, 2)], [f"s{s:02d}-m{i:02d}" for s in (1, 2) for i in (1, 2)]),
        (["x7", "y8"], ["m7.1", "m8.1"]),
        (["IMG_٣", "IMG_4"], ["3", "4"]),
        (["0", "5", "10", "15"], [f"{i:03d}" for i in (0, 5, 10, 15)]),
    ],
)
def test_every_picture_finds_its_file(pictures: list[str], files: list[str]):
    shuffled = files[1::2] + files[::2]
    assert paired(pictures, shuffled) == files


def test_left_over_files_are_told():
    pairing = pair(["0", "5", "10"], [f"{i:02d}" for i in range(12)])
    assert [found[0] for found in pairing.partners] == [0, 5, 10]
    assert pairing.left == (1, 2, 3, 4, 6, 7, 8, 9, 11)
    assert pairing.doubt == ""


def test_a_missing_and_a_double_file_are_no_doubt():
    files = ["1", "2", "4", "5", "5_b", "6", "7", "8"]
    pairing = pair([f"{i:04d}" for i in range(1, 9)], files)
    assert [len(found) for found in pairing.partners][2] == 0
    assert pairing.doubt == ""


@pytest.mark.parametrize(
    ("pictures", "files", "doubt"),
    [
        (["a", "b"], ["c", "d"], "no name and no number agrees"),
        (range(12), range(100, 112), "no name and no number agrees"),
        (range(12), range(1, 13), "as many of each, but numbered apart"),
        (range(1, 13), range(12), "as many of each, but numbered apart"),
        (range(60), range(1, 13), "one of the two may be every n-th frame, numbered anew"),
        (range(1, 13), range(60), "one of the two may be every n-th frame, numbered anew"),
        (range(0, 60, 5), range(1, 13), "only 2 agree"),
        (range(0, 24, 2), range(12), "numbered in steps of 2 and 1"),
        (["a1_3", "a2_2", "a3_1"], ["1", "2", "3"], "more than one number in their names could be the frame's"),
    ],
)
def test_what_names_leave_open_is_doubted(pictures, files, doubt: str):
    names = [
        [f"{kind}{i}" if isinstance(i, int) else i for i in given] for kind, given in (("p", pictures), ("m", files))
    ]
    assert pair(*names).doubt == doubt
    assert pair(*names, "number").doubt == ""


def test_order_counts_numbers_by_value():
    assert in_order(["f2", "f10", "f1"], ["m12", "m3", "m4"]).partners == ((2,), (0,), (1,))


def test_the_number_that_varies():
    assert frame_numbers(["1_of_3", "2_of_3", "3_of_3"]) == [1, 2, 3]
    assert frame_numbers(["cam1_0007_v2", "cam1_0008_v2"]) == [7, 8]
    assert frame_numbers(["a", "b7"]) == [None, 7]
    assert described([f"m{i}" for i in range(9, 12)]) == "m9 to m11 (3)"


WORDS = st.text(st.characters(categories=["L", "Pd", "Pc", "Zs"]), max_size=4)


@st.composite
def numbered(draw: st.DrawFn) -> tuple[list[str], list[str], list[int]]:
    """Pictures and files of the same frames in forms of their own, and the place of each picture's file."""
    count = draw(st.integers(3, 30))
    start, step = draw(st.integers(0, 5000)), draw(st.sampled_from([1, 1, 1, 2, 5]))
    numbers = [start + step * i for i in range(count)]
    forms = []
    for _ in range(2):
        digits, before, after = draw(st.integers(1, 7)), draw(WORDS), draw(WORDS)
        constant = draw(st.sampled_from(["", "_1", "_of_99", "-1920x1080"]))
        forms.append([f"{before}{number:0{digits}d}{after}{constant}" for number in numbers])
    order = draw(st.permutations(range(count)))
    files = [forms[1][i] for i in order]
    return forms[0], files, [order.index(i) for i in range(count)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(numbered())
def test_any_form_of_the_same_numbers_is_paired_one_to_one(case: tuple[list[str], list[str], list[int]]):
    pictures, files, places = case
    pairing = pair(pictures, files)
    assert list(pairing.partners) == [(place,) for place in places]
    assert (pairing.left, pairing.doubt) == ((), "")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(numbered(), st.data())
def test_what_is_gone_is_told_and_nothing_is_paired_amiss(
    case: tuple[list[str], list[str], list[int]], data: st.DataObject
):
    pictures, files, places = case
    truth = {picture: files[place] for picture, place in zip(pictures, places, strict=True)}
    lost = data.draw(st.sets(st.sampled_from(range(len(files))), max_size=len(files) // 4))
    unseen = data.draw(st.sets(st.sampled_from(range(len(pictures))), max_size=len(pictures) // 4))
    kept = [name for i, name in enumerate(files) if i not in lost]
    seen = [name for i, name in enumerate(pictures) if i not in unseen]
    pairing = pair(seen, kept)
    if pairing.doubt:
        return
    for picture, found in zip(seen, pairing.partners, strict=True):
        assert [kept[index] for index in found] == [truth[picture]] * (truth[picture] in kept)
    claimed = {truth[picture] for picture in seen}
    assert [kept[index] for index in pairing.left] == [name for name in kept if name not in claimed]


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=8), st.lists(st.text(max_size=8), min_size=1, max_size=8))
def test_any_names_give_a_pairing(pictures: list[str], files: list[str]):
    for how in (None, "name", "number"):
        pairing = pair(pictures, files, how)
        taken = {index for found in pairing.partners for index in found}
        assert taken | set(pairing.left) == set(range(len(files)))
        assert taken & set(pairing.left) == set()
        assert len(pairing.partners) == len(pictures)
