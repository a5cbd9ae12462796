"""One photograph through the network for photographs: the person found, looked at, and mapped back to the picture."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from hdnet.errors import InputError
from hdnet.geometry import Camera, masked_median, unproject
from hdnet.geometry.normals import unit_vectors
from hdnet.models import ModelIdentity
from hdnet.models.estimates import in_camera
from hdnet.models.lite import PersonMaps
from hdnet.pictures import faults
from hdnet.pictures.checks import Photo
from hdnet.pictures.crop import MIN_MASK_PIXELS, Crop, bounds, cut_out, map_back, placed, sampled
from hdnet.pictures.densepose import OTHER_SIDE
from hdnet.pictures.people import HEAD_PARTS, TORSO_PARTS
from hdnet.pictures.resampling import dilated
from hdnet.pictures.rotation import default_camera
from hdnet.predict.finding import (
    MIN_SQUARE_SHARE,
    Look,
    Seen,
    check_finite,
    find_people,
    in_box,
    looks_like_a_person,
    person_in,
    probability_of,
    see,
    square_of_box,
)
from hdnet.predict.prediction import Box, PersonLook, Prediction, ScaleSource
from hdnet.predict.runtime_names import Outputs
from hdnet.predict.surface import agreed_normals

# Smallest share of a given mask that the network, told of the mask, has to see a person in.
MIN_MASK_AGREEMENT = 0.3
# A box is about a person if it holds so much of the person, as a tight or loose one does, or if the person covers so
# much of the box, as of that of a face.
_LEAST_OF_PERSON, _LEAST_OF_BOX = 0.5, 0.1
# Of the network's pixels: boxes of the first look are a pixel or two off.
_BOX_MARGIN_PX = 6
_HEIGHT_M = (0.4, 2.6)
_BODY = {
    "the head is": HEAD_PARTS,
    "the trunk is": TORSO_PARTS,
    "the thighs are": (7, 8, 9, 10),
    "the shins are": (11, 12, 13, 14),
    "the feet are": (5, 6),
}
_LEAST_PART_PIXELS = 12
# Somebody who stands: distance from trunk to feet over the way by thighs and shins; cosine of the angle between that
# and from trunk to head; that way over the distance from head to trunk, about 2.3.
_STRAIGHT, _UPRIGHT, _LEGS = 0.9, 0.85, (1.7, 4.0)
ADULT_M = 1.68
"""Height that somebody who stands is likely to have: half of all adults are within 1.61 and 1.75 m."""
# Relative standard deviations of adults' heights and of the network's scale; the weight of the first by both.
_ADULTS_DIFFER, _SCALE_ERRS = 0.06, 0.1
ADULT_WEIGHT = _SCALE_ERRS**2 / (_SCALE_ERRS**2 + _ADULTS_DIFFER**2)
"""Exponent of the factor that takes the person to an adult's height, where nobody tells it."""


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """One person of a photograph, ready for the network.

    Attributes:
        inputs_4hw: (4, 256, 256) float32 as :class:`hdnet.models.PersonModel` takes it: the person cut out, on white,
            and mirrored where there is a first look.
        within: (256, 256) bool, where the square shows the picture.
        square: The part of the picture that those 256 x 256 pixels are.
        photo: The photograph as given.
        camera: The caller's camera of the picture; None if not known.
        height_m: The person's height, told by the caller; None if not known.
        people: Boxes of the people found, this one first; empty where none were searched for.
        first: The look at the person cut out by a given mask, or at person and background, in which the mask was found
            that ``inputs_4hw`` has as its hint; averaged with the outputs, mirrored back. None where the outputs count
            alone.
    """

    inputs_4hw: np.ndarray
    within: np.ndarray
    square: Crop
    photo: Photo
    camera: Camera | None
    height_m: float | None = None
    people: tuple[Box, ...] = ()
    first: Seen | None = None


def prepare_photo(
    photo: Photo,
    camera: Camera | None,
    crop: bool,
    look: Look,
    box: Box | None = None,
    height_m: float | None = None,
) -> PreparedPhoto:
    """Cut out what the network reads: the square about the given mask or box, or about the person that it finds.

    The network looks at the square once, without a mask to find one, and then at the person alone on white, mirrored:
    the background misleads, and networks err to one side. The mean of both looks takes 13 real people from 50.4 to 47.0
    mm and from 22.9 to 22.4 degrees, with masks given from 46.3 to 45.0 mm and from 22.3 to 22.0.

    Args:
        photo: The photograph.
        camera: The caller's; None if not known.
        crop: False takes the whole picture.
        look: The network.
        box: Box of the person meant.
        height_m: Height of the person.

    Raises:
        InputError: There is no person in the picture or square, or box or height cannot be used.
        ModelError: The maps of the first look are not finite.
    """
    check_height(height_m)
    if box is not None and photo.mask is not None:
        raise faults.BOX_AND_MASK.error()
    people: tuple[Box, ...] = ()
    if box is not None:
        square, people = square_of_box(box, photo.image.shape[:2]), (box,)
    elif not crop:
        square = Crop.letterbox(*photo.image.shape[:2])
    elif photo.mask is not None:
        square = Crop.around(photo.mask)
    else:
        found = find_people(photo.image, look)
        square, people = found[0].square, tuple(one.box for one in found)
    first = see(photo.image, square, look, photo.mask)
    prepared = PreparedPhoto(flipped(first.inputs_4hw), first.within, square, photo, camera, height_m, people, first)
    if photo.mask is not None:
        return prepared
    inside = _found(prepared, first.maps, first.probability)
    return replace(prepared, inputs_4hw=flipped(cut_out(first.inputs_4hw, inside, first.within)))


def check_height(height_m: float | None) -> None:
    """Raise an InputError for a height that no person has."""
    if height_m is not None and not _HEIGHT_M[0] <= height_m <= _HEIGHT_M[1]:
        raise faults.HEIGHT_OUT_OF_RANGE.error(value=height_m)


def finish_photo(
    prepared: PreparedPhoto,
    outputs: Outputs,
    model_camera: Camera,
    identity: ModelIdentity | None,
    metric: bool,
) -> Prediction:
    """Turn the network's maps of the square into depth and normals of the picture, in the caller's camera.

    The distance is that of the height that the caller tells, or else the network's; of somebody who stands and is seen
    from head to feet this is corrected, since adults differ less in height than the network errs.

    Args:
        prepared: The picture.
        outputs: What the network gave for it.
        model_camera: Camera that the model assumes where the caller has none.
        identity: The registered model.
        metric: The network tells the distance, see :class:`hdnet.models.lite.LiteConfig`.

    Raises:
        InputError: There is no person in the square, the mask covers something else, or the height is not seen.
        ModelError: The outputs are not finite.
    """
    maps = person_maps(outputs)
    check_finite(maps)
    photo, square, first = prepared.photo, prepared.square, prepared.first
    if first is not None:
        maps, seen = averaged([first.maps, mirrored(maps)]), first.probability
    else:
        seen = probability_of(maps, prepared.within)
    if photo.mask is not None:
        inside = _given(prepared, seen)
    else:
        inside = _found(prepared, maps, seen) if first is None else _hint(prepared)
    camera = prepared.camera or default_camera(model_camera, square)
    in_square = camera.crop(square.left, square.top, square.zoom)
    depth_m, normals = _in_camera(maps, inside, in_square, metric)
    normals = agreed_normals(depth_m, normals, inside, in_square)
    look = PersonLook(maps, inside, square)
    source: ScaleSource = "estimated" if metric else "assumed"
    if prepared.height_m is not None:
        depth_m, source = depth_m * (prepared.height_m / height_of(depth_m, look, in_square)), "height"
    elif metric:
        with suppress(InputError):  # no height is seen
            depth_m = depth_m * np.float32((ADULT_M / height_of(depth_m, look, in_square)) ** ADULT_WEIGHT)
    mask = photo.mask if photo.mask is not None else mask_of_picture(seen, look, photo.image.shape[:2])
    maps_hw = in_picture(depth_m, normals, look, mask)
    return Prediction(*maps_hw, mask, photo.image, camera, identity, look, source, prepared.people)


def in_picture(
    depth_m: np.ndarray, normals: np.ndarray, look: PersonLook, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Resize depth (S, S) and normals (S, S, 3) of a square to the picture: (H, W), (H, W, 3), 0 outside the mask."""
    (top, bottom), (left, right) = bounds(mask)
    x, y = look.square.places(np.arange(left, right), np.arange(top, bottom))
    part = (slice(top, bottom), slice(left, right))
    return placed(*map_back(depth_m, normals, look.inside, x, y), mask, part)


def averaged(looks: Sequence[PersonMaps]) -> PersonMaps:
    """Return the first of some looks at one square with the means of normals and relief."""
    return looks[0]._replace(
        normals_b3hw=torch.stack([unit_vectors(one.normals_b3hw) for one in looks]).mean(0),
        relief_b1hw=torch.stack([one.relief_b1hw for one in looks]).mean(0),
    )


def mirrored(maps: PersonMaps) -> PersonMaps:
    """Return the maps of a mirrored picture as those of the picture; U and V stay those of the other side's charts."""
    turned = PersonMaps(*(one.flip(-1) if one.dim() == 4 else one for one in maps))
    return turned._replace(
        normals_b3hw=turned.normals_b3hw * torch.tensor([-1.0, 1, 1])[:, None, None],
        parts_b25hw=turned.parts_b25hw[:, OTHER_SIDE],
    )


def flipped(inputs_4hw: np.ndarray) -> np.ndarray:
    """Return the network's input of the mirrored picture."""
    return np.ascontiguousarray(inputs_4hw[..., ::-1])


def person_maps(outputs: Outputs) -> PersonMaps:
    """Return the network's outputs for one picture as maps of a batch of one.

    Raises:
        TypeError: They are outputs of another network.
    """
    if not isinstance(outputs, tuple):
        raise TypeError(f"expected the outputs of a network for photographs, got an array of shape {outputs.shape}")
    return PersonMaps(*(torch.from_numpy(np.ascontiguousarray(one))[None] for one in outputs))


def _found(prepared: PreparedPhoto, maps: PersonMaps, seen: np.ndarray) -> np.ndarray:
    wanted = in_box(prepared.square, prepared.people[0]) if prepared.people else None
    mask = person_in(maps, seen, wanted)
    if wanted is not None and not _is_meant(mask, wanted):
        mask = np.zeros_like(mask)
    if wanted is not None and len(prepared.people) > 1:
        # What is left of a neighbour whose body lies beyond the square.
        mask = mask & dilated(wanted, _BOX_MARGIN_PX)
    share = float(mask.mean())
    if share < MIN_SQUARE_SHARE:
        raise faults.NO_PERSON.error(reason=faults.LITTLE_OF_A_PERSON.format(share=share, least=MIN_SQUARE_SHARE))
    if not looks_like_a_person(maps, seen, mask):
        raise faults.NO_PERSON.error(reason=faults.NO_CERTAIN_PARTS.format(share=share))
    return mask


def _is_meant(person: np.ndarray, wanted: np.ndarray) -> bool:
    """Return whether a box is about a person, and does not only touch an arm or a leg of somebody beside."""
    covered = (person & wanted).sum()
    return bool(covered >= _LEAST_OF_PERSON * person.sum() or covered >= _LEAST_OF_BOX * wanted.sum())


def _hint(prepared: PreparedPhoto) -> np.ndarray:
    """The mask (S, S) bool of the square that the network is told."""
    told_4hw = prepared.inputs_4hw if prepared.first is None else flipped(prepared.inputs_4hw)
    told: np.ndarray = told_4hw[3] > 0
    return told


def _given(prepared: PreparedPhoto, seen: np.ndarray) -> np.ndarray:
    """The given mask in the square, taken as it is; it only has to be of a person."""
    inside = _hint(prepared)
    if inside.sum() < MIN_MASK_PIXELS:
        raise faults.UNUSABLE_INPUT.error(count=int(inside.sum()), least=MIN_MASK_PIXELS)
    share = float((seen[inside] > 0.5).mean())
    if share < MIN_MASK_AGREEMENT:
        raise faults.MASK_CONTRADICTS_PICTURE.error(share=share, least=MIN_MASK_AGREEMENT)
    return inside


def _in_camera(maps: PersonMaps, inside: np.ndarray, camera: Camera, metric: bool) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) depth and (S, S, 3) unit normals in a camera of the square; the median distance is the mask's."""
    median = masked_median(maps.relief_b1hw, torch.from_numpy(inside)[None, None])
    shifted = maps._replace(relief_b1hw=maps.relief_b1hw - median)
    found = in_camera(shifted, camera, torch.tensor([metric]))
    return found.depth_b1hw[0, 0].numpy(), found.normals_b3hw[0].permute(1, 2, 0).numpy()


def height_of(depth_m: np.ndarray, look: PersonLook, camera: Camera) -> float:
    """Height of a standing person in the units of a depth (S, S): from the top of the head to the lower foot.

    Raises:
        InputError: Head or feet are not seen, or the person does not stand.
    """
    points = unproject(torch.from_numpy(depth_m)[None, None], camera)[0].permute(1, 2, 0).numpy()[look.inside]
    part = look.parts[look.inside]
    seen = [points[np.isin(part, parts)] for parts in _BODY.values()]
    for name, one in zip(_BODY, seen, strict=True):
        if len(one) < _LEAST_PART_PIXELS:
            raise faults.HEIGHT_UNSEEN.error(reason=f"{name} not seen")
    head, trunk, thighs, shins, feet = seen
    middle = [np.median(seen, axis=0) for seen in (head, trunk, thighs, shins, feet)]
    steps = [a - b for a, b in pairwise(middle)]
    lengths = [float(np.linalg.norm(step)) for step in steps]
    below_trunk, way = middle[1] - middle[-1], sum(lengths[1:])
    distance = float(np.linalg.norm(below_trunk))
    upright = float(steps[0] @ below_trunk) / (lengths[0] * distance)
    if distance < _STRAIGHT * way or upright < _UPRIGHT or not _LEGS[0] < way / lengths[0] < _LEGS[1]:
        raise faults.HEIGHT_UNSEEN.error(reason="the person sits, kneels, bends or lies")
    # Along the body, so that a bend at the waist does not count.
    above, below = (head @ steps[0] / lengths[0]), (feet @ steps[-1] / lengths[-1])
    return sum(lengths) + float(above.max() - np.median(above) + np.median(below) - below.min())


def mask_of_picture(probability: np.ndarray, look: PersonLook, size: tuple[int, int]) -> np.ndarray:
    """Return where the probability (S, S) of a square, interpolated, is above a half near the person: (H, W) bool.

    Raises:
        InputError: Too little of a person is in the picture.
    """
    square, near = look.square, dilated(look.inside, 2)
    (top, bottom), (left, right) = bounds(near)
    edges_x, edges_y = (
        (np.array([left, right]) - 0.5) * square.zoom + square.left,
        (np.array([top, bottom]) - 0.5) * square.zoom + square.top,
    )
    first_x, last_x = max(0, int(np.ceil(edges_x[0]))), min(size[1], int(np.floor(edges_x[1])) + 1)
    first_y, last_y = max(0, int(np.ceil(edges_y[0]))), min(size[0], int(np.floor(edges_y[1])) + 1)
    x, y = square.places(np.arange(first_x, last_x), np.arange(first_y, last_y))
    mask = np.zeros(size, bool)
    mask[first_y:last_y, first_x:last_x] = sampled(np.where(near, probability, 0), x, y) > 0.5
    if mask.sum() < MIN_MASK_PIXELS:
        raise faults.UNUSABLE_INPUT.error(count=int(mask.sum()), least=MIN_MASK_PIXELS)
    return mask
