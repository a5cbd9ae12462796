"""PNG pictures of the data folders, checked when they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hdnet.errors import DataError
from hdnet.pictures.reading import MASK_THRESHOLD

# Level 1 writes several times faster than Pillow's default of 6, for files about a tenth larger.
_COMPRESS_LEVEL = 1


def read_rgb(path: Path) -> np.ndarray:
    """Read a colour picture.

    RGB and palette pictures are taken as they are, grey ones are repeated over the channels, RGBA ones lose
    an alpha channel that is opaque everywhere.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        DataError: The file is missing, damaged, not a PNG, has 16 bits, or is transparent somewhere.
    """
    picture = open_png(path)
    if picture.mode not in ("RGB", "RGBA", "P", "L", "LA", "1"):
        raise DataError(_wrong_mode(path, picture, "8-bit RGB"))
    return _opaque_rgb(path, picture)


def read_iuv_rgb(path: Path) -> np.ndarray:
    """Read a DensePose picture, R, G, B = V, U, I as stored.

    Returns:
        (H, W, 3) uint8 in the file's channel order.

    Raises:
        DataError: As :func:`read_rgb`, and for grey pictures, which cannot hold three numbers a pixel.
    """
    picture = open_png(path)
    if picture.mode not in ("RGB", "RGBA", "P"):
        raise DataError(_wrong_mode(path, picture, "8-bit RGB with V, U, I in its three channels"))
    return _opaque_rgb(path, picture)


def read_mask(path: Path) -> np.ndarray:
    """Read a mask: True where the value is above 100 (docs/parity.md, 36).

    Returns:
        (H, W) bool. A picture without any value above 100 gives an empty mask.

    Raises:
        DataError: The file is missing, damaged, not a PNG, has 16 bits, or has channels that differ.
    """
    picture = open_png(path)
    if picture.mode == "1":
        return np.array(picture, dtype=bool)
    if picture.mode == "L":
        return np.asarray(picture) > MASK_THRESHOLD
    if picture.mode not in ("RGB", "RGBA", "P", "LA"):
        raise DataError(_wrong_mode(path, picture, "8-bit grey"))
    rgb = _opaque_rgb(path, picture)
    if (rgb != rgb[..., :1]).any():
        raise DataError(
            f"{path}: found a {picture.mode} picture whose channels differ; expected an 8-bit grey mask, "
            "0 outside and 255 on the person"
        )
    return rgb[..., 0] > MASK_THRESHOLD


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write (H, W, 3) or (H, W) uint8, or (H, W) bool as 0 and 255."""
    if pixels.dtype == bool:
        pixels = np.where(pixels, np.uint8(255), np.uint8(0))
    Image.fromarray(np.ascontiguousarray(pixels)).save(path, format="PNG", compress_level=_COMPRESS_LEVEL)


def open_png(path: Path) -> Image.Image:
    """Decode a PNG in whatever 8-bit mode it has.

    Raises:
        DataError: The file is missing, damaged, not a PNG, or has 16 bits a channel.
    """
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            # Pillow decodes 16-bit colour to 8-bit RGB; only the raw mode, which load() drops, shows it.
            sixteen_bit = any(str(tile[3]).endswith("16B") for tile in picture.tile)
            picture.load()
    except FileNotFoundError as error:
        raise DataError(f"{path}: file is missing; expected a PNG picture") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: is not a PNG picture; expected an 8-bit PNG") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected an undamaged 8-bit PNG") from error
    if sixteen_bit:
        raise DataError(f"{path}: found 16 bits a channel; expected an 8-bit PNG")
    return picture


def _opaque_rgb(path: Path, picture: Image.Image) -> np.ndarray:
    if picture.mode in ("RGBA", "LA") or "transparency" in picture.info:
        rgba = np.asarray(picture.convert("RGBA"))
        if (rgba[..., 3] != 255).any():
            raise DataError(
                f"{path}: found {picture.mode} with transparent pixels; expected an opaque 8-bit picture "
                "(put it on the background that you want and drop the alpha channel)"
            )
        return np.ascontiguousarray(rgba[..., :3])
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _wrong_mode(path: Path, picture: Image.Image, expected: str) -> str:
    return f"{path}: found pixel format {picture.mode} (16-bit or unusual); expected {expected}"
