"""Search of a source for data in the authors' form: folders, frames, pairs and their files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from hdnet.data.importing.archive import Source
from hdnet.data.importing.parts import HELDOUT
from hdnet.data.layout.folders import TANG, TIKTOK
from hdnet.data.layout.meta import META_FILE
from hdnet.errors import DataError

# A data folder holds at least two of these folders.
_KINDS = {"color_WO_bg", "densepose", "mask", "depth"}
_PICTURES = ("color_WO_bg", "densepose", "mask")
_CORRESPONDENCES = "correspondences"
# `normal_png` and `pred_normals_png` are made anew; the original only opens them (docs/parity.md, 34).
_MADE_ANEW = {"normal_png", "pred_normals_png"}

_ROWS = re.compile(r"(\d+)_(\d+)_i_r1_c1_r2_c2\.txt", re.IGNORECASE)
_LIMITS = re.compile(r"(\d+)_(\d+)_i_limit\.txt", re.IGNORECASE)


@dataclass(frozen=True)
class FrameMembers:
    """Files of one frame.

    Attributes:
        source: Name for the user, for example "Tang_data/0000003".
        name: Its new name of 7 digits.
        members: Member names by kind: "color", "color_WO_bg", "densepose", "mask", "depth", "normal_1" to "_3",
            "pred_normals_1" to "_3".
        problem: Reason why it cannot be imported, if known without reading it.
    """

    source: str
    name: str
    members: dict[str, str]
    problem: str | None = None

    def group(self, kind: str) -> list[str]:
        """Return the keys of the three tables of "normal" or "pred_normals", as far as there are any."""
        return [key for key in (f"{kind}_{axis}" for axis in (1, 2, 3)) if key in self.members]


@dataclass(frozen=True)
class PairMembers:
    """The two files of a pair of frames.

    Attributes:
        source: Name for the user.
        stems: Names of the two frames as in the file names.
        names: Their 7-digit names.
        members: Member names of "rows" and "limits".
    """

    source: str
    stems: tuple[str, str]
    names: tuple[str, str]
    members: dict[str, str]


@dataclass(frozen=True)
class Part:
    """One data folder of a source.

    Attributes:
        name: "Tang_data", "tiktok_data" or "heldout".
        frames: Its frames by number.
        pairs: Pairs of frames that have files, by numbers.
        corr_mat: Member name of ``corr_mat.txt``.
        meta: Member name of ``hdnet.json``.
        ignored: Members that nothing reads.
    """

    name: str
    frames: dict[int, FrameMembers]
    pairs: dict[tuple[int, int], PairMembers] = field(default_factory=dict)
    corr_mat: str | None = None
    meta: str | None = None
    ignored: tuple[str, ...] = ()


def frame_name(number: int) -> str:
    """Return seven digits, as in the original's file names."""
    return f"{number:07d}"


def find_parts(source: Source) -> dict[str, Part]:
    """Return the data folders of a source, by "Tang_data", "tiktok_data" and "heldout".

    Raises:
        DataError: One of them is there twice.
    """
    roots = _roots(source.sizes)
    found: dict[str, str] = {}
    for root, kinds in roots.items():
        folders = root.split("/")
        labelled = "depth" in kinds or folders[-1].casefold() == TANG.casefold()
        name = (HELDOUT if HELDOUT in folders[:-1] else TANG) if labelled else TIKTOK
        if name in found:
            raise DataError(
                f"{source.path}: holds two {name} folders, {found[name] or '.'} and {root}; expected one; "
                "import them one by one"
            )
        found[name] = root
    return {name: _part(source, name, root) for name, root in found.items()}


def _roots(members: Iterable[str]) -> dict[str, set[str]]:
    kinds: dict[str, set[str]] = defaultdict(set)
    for member in members:
        folders = member.split("/")[:-1]
        if folders and folders[-1] in _KINDS:
            kinds["/".join(folders[:-1])].add(folders[-1])
    # Other releases have folders densepose and mask, too.
    return {
        root: present
        for root, present in sorted(kinds.items())
        if len(present) > 1 and ("color_WO_bg" in present or root.rpartition("/")[2] in (TANG, TIKTOK))
    }


def _part(source: Source, name: str, root: str) -> Part:
    label = f"{HELDOUT}/{TANG}" if name == HELDOUT else name
    prefix = f"{root}/" if root else ""
    frames = _Frames(source, label, tables="pred_normals" if name == TIKTOK else "normal")
    pairs: dict[tuple[int, int], PairMembers] = {}
    corr_mat, meta, ignored = None, None, []
    for member in source.sizes:
        if not member.startswith(prefix):
            continue
        inside = member[len(prefix) :]
        kind, _, file = inside.rpartition("/")
        if inside == META_FILE:
            meta = member
        elif inside == f"{_CORRESPONDENCES}/corr_mat.txt":
            corr_mat = member
        elif kind == f"{_CORRESPONDENCES}/corrs" and _add_pair(pairs, label, file, member):
            pass
        elif not frames.add(kind, file, member) and kind not in _MADE_ANEW:
            ignored.append(member)
    return Part(name, frames.complete(), pairs, corr_mat, meta, tuple(ignored))


def _add_pair(pairs: dict[tuple[int, int], PairMembers], label: str, file: str, member: str) -> bool:
    for key, pattern in (("rows", _ROWS), ("limits", _LIMITS)):
        match = pattern.fullmatch(file)
        if match:
            stem_i, stem_j = match.groups()
            numbers = int(stem_i), int(stem_j)
            names = frame_name(numbers[0]), frame_name(numbers[1])
            source = f"{label}/{_CORRESPONDENCES}/{names[0]}_{names[1]}"
            pair = pairs.setdefault(numbers, PairMembers(source, (stem_i, stem_j), names, {}))
            pair.members.setdefault(key, member)
            return True
    return False


class _Frames:
    """Files of the frames of one data folder."""

    def __init__(self, source: Source, label: str, tables: str) -> None:
        self._source, self._label, self._tables = source, label, tables
        self._labelled = tables == "normal"
        self._members: dict[int, dict[str, str]] = defaultdict(dict)
        self._problems: dict[int, str] = {}

    def add(self, kind: str, file: str, member: str) -> bool:
        """Add a file that is part of a frame; return False for others."""
        stem, _, suffix = file.rpartition(".")
        suffix = suffix.lower()
        is_picture = kind in ("color", *_PICTURES) and suffix == "png"
        is_depth = kind == "depth" and self._labelled and suffix == "txt"
        key = kind
        if kind == self._tables and suffix == "txt" and re.fullmatch(r".*_[123]", stem):
            stem, key = stem[:-2], f"{kind}_{stem[-1]}"
        elif not (is_picture or is_depth):
            return False
        if not (stem.isascii() and stem.isdigit()):
            return False
        number = int(stem)
        other = self._members[number].setdefault(key, member)
        if other != member:
            self._problems[number] = (
                f"{self._source.path}/{member}: same frame number as {other}; expected one file a frame"
            )
        return True

    def complete(self) -> dict[int, FrameMembers]:
        """Return the frames in numeric order; those that lack a file have a problem."""
        needed = (*_PICTURES, "depth") if self._labelled else _PICTURES
        frames = {}
        for number, members in sorted(self._members.items()):
            if not any(key in members for key in needed):
                continue  # no frame, but a left-over table or background picture
            name = frame_name(number)
            frames[number] = FrameMembers(f"{self._label}/{name}", name, dict(members), self._problem(number, needed))
        return frames

    def _problem(self, number: int, needed: Iterable[str]) -> str | None:
        members = self._members[number]
        wanted = list(needed)
        tables = [f"{self._tables}_{axis}" for axis in (1, 2, 3)]
        if self._labelled and any(key in members for key in tables):
            wanted += tables
        for key in wanted:
            if key not in members:
                return f"{self._source.path}/{self._expected(number, key)}: file is missing; the frame has others"
        return self._problems.get(number)

    def _expected(self, number: int, key: str) -> str:
        """Return the expected path of a missing file."""
        root, _, _ = next(iter(self._members[number].values())).rpartition("/")[0].rpartition("/")
        kind, _, axis = key.rpartition("_") if key[-1].isdigit() else (key, "", "")
        name = frame_name(number)
        file = f"{name}_{axis}.txt" if axis else f"{name}.{'txt' if key == 'depth' else 'png'}"
        return "/".join(filter(None, [root, kind, file]))
