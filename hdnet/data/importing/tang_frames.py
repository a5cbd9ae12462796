"""Import of one frame of a raw release: depth registered to colour, cut to 256 x 256, a labelled sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hdnet.data.importing.archive import Reader
from hdnet.data.importing.authors_frames import normals_of
from hdnet.data.importing.densepose import check_sharp, read_densepose
from hdnet.data.importing.frame_files import as_data_error
from hdnet.data.importing.register_depth import register_depth
from hdnet.data.importing.registration import Registration, SizedCamera
from hdnet.data.importing.report import Outcome
from hdnet.data.importing.variants import Notes, read_person_mask, read_table
from hdnet.data.layout.folders import MAX_DEPTH_M, MIN_DEPTH_M, TangFolder
from hdnet.data.layout.samples import LabelledSample
from hdnet.errors import DataError
from hdnet.files import write_json
from hdnet.geometry import Camera
from hdnet.pictures.crop import NETWORK_SIZE, Crop, network_inputs
from hdnet.pictures.reading import read_image

# No person reaches further from the middle of the body; depth beyond is the wall beside the silhouette.
_REACH_M = 1.0
_LEAST_COVERED, _WELL_COVERED = 0.3, 0.8
# A depth map with more than this share of pixels measured shows a room, not a person cut out.
_CUT_OUT = 0.5


@dataclass(frozen=True)
class RawFrame:
    """Files of one frame of a raw release.

    Attributes:
        source: The part of the file names that stands for ``{frame}``.
        name: Its new name of 7 digits.
        members: Member names by kind: "color", "depth", "densepose", and "mask", "depth_to_color" where wanted.
        problem: Reason why it cannot be imported, if known without reading it.
    """

    source: str
    name: str
    members: dict[str, str]
    problem: str | None = None

    @property
    def person(self) -> str:
        """The first folder of the frame's name, or the name itself."""
        return self.source.split("/")[0]


def import_raw_frame(reader: Reader, out: Path, cameras: Path, registration: Registration, frame: RawFrame) -> Outcome:
    """Import one frame.

    Args:
        reader: Reader of the source.
        out: The ``Tang_data`` folder.
        cameras: Folder that gets ``NAME.json`` with the camera of the crop.
        registration: Units, cameras and motion.
        frame: The frame.

    Raises:
        DataError: The frame is refused.
    """
    if frame.problem:
        raise DataError(frame.problem)
    with reader.files(frame.members) as paths:
        image = as_data_error(lambda: read_image(paths["color"]), str(paths["color"]))
        _check_size(paths["color"], image, registration.color_camera, "color_camera")
        iuv = read_densepose(paths["densepose"], registration.iuv_order, "as stated; set iuv_order to {found}")
        _check_size(paths["densepose"], iuv, registration.color_camera, "color_camera")
        check_sharp(iuv[..., 0], paths["densepose"])
        depth_m = read_raw_depth(paths["depth"], registration)
        motion = registration.motion(paths.get("depth_to_color"))
        mask, notes = _person(paths, depth_m, motion, registration)
        window = Crop.around(mask)
        inputs, inside = as_data_error(lambda: network_inputs(image, mask, iuv, window), str(paths["color"]))
        camera = registration.color_camera.camera.crop(window.left, window.top, window.zoom)
        registered_m = _registered(depth_m, motion, registration, camera)
        valid = _valid(registered_m, inside)
        notes += _check_coverage(paths["depth"], valid, inside, lambda: _registered(
            depth_m, np.linalg.inv(motion), registration, camera))  # fmt: skip
    registered_m = np.where(valid, registered_m, np.float32(0))
    everything = np.ones(mask.shape, dtype=bool)
    sample = LabelledSample(
        frame.name,
        _colours(network_inputs(image, everything, iuv, window)[0]),
        np.where(valid[..., None], _colours(inputs), np.uint8(255)),
        np.ascontiguousarray(inputs[3:6].transpose(1, 2, 0).astype(np.uint8)),
        valid,
        registered_m,
        normals_of(registered_m, valid, camera),
        camera,
    )
    write_json(cameras / f"{frame.name}.json", camera.to_dict())
    TangFolder(out).write(sample)
    return Outcome(frame.source, frame.name, notes=notes)


def read_raw_depth(path: Path, registration: Registration) -> np.ndarray:
    """Read a depth map as PNG of 16 bits, NumPy array or text.

    Returns:
        (h, w) float64 in metres, 0 where nothing was measured.

    Raises:
        DataError: It is damaged, of another size than the depth camera's pictures, negative, or in another unit than
            stated.
    """
    camera = registration.depth_camera
    if path.suffix.lower() == ".png":
        values = _read_png16(path)
    elif path.suffix.lower() == ".npy":
        values = _read_npy(path)
    else:
        values = read_table(path, (camera.height, camera.width))
    _check_size(path, values, camera, "depth_camera")
    values = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if (values < 0).any():
        raise DataError(
            f"{path}: has negative depths (from {values.min():.3g}); expected distances, 0 where nothing was measured; "
            "the preprocessed form of the release is shifted by its median and holds no distances"
        )
    depth_m = values * registration.depth_unit_m
    measured = depth_m[depth_m > 0]
    if not measured.size:
        raise DataError(f"{path}: nothing was measured, all depths are 0")
    median_m = float(np.median(measured))
    if not 0.3 <= median_m <= 20:
        raise DataError(
            f"{path}: the median depth is {median_m:.4g} m by depth_unit_m {registration.depth_unit_m:g}; expected 0.3 "
            "to 20 m; correct depth_unit_m (millimetres: 0.001)"
        )
    return depth_m


def _read_png16(path: Path) -> np.ndarray:
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            if not picture.mode.startswith("I"):
                raise DataError(f"{path}: found pixel format {picture.mode}; expected 16-bit grey depth")
            return np.asarray(picture).astype(np.float64)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected an undamaged 16-bit PNG") from error


def _read_npy(path: Path) -> np.ndarray:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error}); expected a NumPy array of numbers") from error
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "fiu":
        found = getattr(values, "shape", type(values).__name__)
        raise DataError(f"{path}: found {found}; expected a (height, width) array of numbers")
    return values


def _person(
    paths: dict[str, Path], depth_m: np.ndarray, motion: np.ndarray, registration: Registration
) -> tuple[np.ndarray, Notes]:
    """Return the mask, (H, W) bool in the colour picture, given or made from the depth, and notes."""
    camera = registration.color_camera
    if "mask" in paths:
        mask, notes = read_person_mask(paths["mask"])
        _check_size(paths["mask"], mask, camera, "color_camera")
        return mask, notes
    share = float((depth_m > 0).mean())
    if share > _CUT_OUT:
        raise DataError(
            f"{paths['depth']}: {share:.0%} of the depth map is measured; expected the person alone where no mask is "
            "given; name the masks in registration.json"
        )
    size = (camera.height, camera.width)
    seen = register_depth(depth_m, registration.depth_camera.camera, motion, camera.camera, size) > 0
    if not seen.any():
        raise DataError(f"{paths['depth']}: none of it lies in the colour picture; check depth_to_color, the cameras")
    return seen, ("mask made from where the depth is",)


def _registered(depth_m: np.ndarray, motion: np.ndarray, registration: Registration, camera: Camera) -> np.ndarray:
    return register_depth(depth_m, registration.depth_camera.camera, motion, camera, (NETWORK_SIZE, NETWORK_SIZE))


def _valid(registered_m: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Return the pixels of the person whose depth is the person's."""
    valid = inside & (registered_m >= MIN_DEPTH_M) & (registered_m <= MAX_DEPTH_M)
    if valid.any():
        valid &= np.abs(registered_m - np.median(registered_m[valid])) <= _REACH_M
    return valid


def _check_coverage(path: Path, valid: np.ndarray, inside: np.ndarray, inverse: Callable[[], np.ndarray]) -> Notes:
    covered = valid.sum() / inside.sum()
    if covered >= _WELL_COVERED:
        return ()
    if covered >= _LEAST_COVERED:
        return ("depth covers less than 80 % of the mask",)
    hint = "check depth_to_color, the cameras, and that the files belong together"
    if _valid(inverse(), inside).sum() / inside.sum() >= _WELL_COVERED:
        hint = "by the inverse matrix it would cover it: give depth to colour, not colour to depth"
    raise DataError(
        f"{path}: the registered depth covers {covered:.0%} of the person; expected {_LEAST_COVERED:.0%} or more, in "
        f"{MIN_DEPTH_M:g} to {MAX_DEPTH_M:g} m; {hint}"
    )


def _colours(inputs: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.round(inputs[:3]).clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def _check_size(path: Path, pixels: np.ndarray, camera: SizedCamera, key: str) -> None:
    if pixels.shape[:2] != (camera.height, camera.width):
        raise DataError(
            f"{path}: found {pixels.shape[1]} x {pixels.shape[0]} pixels; expected {camera.width} x {camera.height} as "
            f"{key} in the registration says"
        )
