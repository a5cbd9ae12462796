"""Import of Tang et al.'s depth data: the raw release with a registration, or the form of the original's authors."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

from hdnet.data.importing.archive import MAX_BYTES, Source, check_space, open_source
from hdnet.data.importing.authors import import_authors
from hdnet.data.importing.authors_find import find_parts, frame_name
from hdnet.data.importing.parts import HELDOUT, split_labelled
from hdnet.data.importing.registration import REGISTRATION_FILE, Registration
from hdnet.data.importing.report import ImportReport
from hdnet.data.importing.staging import source_identity, staged_import
from hdnet.data.importing.tang_frames import RawFrame, import_raw_frame
from hdnet.data.layout.folders import TANG
from hdnet.errors import DataError
from hdnet.files import read_json_object
from hdnet.geometry import Camera

KIND = "Tang raw release"

# Bytes of a sample on disk: pictures, four tables of numbers.
_SAMPLE_BYTES = 3_000_000
_PREPROCESSED = re.compile(r"_final_depth\.npy$")
_RAW = re.compile(r"_(depth\.(png|npy|txt)|rgb\.\w+)$", re.IGNORECASE)


def import_tang(
    source: Path,
    out: Path,
    *,
    registration: Path | None = None,
    heldout: int | None = None,
    seed: int = 0,
    max_bytes: int = MAX_BYTES,
    jobs: int = 1,
    progress: bool = False,
) -> ImportReport:
    """Import labelled data of either form, told by its content.

    Args:
        source: zip, tar or folder.
        out: Raw folder, see :func:`staged_import`.
        registration: See :mod:`hdnet.data.importing.registration`; None looks for ``registration.json`` in the source.
        heldout: People to hold out, see :func:`split_labelled`; a person is the first folder of a raw frame's name.
        seed: Seed of the choice of held-out people.
        max_bytes: Largest size of the source, unpacked.
        jobs: Processes.
        progress: Show a progress bar on stderr.

    Raises:
        DataError: The source cannot be read or has neither form, the registration is missing or wrong, nothing can be
            taken, or ``out`` cannot be written.
    """
    listing = open_source(source, max_bytes)
    raw = registration is not None or any(member.endswith(REGISTRATION_FILE) for member in listing.sizes)
    if not raw and TANG in find_parts(listing):
        return import_authors(
            source, out, heldout=heldout, seed=seed, only=(TANG,), max_bytes=max_bytes, jobs=jobs, progress=progress
        )
    return _import_raw(listing, out, registration, heldout, seed, jobs, progress)


def _import_raw(
    listing: Source, out: Path, file: Path | None, heldout: int | None, seed: int, jobs: int, progress: bool
) -> ImportReport:
    inside = _registration_member(listing) if file is None else None
    settings = {
        "source": source_identity(listing.path),
        "registration": source_identity(file) if file else inside,
        "heldout": heldout,
        "seed": seed,
    }
    parts = (TANG,) if heldout == 0 else (TANG, HELDOUT)
    with staged_import(out, KIND, settings, parts) as staged:
        check_space(out, listing.total_bytes if listing.kind == "tar" else 0)
        reader = listing.reader(staged.scratch)
        if inside is None:
            found = Registration.read(Path(str(file)))
        else:
            with reader.files({"registration": inside}) as paths:
                found = Registration.read(paths["registration"])
        frames = find_frames(listing, found, _root(listing, inside))
        check_space(out, len(frames) * _SAMPLE_BYTES)
        cameras = staged.scratch / "cameras"
        cameras.mkdir(exist_ok=True)
        task = partial(import_raw_frame, reader, staged.folder / TANG, cameras, found)
        staged.work(task, {frame.source: frame for frame in frames}, jobs, progress, "raw frames")
        taken = [frame for frame in frames if frame.source in staged.finished]
        people: dict[str, list[str]] = {}
        for frame in taken:
            people.setdefault(frame.person, []).append(frame.name)
        by_name = {f.name: Camera.from_dict(read_json_object(cameras / f"{f.name}.json")) for f in taken}
        extra: dict[str, Any] = {"registration": str(file or f"{listing.path}/{inside}"), "people": len(people)}
        return staged.report(listing.path, extra | split_labelled(staged.folder, by_name, people, heldout, seed))


def find_frames(source: Source, registration: Registration, root: str) -> list[RawFrame]:
    """Return the frames of a raw release in the order of their names; those that lack a file have a problem.

    Args:
        source: The release.
        registration: Names of its files.
        root: Folder that the names are relative to, "" or ending in "/".

    Raises:
        DataError: No file has the name of a colour picture.
    """
    before, after = (re.escape(text) for text in registration.names["color"].split("{frame}"))
    pattern = re.compile(f"{re.escape(root)}{before}(?P<frame>.+){after}")
    matches = [match for match in map(pattern.fullmatch, source.sizes) if match]
    if not matches:
        raise DataError(
            f"{source.path}: no file is named like {root}{registration.names['color']}; correct color there"
        )
    keys = sorted((match["frame"] for match in matches), key=_natural)
    frames = []
    for number, key in enumerate(keys):
        members = {kind: root + name.replace("{frame}", key) for kind, name in registration.names.items()}
        absent = [member for member in members.values() if member not in source.sizes]
        problem = f"{source.path}/{absent[0]}: file is missing; the frame has a colour picture" if absent else None
        frames.append(RawFrame(key, frame_name(number), members, problem))
    return frames


def _natural(key: str) -> list[tuple[int, str]]:
    """Return a key that sorts "9/2" before "10/1"."""
    return [(int(digits), "") if digits else (-1, text) for digits, text in re.findall(r"(\d+)|(\D+)", key)]


def _registration_member(listing: Source) -> str:
    """Return the registration in the source; without one, the error names what the source seems to be."""
    found = [member for member in listing.sizes if member.rpartition("/")[2] == REGISTRATION_FILE]
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(f"{listing.path}: holds {found[0]} and {found[1]}; expected one {REGISTRATION_FILE}")
    members = list(listing.sizes)
    if any(_RAW.search(member) and not _PREPROCESSED.search(member) for member in members):
        raise DataError(
            f"{listing.path}: looks like a raw release, but has no {REGISTRATION_FILE}; write one (unit, cameras, "
            "depth to colour, file names; see docs/data.md), or name it with --registration"
        )
    if any(map(_PREPROCESSED.search, members)):
        raise DataError(
            f"{listing.path}: is the preprocessed form (*_final_depth.npy), whose depth is shifted by its median; "
            "expected the raw release, with depth as measured"
        )
    raise DataError(
        f"{listing.path}: is neither the authors' {TANG} (folders color_WO_bg, densepose, mask, depth) nor a raw "
        f"release with {REGISTRATION_FILE}"
    )


def _root(listing: Source, inside: str | None) -> str:
    """Return the folder that names are relative to: the registration's own, or else the one that holds everything."""
    if inside is not None:
        return inside[: len(inside) - len(REGISTRATION_FILE)]
    tops = {member.partition("/")[0] if "/" in member else "" for member in listing.sizes}
    (top,) = tops if len(tops) == 1 and listing.kind != "folder" else ("",)
    return f"{top}/" if top else ""
