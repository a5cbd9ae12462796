"""Depth and normals of one picture, their mesh and their files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hdnet import visualize
from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.models import ModelIdentity
from hdnet.pictures.crop import NETWORK_SIZE, bounds
from hdnet.pictures.writing import encode_png
from hdnet.predict.mesh import Mesh, depth_to_mesh


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
    """

    depth_m: np.ndarray
    normals: np.ndarray
    mask: np.ndarray
    image: np.ndarray
    camera: Camera
    identity: ModelIdentity | None

    def mesh(self, size: int = NETWORK_SIZE) -> Mesh:
        """The visible surface as coloured triangles.

        The network sees 256 pixels, whatever the picture's size: more vertices hold no more shape, and a step
        from an arm to the body behind it, spread over many pixels, would no longer be recognised as a step.

        Args:
            size: Every n-th pixel is taken so that the person spans about this many.

        Raises:
            InputError: If no four neighbouring pixels can be joined.
        """
        rows, columns = bounds(self.mask)
        step = max(1, round(max(rows[1] - rows[0], columns[1] - columns[0]) / size))
        every = (slice(None, None, step), slice(None, None, step))
        camera = self.camera.crop(0, 0, step)
        return depth_to_mesh(
            self.depth_m[every], self.mask[every], camera, self.image[every], normals=self.normals[every]
        )


def save_prediction(prediction: Prediction, out_dir: str | Path) -> dict[str, Path]:
    """Writes a prediction as files of a folder, which is made if need be.

    ``depth.npy`` float32 metres; ``depth.png`` 16-bit millimetres, 0 = background; ``normals.npy`` and
    ``normals.png``; ``mesh.obj`` (camera frame) and ``mesh.glb`` (y up); ``result.png`` = image | depth |
    normals; ``camera.json``.

    Returns:
        File by its name, for example ``{"depth.npy": Path(...)}``.

    Raises:
        InputError: If the mask is too thin for a mesh, or the folder cannot be written.
    """
    p, mesh = prediction, prediction.mesh()
    millimetre_png = encode_png(depth_millimetres(p.depth_m, p.mask))
    normals_png = encode_png(visualize.normal_picture(p.normals, p.mask))
    result_png = encode_png(visualize.panel(p.image, p.depth_m, p.normals, p.mask))
    writers: dict[str, Callable[[Path], object]] = {
        "depth.npy": lambda path: np.save(path, p.depth_m),
        "depth.png": lambda path: path.write_bytes(millimetre_png),
        "normals.npy": lambda path: np.save(path, p.normals),
        "normals.png": lambda path: path.write_bytes(normals_png),
        "mesh.obj": mesh.write_obj,
        "mesh.glb": lambda path: path.write_bytes(mesh.to_glb()),
        "result.png": lambda path: path.write_bytes(result_png),
        "camera.json": lambda path: path.write_text(json.dumps(p.camera.to_dict(), indent=2) + "\n"),
    }
    files = {name: Path(out_dir) / name for name in writers}
    try:
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        for name, write in writers.items():
            write(files[name])
    except OSError as error:
        raise InputError(f"{out_dir}: cannot be written ({error.strerror or error})") from error
    return files


def depth_millimetres(depth_m: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, W) uint16 millimetres, 0 outside the mask; inside at least 1, at most 65535 (65.5 m)."""
    millimetres = np.zeros(depth_m.shape, np.uint16)
    for strip in visualize.strips(len(depth_m)):
        whole = np.rint(depth_m[strip] * 1000.0)
        np.copyto(millimetres[strip], whole.clip(1, 65535, out=whole), where=mask[strip], casting="unsafe")
    return millimetres
