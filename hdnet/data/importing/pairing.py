"""Pairing of pictures with the masks or maps of the same frames, by the names of their files alone."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

How = Literal["name", "number", "order"]

_NUMBER = re.compile(r"(\d+)")
# So many times as many files of one kind as of the other, both without gaps: every n-th one was kept and numbered anew.
_SEVERAL = 2
_HALF, _FEW = 0.5, 0.1

Key = Callable[[str], Hashable]


@dataclass(frozen=True)
class Pairing:
    """Partners of every picture.

    Attributes:
        how: Rule that gave them.
        partners: Indices of the files of each picture; one where all is well.
        left: Indices of the files that no picture has.
        doubt: Reason not to trust the names; "" for none.
    """

    how: How
    partners: tuple[tuple[int, ...], ...]
    left: tuple[int, ...]
    doubt: str = ""

    @property
    def matched(self) -> int:
        """Number of pictures with one file that no other picture has."""
        claims = Counter(index for found in self.partners for index in found)
        return sum(len(found) == 1 and claims[found[0]] == 1 for found in self.partners)

    @property
    def is_complete(self) -> bool:
        """Mark of a pairing in which every picture has a file of its own."""
        return self.matched == len(self.partners)


def pair(pictures: Sequence[str], files: Sequence[str], how: How | None = None) -> Pairing:
    """Return the pairing that gives the most pictures a file of their own.

    By name first: letter by letter, then with numbers of any padding; then by a number, the one that varies from file
    to file (``frame_0001_mask_1``, ``1_of_3``), or all that vary together.

    Args:
        pictures: Names of the pictures without ending.
        files: Names of the masks or maps without ending.
        how: The only rule to try; None tries names, then numbers, and doubts what they leave open.
    """
    if how == "order":
        return in_order(pictures, files)
    tried: list[Pairing] = []
    if how in (None, "name"):
        tried += [_by("name", pictures, files, key, key) for key in (str, _unpadded)]
    if how in (None, "number"):
        tried += [_by("number", pictures, files, *keys) for keys in _number_keys(pictures, files)]
    none = Pairing("number", ((),) * len(pictures), tuple(range(len(files))))
    best = max(tried, key=lambda pairing: (pairing.matched, sum(map(bool, pairing.partners))), default=none)
    if how is not None:
        return best
    return Pairing(best.how, best.partners, best.left, _doubt(pictures, files, best, tried))


def in_order(pictures: Sequence[str], files: Sequence[str]) -> Pairing:
    """Return the pairing of the first picture with the first file, and so on, numbers in names counted by value."""
    ranked = sorted(range(len(files)), key=lambda index: natural(files[index]))
    partners: list[tuple[int, ...]] = [()] * len(pictures)
    for picture, index in zip(sorted(range(len(pictures)), key=lambda i: natural(pictures[i])), ranked, strict=False):
        partners[picture] = (index,)
    return Pairing("order", tuple(partners), tuple(sorted(ranked[len(pictures) :])))


def frame_numbers(names: Sequence[str]) -> list[int | None]:
    """Return the frame's number in each name: the one that varies most, the last of several; None without one."""
    numbers = [[key(name) for name in names] for key in _single_keys(names)]
    known = [[value if isinstance(value, int) else None for value in values] for values in numbers]
    return max(reversed(known), key=lambda values: len(set(values) - {None}), default=[None] * len(names))


def described(names: Sequence[str]) -> str:
    """Return "first to last (count)" of names, in order."""
    ranked = sorted(names, key=natural)
    return f"{ranked[0]} to {ranked[-1]} ({len(ranked)})" if len(ranked) > 1 else f"{ranked[0]} alone"


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers by value: frame2 before frame10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _NUMBER.split(name)]


def _by(how: How, pictures: Sequence[str], files: Sequence[str], of_picture: Key, of_file: Key) -> Pairing:
    by_key: dict[Hashable, list[int]] = defaultdict(list)
    for index, name in enumerate(files):
        key = of_file(name)
        if key is not None:
            by_key[key].append(index)
    partners = tuple(tuple(by_key.get(of_picture(name), ())) for name in pictures)
    taken = {index for found in partners for index in found}
    return Pairing(how, partners, tuple(index for index in range(len(files)) if index not in taken))


def _unpadded(name: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdecimal() else part.casefold() for part in _NUMBER.split(name))


def _numbers(name: str) -> list[int]:
    return [int(part) for part in _NUMBER.findall(name)]


def _number_at(place: int, name: str) -> int:
    return _numbers(name)[place]


def _template(name: str) -> str:
    return _NUMBER.sub("#", name)


def _single_keys(names: Sequence[str]) -> Iterator[Key]:
    """Yield a key for every place of a number: counted from the front where all names are alike, and the last one."""
    if len({_template(name) for name in names}) == 1:
        for place in range(len(_numbers(names[0]))):
            yield partial(_number_at, place)
    else:
        yield lambda name: next(iter(_numbers(name)), None)
        yield lambda name: next(iter(_numbers(name)[::-1]), None)


def _number_keys(pictures: Sequence[str], files: Sequence[str]) -> Iterator[tuple[Key, Key]]:
    """Yield pairs of keys, those of pictures and of files."""
    of_files = list(_single_keys(files))
    for of_picture in reversed(list(_single_keys(pictures))):
        for of_file in reversed(of_files):
            yield of_picture, of_file
    places = _varying(pictures), _varying(files)
    if len(places[0]) == len(places[1]) > 1:
        yield (
            lambda name: tuple(_numbers(name)[place] for place in places[0]),
            lambda name: tuple(_numbers(name)[place] for place in places[1]),
        )


def _varying(names: Sequence[str]) -> list[int]:
    """Return the places of the numbers that differ between names; none where the names are not alike."""
    if len({_template(name) for name in names}) != 1:
        return []
    columns = list(zip(*map(_numbers, names), strict=True))
    return [place for place, column in enumerate(columns) if len(set(column)) > 1]


def _doubt(pictures: Sequence[str], files: Sequence[str], best: Pairing, tried: Sequence[Pairing]) -> str:
    """Return why names do not settle the pairing, or ""."""
    with_files, kept = sum(map(bool, best.partners)), min(len(pictures), len(files))
    if not with_files:
        return "no name and no number agrees"
    equal = [other for other in tried if other.how == best.how == "number" and other.matched == best.matched]
    if best.matched and any(other.partners != best.partners for other in equal):
        return "more than one number in their names could be the frame's"
    if with_files < _HALF * kept:
        return f"only {with_files} agree"
    if best.matched < with_files:
        return ""  # several files of a frame, which are named one by one
    steps = _step(pictures), _step(files)
    if steps[0] == steps[1] == 1 and max(len(pictures), len(files)) >= _SEVERAL * kept > _SEVERAL:
        return "one of the two may be every n-th frame, numbered anew"
    bare = len(pictures) - with_files if (steps[0] or 0) >= (steps[1] or 0) else len(best.left)
    if steps[0] != steps[1] and bare > _FEW * kept:
        return f"numbered in steps of {steps[0]} and {steps[1]}"
    if len(pictures) == len(files) and best.left and _is_one_run(best):
        return "as many of each, but numbered apart"
    return ""


def _step(names: Sequence[str]) -> int | None:
    """Return the usual distance of neighbouring numbers."""
    numbers = sorted({number for number in frame_numbers(names) if number is not None})
    steps = Counter(b - a for a, b in pairwise(numbers))
    return steps.most_common(1)[0][0] if steps else None


def _is_one_run(pairing: Pairing) -> bool:
    """Return whether pictures without a file are those at one end only, as where two numberings are shifted."""
    bare = [not found for found in pairing.partners]
    changes = sum(a != b for a, b in pairwise(bare))
    return any(bare) and changes <= 1 and all(len(found) < 2 for found in pairing.partners)
