"""One photograph through the network for photographs: the person found, looked at, and mapped back to the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from hdnet.errors import ModelError
from hdnet.geometry import Camera, masked_median
from hdnet.models import ModelIdentity
from hdnet.models.estimates import in_camera
from hdnet.models.lite import PersonMaps
from hdnet.pictures import faults
from hdnet.pictures.checks import Photo
from hdnet.pictures.crop import MIN_MASK_PIXELS, Crop, bounds, map_back, placed, sampled, scene_inputs
from hdnet.pictures.rotation import default_camera
from hdnet.predict.prediction import Prediction
from hdnet.predict.runtime_names import Outputs

# Smallest share of the whole picture that is taken for a person. Pictures of nobody reach 2 %.
MIN_PERSON_SHARE = 0.025
# Smallest share of the square about a person that the person fills: arms up, seen from the side.
MIN_SQUARE_SHARE = 0.05
# Smallest share of a given mask that the network, told of the mask, has to see a person in.
MIN_MASK_AGREEMENT = 0.3
# Pieces of a mask that lie closer than this belong together.
_GAP_PX = 5


@dataclass(frozen=True, eq=False)
class PreparedPhoto:
    """One person of a photograph, ready for the network.

    Attributes:
        inputs_4hw: (4, 256, 256) float32 as :class:`hdnet.models.PersonModel` takes it.
        within: (256, 256) bool, where the square shows the picture.
        square: The part of the picture that those 256 x 256 pixels are.
        photo: The photograph as given.
        camera: The caller's camera of the picture; None if not known.
    """

    inputs_4hw: np.ndarray
    within: np.ndarray
    square: Crop
    photo: Photo
    camera: Camera | None


def prepare_photo(
    photo: Photo, camera: Camera | None, crop: bool, look: Callable[[np.ndarray], PersonMaps]
) -> PreparedPhoto:
    """Cut out what the network reads: the square about the given mask, or about the person that it finds.

    Args:
        photo: The photograph.
        camera: The caller's; None if not known.
        crop: False takes the whole picture.
        look: Gives the network's maps of one input (4, 256, 256), of a batch of one.

    Raises:
        InputError: There is no person in the picture.
    """
    if not crop:
        square = Crop.letterbox(*photo.image.shape[:2])
    else:
        square = _find(photo.image, look) if photo.mask is None else Crop.around(photo.mask)
    inputs_4hw, within = scene_inputs(photo.image, photo.mask, square)
    return PreparedPhoto(inputs_4hw, within, square, photo, camera)


def finish_photo(
    prepared: PreparedPhoto, outputs: Outputs, model_camera: Camera, identity: ModelIdentity | None
) -> Prediction:
    """Turn the network's maps of the square into depth and normals of the picture, in the caller's camera.

    Args:
        prepared: The picture.
        outputs: What the network gave for it.
        model_camera: Camera that the model assumes where the caller has none.
        identity: The registered model.

    Raises:
        InputError: There is no person in the square, or the mask covers something else.
        ModelError: The outputs are not finite.
    """
    maps = person_maps(outputs)
    if not all(bool(one.isfinite().all()) for one in maps):
        raise ModelError("model gives values that are not finite: its weights are damaged, train it again")
    photo, square = prepared.photo, prepared.square
    seen = _probability(maps) * prepared.within
    inside = _given(prepared, seen) if photo.mask is not None else _found(seen)
    camera = prepared.camera or default_camera(model_camera, square)
    depth_m, normals = _in_camera(maps, inside, camera.crop(square.left, square.top, square.zoom))
    mask = photo.mask if photo.mask is not None else _mask_of_picture(seen, inside, square, photo.image.shape[:2])
    (top, bottom), (left, right) = bounds(mask)
    x, y = square.places(np.arange(left, right), np.arange(top, bottom))
    box = (slice(top, bottom), slice(left, right))
    placed_maps = placed(*map_back(depth_m, normals, inside, x, y), mask, box)
    return Prediction(*placed_maps, mask, photo.image, camera, identity)


def person_maps(outputs: Outputs) -> PersonMaps:
    """Return the network's outputs for one picture as maps of a batch of one.

    Raises:
        TypeError: They are outputs of another network.
    """
    if not isinstance(outputs, tuple):
        raise TypeError(f"expected the outputs of a network for photographs, got an array of shape {outputs.shape}")
    return PersonMaps(*(torch.from_numpy(np.ascontiguousarray(one))[None] for one in outputs))


def _find(image: np.ndarray, look: Callable[[np.ndarray], PersonMaps]) -> Crop:
    """The square about the person that the network sees in the whole picture."""
    whole = Crop.letterbox(*image.shape[:2])
    inputs_4hw, within = scene_inputs(image, None, whole)
    mask = main_piece(_probability(look(inputs_4hw)) * within)
    share = float(mask.sum() / within.sum())
    if share < MIN_PERSON_SHARE or mask.sum() < MIN_MASK_PIXELS:
        raise faults.NO_PERSON.error(share=share, least=MIN_PERSON_SHARE)
    return whole.inner(mask)


def _probability(maps: PersonMaps) -> np.ndarray:
    """(S, S) probability of the mask."""
    probability: np.ndarray = maps.mask_b1hw[0, 0].sigmoid().numpy()
    return probability


def _found(seen: np.ndarray) -> np.ndarray:
    mask = main_piece(seen)
    share = float(mask.mean())
    if share < MIN_SQUARE_SHARE:
        raise faults.NO_PERSON.error(share=share, least=MIN_SQUARE_SHARE)
    return mask


def _given(prepared: PreparedPhoto, seen: np.ndarray) -> np.ndarray:
    """The given mask in the square, taken as it is; it only has to be of a person."""
    inside: np.ndarray = prepared.inputs_4hw[3] > 0
    if inside.sum() < MIN_MASK_PIXELS:
        raise faults.UNUSABLE_INPUT.error(count=int(inside.sum()), least=MIN_MASK_PIXELS)
    share = float((seen[inside] > 0.5).mean())
    if share < MIN_MASK_AGREEMENT:
        raise faults.MASK_CONTRADICTS_PICTURE.error(share=share, least=MIN_MASK_AGREEMENT)
    return inside


def main_piece(probability: np.ndarray) -> np.ndarray:
    """The largest piece of a mask, with what lies close to it: crumbs elsewhere are not of the person.

    Args:
        probability: (H, W), the mask's.

    Returns:
        (H, W) bool; all False where the probability is nowhere above a half.
    """
    mask: np.ndarray = np.asarray(probability > 0.5)
    label, count = ndimage.label(ndimage.binary_dilation(mask, iterations=_GAP_PX))
    if count > 1:
        weight = ndimage.sum_labels(probability * mask, label, np.arange(1, count + 1))
        mask &= label == 1 + weight.argmax()
    return mask


def _in_camera(maps: PersonMaps, inside: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) depth and (S, S, 3) unit normals in a camera of the square; the median distance is the mask's."""
    median = masked_median(maps.relief_b1hw, torch.from_numpy(inside)[None, None])
    found = in_camera(maps._replace(relief_b1hw=maps.relief_b1hw - median), camera)
    return found.depth_b1hw[0, 0].numpy(), found.normals_b3hw[0].permute(1, 2, 0).numpy()


def _mask_of_picture(seen: np.ndarray, inside: np.ndarray, square: Crop, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of the picture: where the probability, interpolated, is above a half, near the main piece."""
    near = ndimage.binary_dilation(inside, iterations=2)
    (top, bottom), (left, right) = bounds(near)
    edges_x, edges_y = (
        (np.array([left, right]) - 0.5) * square.zoom + square.left,
        (np.array([top, bottom]) - 0.5) * square.zoom + square.top,
    )
    first_x, last_x = max(0, int(np.ceil(edges_x[0]))), min(size[1], int(np.floor(edges_x[1])) + 1)
    first_y, last_y = max(0, int(np.ceil(edges_y[0]))), min(size[0], int(np.floor(edges_y[1])) + 1)
    x, y = square.places(np.arange(first_x, last_x), np.arange(first_y, last_y))
    mask = np.zeros(size, bool)
    mask[first_y:last_y, first_x:last_x] = sampled(np.where(near, seen, 0), x, y) > 0.5
    if mask.sum() < MIN_MASK_PIXELS:
        raise faults.UNUSABLE_INPUT.error(count=int(mask.sum()), least=MIN_MASK_PIXELS)
    return mask
