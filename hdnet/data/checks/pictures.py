"""Checks of the mask and of the colour pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from hdnet.data.checks.findings import Findings
from hdnet.data.checks.shapes import check_placement, outside

# Below this a colour channel is not white; the rim of an antialiased picture is lighter than the person.
_WHITE = 250
# Pixels around the mask that an antialiased or resized picture may colour.
_RIM_PX = 2
_FEW = 0.01
# Mean difference of `color` and `color_WO_bg` inside the mask, in grey levels; rewriting as JPEG makes 1 to 3.
_MAX_COLOR_DIFFERENCE = 10.0


def check_mask(found: Findings, file: Path, mask: np.ndarray, *person: np.ndarray) -> bool:
    """Check that the mask is neither empty nor inverted, and warn of small, very large or scattered ones.

    ``person`` are (H, W) bool maps of the person in other pictures. Returns whether the mask is usable.
    """
    share = float(mask.mean())
    if not share:
        found.error(
            file,
            "empty mask",
            "no value above 100, the mask is empty; expected 0 outside and 255 on the person; multiply a 0/1 "
            "mask by 255; remove frames without a person",
        )
        return False
    missed = [outside(place, mask) for place in person if place.any() and place.mean() < 0.9]
    if share > 0.3 and missed and min(missed) > 0.6 and mask[[0, 0, -1, -1], [0, -1, 0, -1]].sum() >= 3:
        found.error(
            file,
            "inverted mask",
            f"{share:.0%} of the picture is mask, and {min(missed):.0%} of the person lies outside it: "
            "inverted; expected 0 outside and 255 on the person; replace every value by 255 minus it",
        )
        return False
    if share < 0.01:
        found.warning(
            file, "small mask", f"a mask of {share:.2%} of the picture; expected 1 % or more; crop closer to the person"
        )
    elif share > 0.95:
        found.warning(
            file,
            "mask without background",
            f"a mask of {share:.0%} of the picture; expected background around the person; segment the person",
        )
    pieces, count = ndimage.label(mask, np.ones((3, 3), dtype=int))
    if count > 1:
        largest = np.bincount(pieces[mask])[1:].max() / mask.sum()
        if largest < 0.7:
            found.warning(
                file,
                "mask in pieces",
                f"{count} pieces, the largest with {largest:.0%} of the mask; expected one person in one piece; "
                "keep one person; crop closer where something stands in front",
            )
    return True


def ink(white_image: np.ndarray) -> np.ndarray:
    """(H, W) bool: where a picture without background is not white."""
    red, green, blue = np.moveaxis(white_image, -1, 0)
    return np.asarray(np.minimum(np.minimum(red, green), blue) < _WHITE)


def check_white_image(found: Findings, file: Path, white_image: np.ndarray, mask: np.ndarray) -> None:
    """Check that the picture without background shows the person where the mask is, on white.

    A picture that lies elsewhere is an error. Background that is not white is a warning, since every reader
    sets it to 255 (docs/parity.md, 37).
    """
    drawn = ink(white_image)
    far = np.asarray(~ndimage.binary_dilation(mask, np.ones((3, 3), dtype=bool), iterations=_RIM_PX))
    stained = drawn & far
    if stained.sum() > _FEW * drawn.sum() and drawn.mean() < 0.9:
        lies = "the picture lies", "the person where the mask is", "colour placement"
        if check_placement(found, file, drawn, mask, *lies):
            return
    if stained.sum() > _FEW * far.sum():
        level = float(np.median(white_image[far]))
        found.warning(
            file,
            "background not white",
            f"{stained.sum() / far.sum():.0%} of the background is not white (median value {level:.0f}); "
            "expected 255 outside the mask; nothing to do where only hdnet reads it, which sets it to white",
        )
        return
    blank = float((~drawn)[mask].mean())
    if blank > 0.3:
        found.warning(
            file,
            "white inside the mask",
            f"{blank:.0%} of the mask is white in the picture; expected a mask that ends with the person; "
            "check that mask and picture belong together; white clothes are fine",
        )


def check_color(found: Findings, file: Path, image: np.ndarray, white_image: np.ndarray, mask: np.ndarray) -> None:
    """Check the full picture against the one without background; the original ignores it (docs/parity.md, 34)."""
    if _difference(image, white_image, mask) <= _MAX_COLOR_DIFFERENCE:
        return
    changes = {
        "mirrored left to right": image[:, ::-1],
        "upside down": image[::-1],
        "with red and blue exchanged": image[..., ::-1],
    }
    name, least = min(
        ((name, _difference(changed, white_image, mask)) for name, changed in changes.items()), key=lambda pair: pair[1]
    )
    found.warning(
        file,
        "color against color_WO_bg",
        f"inside the mask it differs from color_WO_bg by {_difference(image, white_image, mask):.0f} grey "
        f"levels{f': {name}, one of the two' if least <= _MAX_COLOR_DIFFERENCE else ''}; expected the "
        "same person, pixel by pixel; make color_WO_bg from color and the mask",
    )


def _difference(image: np.ndarray, white_image: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute difference inside the mask, in grey levels."""
    return float(np.abs(image[mask].astype(np.int16) - white_image[mask]).mean())
