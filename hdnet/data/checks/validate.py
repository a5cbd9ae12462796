"""Validation of data folders against all conventions, before a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from hdnet.data.checks.camera import check_cameras, check_fits
from hdnet.data.checks.correspondences import check_correspondences
from hdnet.data.checks.findings import Findings, Report
from hdnet.data.checks.folder import (
    TANG_KINDS,
    TIKTOK_KINDS,
    check_meta,
    check_one_size,
    check_partners,
    check_same_frames,
    check_uv_range,
    frame_names,
    predicted_confidence,
    read_meta,
    with_hint,
)
from hdnet.data.checks.frames import CheckedFrame, FrameFigures, Task, check_labelled, check_unlabelled
from hdnet.data.checks.shift import SequenceShifts
from hdnet.data.layout.folders import TangFolder
from hdnet.data.layout.meta import DEFAULT_SEQUENCE, FolderMeta
from hdnet.data.parallel import ordered_map
from hdnet.data.store.people import PackedPeople
from hdnet.data.store.shards import INDEX_FILE
from hdnet.errors import DataError
from hdnet.geometry import Camera

PACKED_SAMPLES = 32
"""Samples of a packed folder that are checked one by one."""
# Subfolder of a TikTok folder with its matches.
CORRESPONDENCES = "correspondences"


def raise_if_errors(reports: Mapping[str, Report], see: Path | None = None) -> None:
    """Raise a DataError of one line, the first error and the number of all others, if there is any.

    Args:
        reports: Of all folders.
        see: File with all findings.
    """
    errors = [error for report in reports.values() for error in report.errors]
    if errors:
        others = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{others}" + (f"; all findings are in {see}" if see else ""))


def validate_tang(folder: Path, jobs: int = 1, progress: bool = False) -> Report:
    """Check a Tang folder, or a packed folder of people in its place.

    Files present, readable and of one size; all parts on the mask, neither mirrored nor shifted; DensePose channels in
    the order V, U, I with DensePose's sides and directions; depth in metres that grows away from the camera; unit
    normals whose axes, signs and camera agree with the depth map. Of packed people, the checksums of all files and,
    written out as text, :data:`PACKED_SAMPLES` people spread over the folder.

    Args:
        folder: The ``Tang_data`` folder itself.
        jobs: Processes.
        progress: Show a progress bar on stderr.
    """
    if (Path(folder) / INDEX_FILE).is_file():
        return _validate_packed(Path(folder), jobs, progress)
    return _validate(Path(folder), TANG_KINDS, check_labelled, jobs, progress, sequences=False)


def validate_tiktok(folder: Path, jobs: int = 1, progress: bool = False) -> Report:
    """Check a TikTok folder: as :func:`validate_tang` without depth, and sequences and predicted normals.

    Args:
        folder: The ``tiktok_data`` folder itself.
        jobs: Processes.
        progress: Show a progress bar on stderr.
    """
    return _validate(Path(folder), TIKTOK_KINDS, check_unlabelled, jobs, progress, sequences=True)


def validate_raw(raw: Path, jobs: int = 1, progress: bool = False) -> dict[str, Report]:
    """Check all data of a pipeline: labelled people, held-out people, unlabelled frames.

    Args:
        raw: Folder with ``Tang_data``, ``heldout/Tang_data`` and ``tiktok_data``.
        jobs: Processes.
        progress: Show a progress bar on stderr.

    Returns:
        Reports of "labelled", "heldout" and "frames".
    """
    reports = {name: check(raw / folder, jobs, progress) for name, (folder, check) in _RAW_FOLDERS.items()}
    reports["heldout"] = warn_of_shared_frames(reports["labelled"], reports["heldout"])
    return reports


def validate_any(folder: Path, jobs: int = 1, progress: bool = False) -> dict[str, Report]:
    """Check a Tang or a TikTok folder, or the existing ones of a raw folder.

    Raises:
        DataError: There is nothing to check.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: folder is missing; expected a Tang_data or tiktok_data folder, or one that has them"
        )
    there = {name: kind for name, kind in _RAW_FOLDERS.items() if (folder / kind[0]).is_dir()}
    if len(there) == len(_RAW_FOLDERS):
        return validate_raw(folder, jobs, progress)
    if there:
        return {name: check(folder / inside, jobs, progress) for name, (inside, check) in there.items()}
    tang = folder.name == "Tang_data" or any((folder / kind).is_dir() for kind in ("depth", "normal"))
    return {folder.name: (validate_tang if tang else validate_tiktok)(folder, jobs, progress)}


def warn_of_shared_frames(learned: Report, heldout: Report) -> Report:
    """``heldout`` with a warning for every frame that ``learned`` holds as well."""
    known = {digest: name for name, digest in learned.digests.items()}
    extra = Findings()
    for name, digest in heldout.digests.items():
        if digest in known:
            extra.warning(
                Path(heldout.folder) / "color_WO_bg" / f"{name}.png",
                "held-out frame in training",
                f"the same picture as {Path(learned.folder) / 'color_WO_bg' / known[digest]}.png; expected people "
                "that the training does not see; hold out other people: an evaluation on these says nothing",
            )
    return replace(heldout, warnings=heldout.warnings + extra.warnings)


_RAW_FOLDERS: dict[str, tuple[str, Callable[[Path, int, bool], Report]]] = {
    "labelled": ("Tang_data", validate_tang),
    "heldout": ("heldout/Tang_data", validate_tang),
    "frames": ("tiktok_data", validate_tiktok),
}


def _validate(
    root: Path,
    kinds: Mapping[str, str],
    check: Callable[[Path, Task], CheckedFrame],
    jobs: int,
    progress: bool,
    sequences: bool,
) -> Report:
    found = Findings()
    names = frame_names(found, root)
    if not names:
        return Report(str(root), 0, found.errors, found.warnings)
    meta = read_meta(found, root)
    check_partners(found, root, kinds, names)
    if meta is not None:
        check_meta(found, meta, names, sequences)
    cameras = _cameras(meta, names)
    frames = FrameFigures(names)
    tasks = [(name, cameras.get(name)) for name in names]
    numbering = SequenceShifts({} if meta is None else meta.sequence_of)
    for checked in ordered_map(partial(check, root), tasks, jobs, progress, f"validate {root.name}"):
        found.extend(checked.findings)
        frames.add(checked)
        if sequences:
            numbering.add(checked.name, checked.trace)
    numbering.check(found, root)
    size = check_one_size(found, root, frames.sizes)
    check_same_frames(found, root, frames.digests)
    check_uv_range(found, root, frames.largest_uv)
    statistics = frames.statistics()
    if meta is not None and meta.predicted:
        statistics |= predicted_confidence(meta.predicted)
    if size is not None and meta is not None:
        check_cameras(found, meta.file, cameras, size)
        given = [cameras[name] for name in frames.fits]
        statistics |= check_fits(found, meta.file, given, list(frames.fits.values()), size)
        if sequences and (root / CORRESPONDENCES).is_dir():
            members = meta.sequences or {DEFAULT_SEQUENCE: names}
            found.extend(check_correspondences(root / CORRESPONDENCES, members, size, jobs, progress))
    frames.check_normals(found, root)
    errors, warnings = [with_hint(finding) for finding in found.errors], found.warnings
    return Report(str(root), len(names), errors, warnings, statistics, frames.digests)


def _validate_packed(root: Path, jobs: int, progress: bool) -> Report:
    packed = PackedPeople(root)
    packed.verify()
    shown = [k for k in range(len(packed)) if packed.record(k, ("mask",))["mask"].any()]
    with TemporaryDirectory() as temporary:
        folder = TangFolder(Path(temporary) / root.name)
        samples = [
            packed.sample(shown[k]) for k in np.unique(np.linspace(0, len(shown) - 1, PACKED_SAMPLES, dtype=int))
        ]
        for sample in samples:
            folder.write(sample)
        folder.write_meta({sample.name: sample.camera for sample in samples})
        report = _validate(folder.root, TANG_KINDS, check_labelled, jobs, progress, sequences=False)
    errors, warnings = (
        [replace(finding, file=str(root / Path(finding.file).relative_to(folder.root))) for finding in findings]
        for findings in (report.errors, report.warnings)
    )
    return replace(report, folder=str(root), samples=len(packed), errors=errors, warnings=warnings)


def _cameras(meta: FolderMeta | None, names: Sequence[str]) -> dict[str, Camera]:
    if meta is None:
        return {}
    cameras = {name: meta.cameras.get(name, meta.camera) for name in names}
    return {name: camera for name, camera in cameras.items() if camera is not None}
