"""Checks of the conventions on the data itself, before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hdnet.data.layout import TangFolder, TikTokFolder
from hdnet.data.layout_png import iuv_from_png_rgb, read_iuv_rgb, read_mask, read_rgb
from hdnet.data.layout_text import read_map
from hdnet.data.parallel import ordered_map
from hdnet.data.validate_checks import (
    Finding,
    Findings,
    check_depth,
    check_iuv,
    check_mask,
    check_normal_axes,
    check_normal_length,
    check_size,
)
from hdnet.errors import DataError

# A pair of frames needs this many common body parts.
PAIR_PARTS = 5

__all__ = ["Finding", "Report", "validate_tang", "validate_tiktok"]


@dataclass(frozen=True)
class Report:
    """What a validation found.

    Attributes:
        folder: The folder.
        samples: Number of frames looked at.
        errors: What would break training or teach something wrong.
        warnings: What is worth a look.
        statistics: Figures over all samples, for example the mean angle between stored and computed normals.
    """

    folder: str
    samples: int
    errors: list[Finding]
    warnings: list[Finding]
    statistics: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return asdict(self)

    def raise_if_errors(self) -> None:
        """Raise a DataError of one line, the first error and the number of the others, if there is any."""
        if not self.errors:
            return
        others = len(self.errors) - 1
        raise DataError(f"{self.errors[0]}" + (f" (and {others} more in {self.folder})" if others else ""))


@dataclass(frozen=True)
class _Checked:
    """Outcome of one sample."""

    mask_file: Path
    size: tuple[int, ...] | None
    findings: Findings
    statistics: dict[str, float]


def validate_tang(folder: Path, jobs: int = 1, progress: bool = False) -> Report:
    """Check a Tang folder.

    Files present, readable and of one size; mask not empty; depth in metres; unit normals whose axes and
    signs agree with the depth map; DensePose channels in the order V, U, I with body parts on the person.

    Args:
        folder: The ``Tang_data`` folder itself.
        jobs: Processes.
        progress: Show a progress bar on stderr.
    """
    kinds = {"color_WO_bg": ".png", "densepose": ".png", "mask": ".png", "depth": ".txt", "normal": "_1.txt"}
    return _validate(TangFolder(folder), kinds, partial(_check_labelled, folder), jobs, progress)


def validate_tiktok(folder: Path, jobs: int = 1, progress: bool = False) -> Report:
    """Check a TikTok folder: as :func:`validate_tang` without depth and normals, and the sequences.

    Args:
        folder: The ``tiktok_data`` folder itself.
        jobs: Processes.
        progress: Show a progress bar on stderr.
    """
    kinds = {"color_WO_bg": ".png", "densepose": ".png", "mask": ".png"}
    return _validate(TikTokFolder(folder), kinds, partial(_check_unlabelled, folder), jobs, progress)


def _validate(
    folder: TangFolder | TikTokFolder,
    kinds: dict[str, str],
    check: Callable[[str], _Checked],
    jobs: int,
    progress: bool,
) -> Report:
    findings = Findings()
    try:
        names = folder.names()
        if isinstance(folder, TikTokFolder):
            folder.sequences()
    except DataError as error:
        file, _, _ = str(error).partition(": ")
        findings.data_error(Path(file), error)
        return Report(str(folder.root), 0, findings.errors, findings.warnings)
    _check_partners(findings, folder.root, kinds, names)
    checked = list(ordered_map(check, names, jobs, progress, f"validate {folder.root.name}"))
    for sample in checked:
        findings.errors.extend(sample.findings.errors)
        findings.warnings.extend(sample.findings.warnings)
    _check_one_size(findings, checked)
    keys = sorted({key for sample in checked for key in sample.statistics})
    statistics = {
        f"{key}_mean": float(np.mean([sample.statistics[key] for sample in checked if key in sample.statistics]))
        for key in keys
    }
    return Report(str(folder.root), len(names), findings.errors, findings.warnings, statistics)


def _check_partners(findings: Findings, root: Path, kinds: dict[str, str], names: Iterable[str]) -> None:
    """Frames that other folders hold, but not ``color_WO_bg``; reading the samples finds the reverse."""
    known = set(names)
    for kind, ending in kinds.items():
        present = {file.name.removesuffix(ending) for file in (root / kind).glob(f"[0-9]*{ending}")}
        for name in sorted(present - known):
            findings.error(
                root / "color_WO_bg" / f"{name}.png",
                "file is missing",
                f"a partner of {kind}/{name}{ending}",
                "add it, or remove the other files of that frame",
            )
            known.add(name)


def _check_one_size(findings: Findings, checked: list[_Checked]) -> None:
    counts = Counter(sample.size for sample in checked if sample.size is not None)
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]
    for sample in checked:
        if sample.size is not None and sample.size != usual:
            findings.error(
                sample.mask_file,
                f"{sample.size[1]} x {sample.size[0]} pixels",
                f"{usual[1]} x {usual[0]} as in most of the folder",
                "crop and resize all frames to one size",
            )


def _check_labelled(root: Path, name: str) -> _Checked:
    folder, findings = TangFolder(root), Findings()
    mask = _check_pictures(folder, name, findings, min_parts=1)
    depth_file, normal_files = folder.depth_file(name), folder.normal_files(name)
    depth_m = findings.attempt(depth_file, read_map)
    components = [findings.attempt(file, read_map) for file in normal_files]
    statistics: dict[str, float] = {}
    size = None if mask is None else mask.shape
    checked = _Checked(folder.png("mask", name), size, findings, statistics)
    if mask is None or not mask.any():
        return checked
    valid = None
    if depth_m is not None and check_size(findings, depth_file, depth_m.shape, mask):
        valid = check_depth(findings, depth_file, depth_m, mask)
    sizes_agree = [
        component is not None and check_size(findings, file, component.shape, mask)
        for file, component in zip(normal_files, components, strict=True)
    ]
    if not all(sizes_agree) or depth_m is None or valid is None:
        return checked
    normals = np.stack([component for component in components if component is not None], axis=-1)
    if check_normal_length(findings, normal_files[0], normals, valid):
        try:
            camera = folder.camera(name)
        except DataError as error:
            findings.data_error(folder.root / "hdnet.json", error)
            return checked
        angle_deg = check_normal_axes(findings, normal_files[0], normals, depth_m, valid, camera)
        if angle_deg is not None:
            statistics["normal_angle_deg"] = angle_deg
    statistics["mask_share"] = float(valid.mean())
    return checked


def _check_unlabelled(root: Path, name: str) -> _Checked:
    folder, findings = TikTokFolder(root), Findings()
    mask = _check_pictures(folder, name, findings, min_parts=PAIR_PARTS)
    try:
        folder.camera(name)
    except DataError as error:
        findings.data_error(folder.root / "hdnet.json", error)
    if mask is None:
        return _Checked(folder.png("mask", name), None, findings, {})
    return _Checked(folder.png("mask", name), mask.shape, findings, {"mask_share": float(mask.mean())})


def _check_pictures(
    folder: TangFolder | TikTokFolder, name: str, findings: Findings, min_parts: int
) -> np.ndarray | None:
    """The mask, or None if it cannot be read."""
    mask_file, iuv_file = folder.png("mask", name), folder.png("densepose", name)
    mask = findings.attempt(mask_file, read_mask)
    white_image = findings.attempt(folder.png("color_WO_bg", name), read_rgb)
    iuv_rgb = findings.attempt(iuv_file, read_iuv_rgb)
    color_file = folder.png("color", name)
    image = findings.attempt(color_file, read_rgb) if color_file.exists() else None
    if mask is None:
        return None
    if white_image is not None:
        check_size(findings, folder.png("color_WO_bg", name), white_image.shape[:2], mask)
    if image is not None:
        check_size(findings, color_file, image.shape[:2], mask)
    filled = check_mask(findings, mask_file, mask)
    if iuv_rgb is not None and check_size(findings, iuv_file, iuv_rgb.shape[:2], mask) and filled:
        check_iuv(findings, iuv_file, iuv_from_png_rgb(iuv_rgb), mask, min_parts)
    return mask
