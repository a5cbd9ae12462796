"""The single checks of ``validate.py``: each looks at one convention and adds what it finds to a report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations, product
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from hdnet.data.layout import MAX_DEPTH_M, MIN_DEPTH_M
from hdnet.data.matching import PARTS
from hdnet.errors import DataError
from hdnet.geometry import Camera, depth_to_normals

# Normals of scans and of their own depth maps differ by 5 to 20 degrees; a flipped axis gives 60 and more.
MAX_NORMAL_ANGLE_DEG = 40.0
_LENGTH_TOLERANCE = 0.05
_FEW = 0.05

Value = TypeVar("Value")


@dataclass(frozen=True)
class Finding:
    """Something in a file that breaks a convention.

    Attributes:
        file: The file.
        found: What is there.
        expected: What should be there.
        fix: What to do.
    """

    file: str
    found: str
    expected: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}: {self.found}; expected {self.expected}" + (f"; {self.fix}" if self.fix else "")


@dataclass
class Findings:
    """Errors (training would fail or learn something wrong) and warnings (worth a look)."""

    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    def error(self, file: Path, found: str, expected: str, fix: str = "") -> None:
        """Add an error."""
        self.errors.append(Finding(str(file), found, expected, fix))

    def warning(self, file: Path, found: str, expected: str, fix: str = "") -> None:
        """Add a warning."""
        self.warnings.append(Finding(str(file), found, expected, fix))

    def data_error(self, file: Path, error: DataError) -> None:
        """Add what a reader refused; its text is already complete."""
        found, _, expected = str(error).removeprefix(f"{file}: ").partition("; expected ")
        self.error(file, found, expected or "a readable file")

    def attempt(self, file: Path, read: Callable[[Path], Value]) -> Value | None:
        """What ``read`` gives, or None after its error was added."""
        try:
            return read(file)
        except DataError as error:
            self.data_error(file, error)
            return None


def check_size(found: Findings, file: Path, size: tuple[int, ...], mask: np.ndarray) -> bool:
    """Whether a picture or table has the size of the mask."""
    if size == mask.shape:
        return True
    found.error(
        file,
        f"{size[1]} x {size[0]} values (width x height)",
        f"{mask.shape[1]} x {mask.shape[0]} as in the sample's mask",
        "crop and resize all files of a sample alike",
    )
    return False


def check_mask(found: Findings, file: Path, mask: np.ndarray) -> bool:
    """Whether the mask holds anything; little is a warning."""
    if not mask.any():
        found.error(
            file,
            "no value above 100, the mask is empty",
            "0 outside and 255 on the person",
            "multiply a 0/1 mask by 255",
        )
        return False
    if mask.mean() < 0.01:
        found.warning(file, f"a mask of {mask.mean():.2%} of the picture", "1 % or more", "crop closer to the person")
    return True


def check_iuv(found: Findings, file: Path, iuv: np.ndarray, mask: np.ndarray, min_parts: int) -> None:
    """Channel order (quirk 10), presence of body parts; fewer than ``min_parts`` are a warning."""
    largest_iuv = iuv.reshape(-1, 3).max(axis=0)
    if largest_iuv[0] > PARTS:
        by_png_channel = dict(zip("RGB", largest_iuv[::-1].tolist(), strict=True))
        candidates = [name for name, value in by_png_channel.items() if 0 < value <= PARTS]
        order = "I, U, V" if candidates == ["R"] else "U, I, V or V, I, U"
        found.error(
            file,
            f"values up to {by_png_channel['B']} in the last channel"
            + (f", body parts seem to be in channel {candidates[0]} (order {order})" if candidates else ""),
            f"channels V, U, I with I = 0..{PARTS} last",
            "reorder the channels"
            if candidates
            else "resize DensePose pictures with nearest neighbour and store them without loss",
        )
        return
    part = iuv[..., 0][mask]
    if not part.any():
        found.error(
            file,
            "no body part inside the mask",
            f"I = 1..{PARTS} in the last channel on the person",
            "check that the DensePose picture belongs to this frame",
        )
        return
    covered, distinct = (part > 0).mean(), np.unique(part[part > 0]).size
    if covered < 0.3:
        found.warning(file, f"body parts on {covered:.0%} of the mask", "30 % or more", "check the alignment")
    if distinct < min_parts:
        found.warning(
            file, f"{distinct} body parts", f"{min_parts} or more", "pairs with this frame will not be usable"
        )
    if largest_iuv[1] <= 1 and largest_iuv[2] <= 1:
        found.warning(file, "U and V of at most 1", "U and V on the scale 0..255", "multiply U and V by 255")


def check_depth(found: Findings, file: Path, depth_m: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """Unit and range; the mask of valid depth, or None where there is none to speak of."""
    inside = depth_m[mask]
    present = inside[inside > 0]
    if not present.size:
        found.error(
            file,
            "no depth above 0 inside the mask",
            "metres along z",
            "store z, positive away from the camera",
        )
        return None
    median = float(np.median(present))
    if median > MAX_DEPTH_M:
        divisor = 1000 if median > 200 else 100 if median > 80 else None
        found.error(
            file,
            f"median depth {median:g} inside the mask" + (" (millimetres?)" if divisor == 1000 else ""),
            f"metres, {MIN_DEPTH_M:g}..{MAX_DEPTH_M:g}",
            f"divide by {divisor}" if divisor else "shift the depth so that its median is 4 m",
        )
        return None
    valid = mask & (depth_m >= MIN_DEPTH_M) & (depth_m <= MAX_DEPTH_M)
    lost = 1 - valid.sum() / mask.sum()
    if lost > 0.5:
        found.error(
            file,
            f"{lost:.0%} of the mask has depth outside {MIN_DEPTH_M:g}..{MAX_DEPTH_M:g} (median {median:g})",
            f"metres, {MIN_DEPTH_M:g}..{MAX_DEPTH_M:g}",
            "shift the depth so that its median is 4 m, and shrink the mask to where there is depth",
        )
        return None
    if lost > _FEW:
        found.warning(
            file,
            f"{lost:.0%} of the mask has depth outside {MIN_DEPTH_M:g}..{MAX_DEPTH_M:g}",
            f"at most {_FEW:.0%}",
            "these pixels leave the mask",
        )
    return valid


def check_normal_length(found: Findings, file: Path, normals: np.ndarray, mask: np.ndarray) -> bool:
    """Whether normals inside the mask are unit vectors."""
    length = np.linalg.norm(normals[mask], axis=-1)
    wrong = np.abs(length - 1) > _LENGTH_TOLERANCE
    if wrong.mean() > _FEW:
        found.error(
            file,
            f"{wrong.mean():.0%} of the normals inside the mask are no unit vectors (median length "
            f"{np.median(length):.3f})",
            "length 1",
            "normalise them; from a normal picture use n = 1 - 2 R, 1 - 2 G, -B with colours in 0..1",
        )
        return False
    if wrong.any():
        found.warning(file, f"{int(wrong.sum())} normals inside the mask are no unit vectors", "length 1")
    return True


def check_normal_axes(
    found: Findings, file: Path, normals: np.ndarray, depth_m: np.ndarray, mask: np.ndarray, camera: Camera
) -> float | None:
    """Mean angle in degrees between stored normals and those of the depth map; None if it has none.

    Beyond 40 degrees an error is added, with the signed order of axes that fits best.
    """
    expected, valid = _normals_of_depth(depth_m, mask, camera)
    if not valid.any():
        return None
    from_depth, stored = expected[valid], normals[valid]
    angle_deg = float(np.degrees(np.arccos((from_depth * stored).sum(-1).clip(-1, 1))).mean())
    if angle_deg <= MAX_NORMAL_ANGLE_DEG:
        return angle_deg
    order, signs = _best_axes(from_depth, stored)
    turned = stored[:, order] * signs
    turned_deg = float(np.degrees(np.arccos((from_depth * turned).sum(-1).clip(-1, 1))).mean())
    names = ", ".join(("-" if sign < 0 else "") + "n" + "xyz"[axis] for axis, sign in zip(order, signs, strict=True))
    found.error(
        file,
        f"normals lie {angle_deg:.0f} degrees from those of the depth map",
        f"below {MAX_NORMAL_ANGLE_DEG:g}: x right, y down, z forward, (0, 0, -1) faces the camera",
        f"({names}) would lie at {turned_deg:.0f} degrees: store the components so"
        if turned_deg < min(MAX_NORMAL_ANGLE_DEG, angle_deg)
        else "check that depth, normals and camera belong together",
    )
    return angle_deg


def _normals_of_depth(depth_m: np.ndarray, mask: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        computed_b3hw = depth_to_normals(
            torch.from_numpy(np.ascontiguousarray(depth_m))[None, None],
            torch.from_numpy(np.ascontiguousarray(mask))[None, None],
            camera,
        )
    computed = computed_b3hw[0].permute(1, 2, 0).numpy()
    return computed, mask & (np.abs(computed).sum(-1) > 0)


def _best_axes(target: np.ndarray, stored: np.ndarray) -> tuple[list[int], np.ndarray]:
    """Order and signs of the stored components that agree best with the target, by the sum of cosines."""
    correlation = target.T @ stored
    best = max(
        product(permutations(range(3)), product((1.0, -1.0), repeat=3)),
        key=lambda axes: sum(correlation[k, axes[0][k]] * axes[1][k] for k in range(3)),
    )
    return list(best[0]), np.array(best[1], dtype=np.float32)
