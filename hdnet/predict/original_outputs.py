"""Files of the original's scripts, by its own rules: pictures, number maps as text, mesh.

They serve comparisons with results of the original (docs/parity.md, 50 to 57). Our own pictures and meshes
(:mod:`hdnet.visualize`, :mod:`hdnet.predict.mesh`) are metric and correct these rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hdnet.errors import InputError
from hdnet.pictures.writing import encode_png
from hdnet.visualize import WHITE, hot_table

# Neighbouring depths that differ by less are joined; the original has no unit, its training data is in metres.
MAX_STEP_M = 0.07


@dataclass(frozen=True, eq=False)
class OriginalMaps:
    """The networks' outputs for a 256 x 256 picture, in their own pixels and the model's camera.

    Attributes:
        depth_m: (H, W) z, also outside the mask, where it has no meaning.
        normals: (H, W, 3) unit vectors, 0 outside the mask and where the network gives a zero vector (the original
            got NaN there, and from it a depth map of nothing but NaN; docs/parity.md, 56).
        mask: (H, W) bool.
        image: (H, W, 3) uint8, white outside the mask.
    """

    depth_m: np.ndarray
    normals: np.ndarray
    mask: np.ndarray
    image: np.ndarray


def unit(normals: np.ndarray) -> np.ndarray:
    """(H, W, 3) vectors at unit length, in their own precision; zero stays zero (docs/parity.md, 53)."""
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    scaled: np.ndarray = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    return scaled


def depth_picture(depth_m: np.ndarray, mask: np.ndarray, farthest_share: float = 1.0) -> np.ndarray:
    """Depth in the colours "hot" as matplotlib's ``imsave`` gives them, white outside the mask (docs/parity.md, 51).

    Depths are clipped into [smallest positive, largest x ``farthest_share``] of the mask, and this range is spread
    over the colours. If the share moves the upper end below the lower one, or there is one depth only, all is black.

    Args:
        depth_m: (H, W).
        mask: (H, W) bool.
        farthest_share: 1 in inference and in the joint training; 0.99 in the depth training.

    Returns:
        (H, W, 3) uint8.

    Raises:
        InputError: If the mask holds no positive depth, for which the rule has no range (docs/parity.md, 50).
    """
    masked = depth_m * mask.astype(bool)
    positive = masked[masked > 0]
    if not positive.size:
        raise InputError(
            f"none of the mask's {int(mask.astype(bool).sum())} pixels has a positive depth: the original's depth "
            "picture is not defined (check the mask and the model, or take our own format)"
        )
    shown = np.minimum(np.maximum(masked, positive.min()), positive.max() * farthest_share)
    # As matplotlib: the range is a float64, the quotient is rounded to the precision of the depths.
    low, high = float(shown.min()), float(shown.max())
    share = ((shown - low) / np.float64(high - low or 1)).astype(shown.dtype)
    colours = hot_table()[(share * 256).astype(np.int64).clip(0, 255)]
    return np.where(mask.astype(bool)[..., None], colours, np.uint8(WHITE))


def normal_picture(normals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Colours of normals: R = (1 - nx)/2, G = (1 - ny)/2, B = -nz, cut off to bytes, white outside the mask.

    Blue of a normal that points away (nz > 0) is negative and wraps around at 256, so that nz = 1 gives 1, as the
    original's conversion does on x86 processors (docs/parity.md, 52), and this one on all.

    Args:
        normals: (H, W, 3) vectors of any length.
        mask: (H, W) bool.

    Returns:
        (H, W, 3) uint8.
    """
    nx, ny, nz = np.moveaxis(unit(normals), -1, 0)
    colours = np.stack([(1 - nx) / 2 * 255, (1 - ny) / 2 * 255, -nz * 255], axis=-1)
    wrapped = (colours.astype(np.int64) & 255).astype(np.uint8)
    return np.where(mask.astype(bool)[..., None], wrapped, np.uint8(WHITE))


def result_picture(
    image: np.ndarray, depth_m: np.ndarray, normals: np.ndarray, mask: np.ndarray, farthest_share: float = 1.0
) -> np.ndarray:
    """(H, 3 W, 3) uint8: image | depth | normals, as of inference and of the depth and joint trainings.

    Raises:
        InputError: As :func:`depth_picture`.
    """
    panels = [image, depth_picture(depth_m, mask, farthest_share), normal_picture(normals, mask)]
    return np.concatenate(panels, axis=1)


def normal_result_picture(image: np.ndarray, normals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, 2 W, 3) uint8: image | normals, as of the normal training."""
    return np.concatenate([image, normal_picture(normals, mask)], axis=1)


def text_map(values: np.ndarray) -> str:
    """(H, W) numbers as "%.5f" between blanks, a line a row; -0.0 is "-0.00000" (docs/parity.md, 54)."""
    line = " ".join(["%.5f"] * values.shape[1]) + "\n"
    return "".join(line % tuple(row) for row in values.tolist())


def mesh_faces(depth_m: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The triangles of the original's mesh (docs/parity.md, 55).

    A pixel (i, j) with i, j >= 2, in the mask and not at the lower or right border, gets two triangles with its
    neighbours below and to the right, if in every row and every column of the 3 x 3 pixels around it the first depth
    differs by less than 0.07 from the second and from the third.

    Args:
        depth_m: (H, W), 0 outside the mask.
        mask: (H, W) bool.

    Returns:
        (F, 3) int64: vertices counted from 1 in row order, in the order of the file.
    """
    depth = depth_m.astype(np.float64)
    joined = _rows_are_smooth(depth) & _rows_are_smooth(depth.T).T & mask.astype(bool)[1:-1, 1:-1]
    joined[:1], joined[:, :1] = False, False
    rows, columns = np.nonzero(joined)
    width = depth.shape[1]
    corner = (rows + 1) * width + columns + 2
    right, below = corner + 1, corner + width
    return np.stack([corner, right, below, below + 1, below, right], axis=1).reshape(-1, 3)


def mesh_obj(depth_m: np.ndarray, mask: np.ndarray) -> str:
    """The original's mesh as text of a Wavefront OBJ file.

    Vertices are (2 row / H, 2 column / W, depth) of all pixels, background included: not metric (docs/parity.md,
    55). Numbers are written with the digits that a float64 needs, whatever the precision of the depths.

    Args:
        depth_m: (H, W), 0 outside the mask.
        mask: (H, W) bool.
    """
    height, width = depth_m.shape
    across = [f"{2 * column / width}" for column in range(width)]
    lines = [
        f"v {2 * row / height} {x} {z}\n"
        for row, depths in enumerate(depth_m.tolist())
        for x, z in zip(across, depths, strict=True)
    ]
    lines += [f"f {a} {b} {c}\n" for a, b, c in mesh_faces(depth_m, mask).tolist()]
    return "".join(lines)


def save_original(maps: OriginalMaps, out_dir: str | Path, name: str) -> dict[str, Path]:
    """Writes the six files of the original's inference into a folder, which is made if need be.

    ``NAME.txt`` masked depth, ``NAME_normal_1.txt`` to ``_3`` masked normals, ``NAME_mesh.obj`` and
    ``NAME_results.png`` = image | depth | normals.

    Returns:
        File by its name, for example ``{"0043.txt": Path(...)}``.

    Raises:
        InputError: If the mask holds no positive depth, or the folder cannot be written.
    """
    # A product, not a choice: negative values outside the mask become -0.0, visible in the text (docs/parity.md, 54).
    depth_m = maps.depth_m * maps.mask
    contents = {f"{name}.txt": text_map(depth_m).encode()}
    for axis in range(3):
        contents[f"{name}_normal_{axis + 1}.txt"] = text_map(maps.normals[..., axis] * maps.mask).encode()
    contents[f"{name}_mesh.obj"] = mesh_obj(depth_m, maps.mask).encode()
    contents[f"{name}_results.png"] = encode_png(result_picture(maps.image, depth_m, maps.normals, maps.mask))
    files = {file: Path(out_dir) / file for file in contents}
    try:
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        for file, content in contents.items():
            files[file].write_bytes(content)
    except OSError as error:
        raise InputError(f"{out_dir}: cannot be written ({error.strerror or error})") from error
    return files


def _rows_are_smooth(depth: np.ndarray) -> np.ndarray:
    """(H - 2, W - 2) bool: in all three rows of the 3 x 3 pixels the first is close to the second and the third."""
    first, second, third = depth[:, :-2], depth[:, 1:-1], depth[:, 2:]
    smooth = (np.abs(first - second) < MAX_STEP_M) & (np.abs(first - third) < MAX_STEP_M)
    whole: np.ndarray = smooth[:-2] & smooth[1:-1] & smooth[2:]
    return whole
