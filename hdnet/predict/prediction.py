"""Depth and normals of one picture, their mesh and their files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from hdnet import visualize
from hdnet.errors import InputError
from hdnet.geometry import Camera, expected_angle_deg
from hdnet.models import ModelIdentity
from hdnet.models.estimates import body_map, nearest_of_body
from hdnet.models.lite import PersonMaps
from hdnet.pictures.crop import NETWORK_SIZE, Crop, bounds, sampled
from hdnet.pictures.reading import iuv_to_png_rgb
from hdnet.pictures.resampling import extended, nearest
from hdnet.pictures.writing import encode_png
from hdnet.predict.mesh import MAX_JUMP_M, Mesh, depth_to_mesh
from hdnet.predict.surface import joined_depth, largest_step_m

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of a picture, 0 at the centre of its first pixel."""


ScaleSource = Literal["height", "estimated", "assumed"]


@dataclass(frozen=True)
class Scale:
    """The distance at which a person is put, which the picture alone does not show.

    Attributes:
        source: "height", from the height that the caller told; "estimated", by a model that has learned the size of
            people; "assumed", the usual 4 m.
        distance_m: Median of the depth.
    """

    source: ScaleSource
    distance_m: float


@dataclass(frozen=True, eq=False)
class PersonLook:
    """What the network for photographs says of a square of a picture, beside depth and normals.

    Attributes:
        maps: The network's maps, of a batch of one.
        inside: (S, S) bool, the person.
        square: The part of the picture.
    """

    maps: PersonMaps
    inside: np.ndarray
    square: Crop

    @cached_property
    def iuv(self) -> np.ndarray:
        """(S, S, 3) uint8 body map: part, U, V."""
        return body_map(self.maps)

    @cached_property
    def parts(self) -> np.ndarray:
        """(S, S) uint8 body part of the network's nearest pixel, quicker than :attr:`iuv`."""
        small: np.ndarray = self.maps.parts_b25hw[0].argmax(0).to(torch.uint8).numpy()
        at = nearest_of_body(len(self.inside))
        enlarged: np.ndarray = small[np.ix_(at, at)]
        return enlarged

    def body(self, mask: np.ndarray) -> np.ndarray:
        """The body map (H, W, 3) of the picture, 0 outside the mask."""
        part, x, y = self._part(mask)
        picture = np.zeros((*mask.shape, 3), np.uint8)
        picture[part] = nearest(self.iuv, x, y) * mask[part][..., None]
        return picture

    def confidence(self, mask: np.ndarray) -> np.ndarray:
        """The confidence (H, W) of the picture, 0 outside the mask."""
        part, x, y = self._part(mask)
        expected_deg = expected_angle_deg(self.maps.log_kappa_b1hw[0, 0].exp()).numpy()
        picture = np.zeros(mask.shape, np.float32)
        # Beyond the network's mask the nearest value, as of depth and normals.
        inner = extended([1 - expected_deg / 90], self.inside)[0]
        picture[part] = sampled(inner, x, y).clip(0, 1) * mask[part]
        return picture

    def _part(self, mask: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        (top, bottom), (left, right) = bounds(mask)
        x, y = self.square.places(np.arange(left, right), np.arange(top, bottom))
        return (slice(top, bottom), slice(left, right)), x, y


@dataclass(frozen=True, eq=False)
class Prediction:
    """Depth and normals of one picture, in the picture's own pixels and camera.

    Attributes:
        depth_m: (H, W) float32 z in metres, 0 outside the mask.
        normals: (H, W, 3) float32 unit vectors in the camera frame, 0 outside the mask.
        mask: (H, W) bool, where there is a prediction.
        image: (H, W, 3) uint8, the picture as given.
        camera: Camera of the picture, in which depth and normals are expressed.
        identity: The registered model it came from, or None for a model file.
        look: What else the network for photographs says; None from two hourglasses.
        scale_source: As of :class:`Scale`.
        people: Boxes of the people found in the picture, the one of this prediction first. Empty where none was
            searched for: with a mask, or from two hourglasses.
    """

    depth_m: np.ndarray
    normals: np.ndarray
    mask: np.ndarray
    image: np.ndarray
    camera: Camera
    identity: ModelIdentity | None
    look: PersonLook | None = None
    scale_source: ScaleSource = "assumed"
    people: tuple[Box, ...] = ()

    @cached_property
    def confidence(self) -> np.ndarray | None:
        """Confidence of the normals: 1 - (expected angle between predicted and true normal) / 90 degrees.

        (H, W) float32 in 0..1, 0 outside the mask; None from two hourglasses, which tell none.
        """
        return None if self.look is None else self.look.confidence(self.mask)

    @cached_property
    def body(self) -> np.ndarray | None:
        """The body map found, (H, W, 3) uint8: part 0..24, U, V, 0 outside the mask; None from two hourglasses."""
        return None if self.look is None else self.look.body(self.mask)

    @cached_property
    def scale(self) -> Scale:
        """The distance, and who told it."""
        return Scale(self.scale_source, float(np.median(self.depth_m[self.mask])))

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write everything as files: see :func:`save_prediction`."""
        return save_prediction(self, folder)

    def mesh(self, size: int = NETWORK_SIZE) -> Mesh:
        """The visible surface as coloured triangles.

        Depth and normals of a model for photographs are two views of one surface and are joined for it, see
        :func:`hdnet.predict.surface.joined_depth`; two hourglasses' depth stays as it is.

        The network sees 256 pixels, whatever the picture's size: more vertices hold no more shape, and a step
        from an arm to the body behind it, spread over many pixels, would no longer be recognised as a step.

        Args:
            size: Every n-th pixel is taken so that the person spans about this many.

        Raises:
            InputError: If no four neighbouring pixels can be joined.
        """
        rows, columns = bounds(self.mask)
        step = max(1, round(max(rows[1] - rows[0], columns[1] - columns[0]) / size))
        top, left = rows[0] // step * step, columns[0] // step * step
        every = (slice(top, rows[1], step), slice(left, columns[1], step))
        camera = self.camera.crop(left, top, step)
        # As many colours as the picture has.
        texture = self.image[top : rows[1], left : columns[1]] if step > 1 else None
        depth_m, mask, normals = self.depth_m[every], self.mask[every], self.normals[every]
        max_jump_m = MAX_JUMP_M
        if self.look is not None:
            depth_m = joined_depth(depth_m, normals, mask, camera)
            max_jump_m = largest_step_m(self.scale.distance_m, camera)
        return depth_to_mesh(depth_m, mask, camera, self.image[every], max_jump_m, normals, texture)


def save_prediction(prediction: Prediction, out_dir: str | Path) -> dict[str, Path]:
    """Writes a prediction as files of a folder, which is made if need be.

    ``depth.npy`` float32 metres; ``depth.png`` 16-bit millimetres, 0 = background; ``normals.npy`` and
    ``normals.png``; ``mesh.obj`` (camera frame) and ``mesh.glb`` (y up); ``result.png`` = image | depth |
    normals; ``camera.json``; of a model for photographs also ``mask.png``, ``body.png`` (V, U, I) and
    ``confidence.png``, 255 for 1.

    Returns:
        File by its name, for example ``{"depth.npy": Path(...)}``.

    Raises:
        InputError: If the mask is too thin for a mesh, or the folder cannot be written.
    """
    return write_files(file_writers(prediction, prediction.mesh()), out_dir)


FileWriters = dict[str, Callable[[Path], object]]
"""What writes a file, by the file's name."""


def file_writers(prediction: Prediction, mesh: Mesh | None = None) -> FileWriters:
    """What writes the files of :func:`save_prediction`, without a mesh those of the maps."""
    p = prediction

    def picture(draw: Callable[[], np.ndarray]) -> Callable[[Path], object]:
        return lambda path: path.write_bytes(encode_png(draw()))

    writers: FileWriters = {
        "depth.npy": lambda path: np.save(path, p.depth_m),
        "depth.png": picture(lambda: depth_millimetres(p.depth_m, p.mask)),
        "normals.npy": lambda path: np.save(path, p.normals),
        "normals.png": picture(lambda: visualize.normal_picture(p.normals, p.mask)),
    }
    if mesh is not None:
        writers |= {"mesh.obj": mesh.write_obj, "mesh.glb": lambda path: path.write_bytes(mesh.to_glb())}
    writers["result.png"] = picture(lambda: visualize.panel(p.image, p.depth_m, p.normals, p.mask))
    writers["camera.json"] = lambda path: path.write_text(json.dumps(p.camera.to_dict(), indent=2) + "\n")
    look = p.look
    if look is not None:
        writers["confidence.png"] = picture(lambda: confidence_levels(p))
        writers["mask.png"] = picture(lambda: p.mask.astype(np.uint8) * 255)
        writers["body.png"] = picture(lambda: iuv_to_png_rgb(look.body(p.mask)))
    return writers


def write_files(writers: FileWriters, out_dir: str | Path) -> dict[str, Path]:
    """Write files into a folder, which is made if need be.

    Raises:
        InputError: If the folder cannot be written.
    """
    files = {name: Path(out_dir) / name for name in writers}
    try:
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        for name, write in writers.items():
            write(files[name])
    except OSError as error:
        raise InputError(f"{out_dir}: cannot be written ({error.strerror or error})") from error
    return files


def confidence_levels(prediction: Prediction) -> np.ndarray:
    """(H, W) uint8, 255 times the confidence; 0 everywhere where the model tells none."""
    confidence = prediction.confidence
    if confidence is None:
        return np.zeros(prediction.mask.shape, np.uint8)
    levels: np.ndarray = np.rint(255 * confidence).astype(np.uint8)
    return levels


def depth_millimetres(depth_m: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) uint16 millimetres, 0 outside the mask; inside at least 1, at most 65535 (65.5 m)."""
    millimetres = np.zeros(depth_m.shape, np.uint16)
    for strip in visualize.strips(len(depth_m)):
        whole = np.rint(depth_m[strip] * 1000.0)
        np.copyto(millimetres[strip], whole.clip(1, 65535, out=whole), where=mask[strip], casting="unsafe")
    return millimetres
