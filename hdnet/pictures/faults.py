"""Faults of a caller's pictures and camera: one code, one text and one example each.

The command line and Python show the text; the HTTP service maps the code to a problem and documents the example.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hdnet.errors import InputError

FORMATS = "PNG, JPEG, WebP, AVIF, HEIC, BMP or GIF"


@dataclass(frozen=True)
class Fault:
    """One kind of error.

    Attributes:
        code: Stable name for programs.
        text: Template of the error's line, for :meth:`str.format`.
        example: Values of the template for documentation.
        parts: The inputs at fault, those of the example where it varies.
    """

    code: str
    text: str
    example: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()

    def error(self, *parts: str, **values: Any) -> InputError:
        """The error with these values; ``parts`` replaces the declared ones."""
        return InputError(self.text.format(**values), self.code, parts or self.parts)


MISSING_MASK = Fault(
    "missing_part",
    "no mask given: expected the part 'mask' (--mask), a white person on black, or an image that is transparent around "
    "the person",
    parts=("mask",),
)
MISSING_DENSEPOSE = Fault(
    "missing_densepose",
    "no DensePose map given: this model needs the part 'densepose' (--densepose); a model for photographs does not",
    parts=("densepose",),
)
EMPTY_FILE = Fault("empty_part", f"{{name}}: is empty, expected {FORMATS}", {"name": "mask"}, ("mask",))
NOT_A_PICTURE = Fault(
    "not_a_picture",
    f"{{name}}: {{size}} bytes that are not a picture, expected {FORMATS}",
    {"name": "image", "size": 1834},
    ("image",),
)
UNSUPPORTED_FORMAT = Fault(
    "unsupported_format",
    f"{{name}}: found {{kind}}, expected {FORMATS}; {{advice}}",
    {"name": "image", "kind": "a PDF document", "advice": "export the page or the picture in it as PNG or JPEG"},
    ("image",),
)
DAMAGED_PICTURE = Fault(
    "damaged_picture",
    "{name}: a truncated or damaged picture ({reason})",
    {"name": "image", "reason": "image file is truncated (12 bytes not processed)"},
    ("image",),
)
TOO_MANY_PIXELS = Fault(
    "too_many_pixels",
    "{name}: {found}, the limit is {limit:.1f} megapixels: make it smaller, or raise the limit (--max-megapixels, or "
    "HDNET_MAX_PIXELS of the service)",
    {"name": "image", "found": "9000 x 6000 = 54.0 megapixels", "limit": 25.0},
    ("image",),
)
UNUSABLE_PICTURE = Fault(
    "unusable_picture",
    "{name}: {reason}",
    {
        "name": "densepose",
        "reason": "blue goes up to 255, expected the body part I = 0..24 there (channel order 'vui'); red looks like "
        "I: state the channel order 'iuv'",
    },
    ("densepose",),
)
SIZE_MISMATCH = Fault(
    "size_mismatch",
    "the pictures differ in size: {sizes}; expected one size, mask and map of the upright photograph (their own EXIF "
    "orientation does not count)",
    {"sizes": "image 1080 x 1920, mask 540 x 960, densepose 1080 x 1920"},
    ("mask",),
)
EMPTY_MASK = Fault(
    "empty_mask",
    "the mask is empty: no pixel is above 100; expected the person in white (255) on black",
    parts=("mask",),
)
MASK_COVERS_NOTHING = Fault(
    "mask_covers_nothing",
    "the mask covers nothing of the picture: all pixels under it are white background",
    parts=("image", "mask"),
)
NO_DENSEPOSE_PARTS = Fault(
    "no_densepose_parts",
    "the DensePose map has no body part (I is 0 everywhere); expected parts 1..24 on the person",
    parts=("densepose",),
)
MASK_INVERTED = Fault(
    "mask_inverted",
    "the mask seems inverted: {reason}; expected the person in white (255) on black",
    {"reason": "97% of the body parts lie outside it, 41% of the picture beside it is body"},
    ("mask",),
)
MASK_ALL_WHITE = Fault(
    "mask_all_white",
    "the mask is white on {share:.0%} of the picture; expected the person alone in white (255), black around; without "
    "a mask a model for photographs finds the person itself",
    {"share": 1.0},
    ("mask",),
)
FEW_PARTS_IN_MASK = Fault(
    "few_parts_in_mask",
    "body parts cover {covered:.0%} of the mask{white}, expected at least {least:.0%}; is the mask of the same person "
    "and picture, and black around the person?",
    {"covered": 0.14, "white": ", which is white on 100% of the picture", "least": 0.6},
    ("mask", "densepose"),
)
MASK_MISSES_PERSON = Fault(
    "mask_misses_person",
    "no body part of the DensePose map lies inside the mask; expected both to show the same person",
    parts=("mask", "densepose"),
)
SEVERAL_PEOPLE = Fault(
    "several_people",
    "the DensePose map shows {people} people inside the mask; expected one: give a mask of one person at a time, with "
    "the same image and map",
    {"people": 2},
    ("mask", "densepose"),
)
SEVERAL_SILHOUETTES = Fault(
    "several_silhouettes",
    "the mask has {parts} large parts side by side, as of {parts} people; expected one: give a mask of one person at a "
    "time (or join the parts if they are one person's)",
    {"parts": 2},
    ("mask",),
)
UNUSABLE_INPUT = Fault(
    "unusable_input",
    "the mask covers {count} pixels, expected the silhouette of a person, at least {least} pixels",
    {"count": 40, "least": 64},
)
PICTURE_TOO_SMALL = Fault(
    "picture_too_small",
    "{name}: {width} x {height} pixels, expected at least {least} on each side",
    {"name": "image", "width": 16, "height": 16, "least": 32},
    ("image",),
)
LITTLE_OF_A_PERSON = "what looks like one covers {share:.1%} of the picture, expected at least {least:.1%}"
NO_CERTAIN_PARTS = "what covers {share:.0%} of the square looked at has no body parts that the model is sure of"
NO_PERSON = Fault(
    "no_person",
    "no person found: {reason}; where there is one, give its mask",
    {"reason": LITTLE_OF_A_PERSON.format(share=0.004, least=0.025)},
    ("image",),
)
UNUSABLE_BOX = Fault(
    "unusable_box",
    "box {box} in a picture of {width} x {height} pixels; expected left, top, right, bottom of one person, at least 8 "
    "pixels of it within the picture each way",
    {"box": "1200,40,1300,900", "width": 1080, "height": 1920},
    ("box",),
)
BOX_AND_MASK = Fault(
    "box_and_mask", "found a box and a mask; expected one of them: the mask already says who is meant", parts=("box",)
)
FOR_PHOTOGRAPHS = Fault(
    "for_photographs",
    "box, height_m and detail are for models for photographs, but this model is of two hourglasses: give a mask and a "
    "DensePose map of the person meant",
    parts=("box",),
)
HEIGHT_UNSEEN = Fault(
    "height_unseen",
    "the person's height is given, but {reason}; expected a standing person seen from head to feet: leave the height "
    "out, and the distance is estimated",
    {"reason": "the feet are not seen"},
    ("height_m",),
)
HEIGHT_OUT_OF_RANGE = Fault(
    "height_out_of_range",
    "the person's height is {value:g} m, expected 0.4 to 2.6",
    {"value": 175.0},
    ("height_m",),
)
MASK_CONTRADICTS_PICTURE = Fault(
    "mask_contradicts_picture",
    "{share:.0%} of what the mask covers looks like a person, expected at least {least:.0%}; is the mask inverted, or "
    "of another picture?",
    {"share": 0.05, "least": 0.3},
    ("image", "mask"),
)
CAMERA_CONFLICT = Fault(
    "camera_conflict",
    "found {given}: expected either fov_deg or fx, fy, cx, cy",
    {"given": "fx 1480, fov_deg 55"},
    ("fx", "fov_deg"),
)
INCOMPLETE_CAMERA = Fault(
    "incomplete_camera", "found {given} without fx: expected the focal length fx too", {"given": "cx 540"}, ("cx",)
)
CAMERA_OUT_OF_RANGE = Fault(
    "camera_out_of_range",
    "{name} is {value:.6g} {unit} in a {width} x {height} picture, expected {low:.6g} to {high:.6g}",
    {
        "name": "focal length fx",
        "value": 1.5,
        "unit": "pixels",
        "width": 1080,
        "height": 1920,
        "low": 384,
        "high": 192000,
    },
    ("fx",),
)

FAULTS = tuple(value for value in globals().values() if isinstance(value, Fault))
