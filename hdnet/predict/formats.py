"""Files of a prediction for other programs: pictures, arrays, meshes, OpenEXR."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from hdnet.errors import InputError
from hdnet.predict.mesh import Axes, Mesh
from hdnet.predict.prediction import Prediction, file_writers, write_files

Format = Literal["png", "npz", "glb", "obj", "ply", "exr"]
FORMATS: tuple[Format, ...] = get_args(Format)
MAPS = "maps"  # name of the files of all maps
_EXR_NEEDS = "writing OpenEXR needs OpenImageIO, `pip install OpenImageIO`; or take the format npz"


def save_formats(
    prediction: Prediction, out_dir: str | Path, formats: Sequence[Format], axes: Axes = "y-down"
) -> dict[str, Path]:
    """Writes a prediction in some formats into a folder, which is made if need be, beside ``camera.json``.

    png: ``depth.png`` 16-bit millimetres, ``normals.png``, ``mask.png``, ``result.png``, and of models for photographs
    ``body.png`` and ``confidence.png``. npz: ``maps.npz`` with ``depth_m``, ``normals``, ``mask``, ``intrinsics`` (3 x
    3), ``confidence`` and ``body``. glb, obj, ply: ``mesh.*``. exr: ``maps.exr``, float32, channels Z in metres,
    normal.X, normal.Y, normal.Z, A (mask), confidence.

    Args:
        prediction: What to write.
        out_dir: The folder.
        formats: Some of :data:`FORMATS`.
        axes: Of OBJ and PLY; a GLB is always y up. Maps stay in the camera frame.

    Returns:
        File by its name.

    Raises:
        InputError: If the mask is too thin for a mesh, a package is missing, or the folder cannot be written.
    """
    p = prediction
    if "exr" in formats:
        _open_image_io()  # refused before anything is written
    standard = file_writers(p)
    mesh: Callable[[], Mesh] = cache(p.mesh)
    pictures = {name: write for name, write in standard.items() if name.endswith(".png")}
    writers: dict[Format, dict[str, Callable[[Path], object]]] = {
        "png": pictures,
        "npz": {f"{MAPS}.npz": lambda path: path.write_bytes(npz(p, details=True))},
        "glb": {"mesh.glb": lambda path: path.write_bytes(mesh().to_glb())},
        "obj": {"mesh.obj": lambda path: mesh().write_obj(path, axes)},
        "ply": {"mesh.ply": lambda path: mesh().write_ply(path, axes)},
        "exr": {f"{MAPS}.exr": lambda path: _write_exr(p, path)},
    }
    if {"glb", "obj", "ply"} & set(formats):
        mesh()  # refused before anything is written
    chosen = {name: write for form in FORMATS if form in formats for name, write in writers[form].items()}
    return write_files(chosen | {"camera.json": standard["camera.json"]}, out_dir)


def npz(prediction: Prediction, details: bool = False) -> bytes:
    """Return NumPy's archive of a prediction.

    Args:
        prediction: What to write.
        details: Whether to add the camera, and the body map if there is one.

    Returns:
        ``depth_m`` and ``normals`` (float32), ``mask`` (bool), where known ``confidence`` (float32); of the details
        ``intrinsics`` (3 x 3, float64) and ``body`` (uint8).
    """
    arrays: dict[str, np.ndarray | None] = {
        "depth_m": prediction.depth_m.astype(np.float32),
        "normals": prediction.normals.astype(np.float32),
        "mask": prediction.mask.astype(bool),
        "confidence": prediction.confidence,
    }
    if details:
        fx, fy, cx, cy = prediction.camera.pixel_intrinsics()
        arrays |= {"intrinsics": np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64), "body": prediction.body}
    buffer = io.BytesIO()
    # np.savez_compressed always takes level 6, which takes half as long again and saves 3 %.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            if array is not None:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def _write_exr(p: Prediction, path: Path) -> None:
    oiio = _open_image_io()
    channels = {"Z": p.depth_m, "A": p.mask}
    channels |= {f"normal.{axis}": p.normals[..., k] for k, axis in enumerate("XYZ")}
    if p.confidence is not None:
        channels["confidence"] = p.confidence
    pixels = np.stack(list(channels.values()), axis=-1).astype(np.float32)
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], "float")
    spec.channelnames = list(channels)
    output = oiio.ImageOutput.create(str(path))
    if output is None or not output.open(str(path), spec) or not output.write_image(pixels) or not output.close():
        raise InputError(f"{path}: cannot be written ({oiio.geterror() if output is None else output.geterror()})")


def _open_image_io() -> Any:
    try:
        import OpenImageIO  # an optional package
    except ImportError as error:
        raise InputError(f"{_EXR_NEEDS} ({error})") from error
    return OpenImageIO
