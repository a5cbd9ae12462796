"""Import of the authors' sample archive, or of data in its form: ``Tang_data`` and ``tiktok_data``.

All variants that the original reads are read, and equivalent ones; see :mod:`hdnet.data.importing.variants`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hdnet.data.importing.archive import MAX_BYTES, Reader, check_space, open_source
from hdnet.data.importing.authors_find import PairMembers, Part, find_parts, frame_name
from hdnet.data.importing.authors_frames import import_labelled, import_pair, import_unlabelled
from hdnet.data.importing.parts import HELDOUT, split_labelled
from hdnet.data.importing.report import ImportReport, Outcome
from hdnet.data.importing.staging import StagedImport, source_identity, staged_import
from hdnet.data.layout.correspondences import write_corr_mat
from hdnet.data.layout.folders import TANG, TIKTOK, TangFolder, TikTokFolder
from hdnet.data.layout.meta import DEFAULT_SEQUENCE, FolderMeta
from hdnet.data.layout.text import read_integers
from hdnet.errors import DataError
from hdnet.geometry import Camera

_KIND, _TANG_KIND = "authors' archive", "authors' Tang_data"


def import_authors(
    source: Path,
    out: Path,
    *,
    heldout: int | None = None,
    seed: int = 0,
    only: Sequence[str] = (TANG, TIKTOK),
    keep_correspondences: bool = True,
    keep_normals: bool = True,
    max_bytes: int = MAX_BYTES,
    jobs: int = 1,
    progress: bool = False,
) -> ImportReport:
    """Import an archive or folder that holds ``Tang_data``, ``tiktok_data`` or both.

    Args:
        source: zip, tar or folder; the two folders may lie at any depth, or be the source itself.
        out: Raw folder, see :func:`staged_import`.
        heldout: Labelled people to hold out, see :func:`split_labelled`; a source with ``heldout/Tang_data`` keeps
            that instead.
        seed: Seed of the choice of held-out people.
        only: Folders to import.
        keep_correspondences: Take the stored correspondences.
        keep_normals: Take the stored predicted normals of the unlabelled frames.
        max_bytes: Largest size of the source, unpacked.
        jobs: Processes.
        progress: Show progress bars on stderr.

    Raises:
        DataError: The source cannot be read or holds no such data, nothing of it can be taken, or ``out`` cannot
            be written.
    """
    listing = open_source(source, max_bytes)
    found = find_parts(listing)
    parts = {name: part for name, part in found.items() if (TIKTOK if name == TIKTOK else TANG) in only}
    if not parts:
        raise DataError(
            f"{source}: holds neither {TANG} nor {TIKTOK}; expected folders color_WO_bg, densepose, mask "
            f"(and depth for {TANG}) in it or below it"
        )
    settings = {
        "source": source_identity(source),
        "heldout": heldout,
        "seed": seed,
        "parts": sorted(parts),
        "keep": [keep_correspondences, keep_normals],
    }
    written = tuple(parts) + ((HELDOUT,) if TANG in parts and HELDOUT not in parts and heldout != 0 else ())
    check_space(out, listing.total_bytes * (2 if listing.kind == "tar" else 1))
    with staged_import(out, _KIND if TIKTOK in only else _TANG_KIND, settings, written) as staged:
        reader = listing.reader(staged.scratch)
        extra: dict[str, Any] = {}
        if TANG in parts:
            cameras = _import_labelled_part(staged, reader, parts[TANG], jobs, progress)
            count = 0 if HELDOUT in parts else heldout
            extra |= split_labelled(staged.folder, cameras, {name: [name] for name in cameras}, count, seed)
        if HELDOUT in parts:
            cameras = _import_labelled_part(staged, reader, parts[HELDOUT], jobs, progress)
            if cameras:
                TangFolder(staged.folder / HELDOUT / TANG).write_meta(cameras)
            extra["held-out people"] = f"as given: {len(cameras)}"
        extra |= {f"camera of {name}": _camera_line(part) for name, part in parts.items()}
        if TIKTOK in parts:
            extra |= _import_unlabelled_part(staged, reader, parts[TIKTOK], keep_normals, jobs, progress)
            if keep_correspondences:
                extra |= _import_pairs(staged, reader, parts[TIKTOK], jobs, progress)
        ignored = [member for part in parts.values() for member in part.ignored]
        if ignored:
            extra["files that belong to nothing, left out"] = ignored
        return staged.report(source, extra)


def _import_labelled_part(
    staged: StagedImport, reader: Reader, part: Part, jobs: int, progress: bool
) -> dict[str, Camera]:
    """Import the samples of ``Tang_data`` or of the held-out one, and return the cameras of those taken."""
    folder = staged.folder / TANG if part.name == TANG else staged.folder / HELDOUT / TANG
    meta = _meta(reader, part)
    items = {frame.source: (frame, meta.camera_of(frame.name)) for frame in part.frames.values()}
    staged.work(partial(import_labelled, reader, folder), items, jobs, progress, f"{part.name} (samples)")
    return {frame.name: camera for source, (frame, camera) in items.items() if source in staged.finished}


def _import_unlabelled_part(
    staged: StagedImport, reader: Reader, part: Part, keep_normals: bool, jobs: int, progress: bool
) -> dict[str, Any]:
    meta = _meta(reader, part)
    partners = _read_corr_mat(reader, part)
    sequences = _sequences(meta, part, partners)
    items = {f.source: (f, meta.camera_of(f.name), sequences[number]) for number, f in part.frames.items()}
    task = partial(import_unlabelled, reader, staged.folder / TIKTOK, keep_normals)
    staged.work(task, items, jobs, progress, f"{part.name} (frames)")
    taken = [item for item in items.values() if item[0].source in staged.finished]
    if not taken:
        return {part.name: "nothing taken"}
    members: dict[str, list[str]] = {}
    for frame, _, sequence in taken:
        members.setdefault(sequence, []).append(frame.name)
    folder = TikTokFolder(staged.folder / TIKTOK)
    folder.write_meta({frame.name: camera for frame, camera, _ in taken}, members)
    origin = "as hdnet.json says" if meta.sequences else "frames that corr_mat.txt links" if partners else "none given"
    return {part.name: f"{len(taken)} frames in {len(members)} sequences ({origin})"}


def _import_pairs(staged: StagedImport, reader: Reader, part: Part, jobs: int, progress: bool) -> dict[str, Any]:
    partners = _read_corr_mat(reader, part)
    if not partners and not part.pairs:
        return {}
    wanted = [(i, j) for i, others in partners.items() for j in others] if partners else sorted(part.pairs)
    taken = {number for number, frame in part.frames.items() if frame.source in staged.finished}
    pairs: dict[str, PairMembers] = {}
    for i, j in wanted:
        names = frame_name(i), frame_name(j)
        source = f"{part.name}/correspondences/{names[0]}_{names[1]}"
        absent = [name for number, name in zip((i, j), names, strict=True) if number not in taken]
        if absent:
            staged.record(Outcome(source, None, f"{source}: frame {absent[0]} is not among the imported frames"))
        else:
            pairs[source] = part.pairs.get((i, j), PairMembers(source, names, names, {}))
    folder = staged.folder / TIKTOK / "correspondences"
    staged.work(partial(import_pair, reader, folder), pairs, jobs, progress, "correspondences (pairs)")
    accepted: dict[str, list[str]] = {}
    for source, pair in pairs.items():
        if source in staged.finished:
            accepted.setdefault(pair.names[0], []).append(pair.names[1])
    if accepted:
        write_corr_mat(folder, accepted)
    count = sum(map(len, accepted.values()))
    unlisted = len(set(part.pairs) - set(wanted))
    lines = {"correspondences": f"{count} of {len(wanted)} pairs"}
    if not partners:
        lines["corr_mat.txt"] = "missing, made from the names of the pair files"
    if unlisted:
        lines["pairs that corr_mat.txt does not list, left out"] = str(unlisted)
    return lines


def _read_corr_mat(reader: Reader, part: Part) -> dict[int, list[int]]:
    """Return partners by frame number, in the file's order, without those that only fill up a row."""
    if part.corr_mat is None:
        return {}
    with reader.files({"corr_mat": part.corr_mat}) as paths:
        table = read_integers(paths["corr_mat"])
    partners: dict[int, list[int]] = {}
    for number, *others in table.tolist():
        known = partners.setdefault(number, [])
        known.extend(other for other in dict.fromkeys(others) if other not in known)
    return partners


def _sequences(meta: FolderMeta, part: Part, partners: dict[int, list[int]]) -> dict[int, str]:
    """Return the sequence of every frame: by ``hdnet.json``, else frames linked by ``corr_mat.txt``, else one."""
    if meta.sequences:
        listed = {int(name): sequence for name, sequence in meta.sequence_of.items()}
        return {number: listed.get(number, DEFAULT_SEQUENCE) for number in part.frames}
    if not partners:
        return dict.fromkeys(part.frames, DEFAULT_SEQUENCE)
    first = {number: number for number in part.frames}

    def root(number: int) -> int:
        while first[number] != number:
            first[number] = first[first[number]]
            number = first[number]
        return number

    for number, others in partners.items():
        for other in others:
            if number in first and other in first:
                low, high = sorted((root(number), root(other)))
                first[high] = low
    return {number: frame_name(root(number)) for number in part.frames}


def _meta(reader: Reader, part: Part) -> FolderMeta:
    if part.meta is None:
        return FolderMeta(Path(part.name), Camera.reference())
    with reader.files({"meta": part.meta}) as paths:
        meta = FolderMeta.read(paths["meta"].parent)
    numbered = {frame_name(int(name)): camera for name, camera in meta.cameras.items() if name.isdigit()}
    return FolderMeta(meta.file, meta.camera, numbered, meta.sequences)


def _camera_line(part: Part) -> str:
    return "from hdnet.json" if part.meta else "not given; the original's, focal length 1111.6 (docs/parity.md, 21)"
