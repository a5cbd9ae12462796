"""Import of single samples, frames and pairs of frames of the authors' form.

Every function reads and checks all files of its item before it writes the first one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from hdnet.data.importing.archive import Reader
from hdnet.data.importing.authors_find import FrameMembers, PairMembers
from hdnet.data.importing.report import Outcome
from hdnet.data.importing.variants import (
    Notes,
    has_transparent_pixels,
    read_colour,
    read_densepose,
    read_depth,
    read_normals,
    read_person_mask,
)
from hdnet.data.layout.correspondences import read_correspondences, write_correspondences
from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.errors import DataError
from hdnet.geometry import Camera, depth_to_normals
from hdnet.pictures.crop import NETWORK_SIZE

NORMALS_COMPUTED = "normals computed from depth where none are given"


def import_labelled(reader: Reader, out: Path, item: tuple[FrameMembers, Camera]) -> Outcome:
    """Import one labelled sample.

    Args:
        reader: Reader of the source.
        out: The ``Tang_data`` folder.
        item: The frame's files, and its camera.

    Raises:
        DataError: The item is refused.
    """
    frame, camera = item
    _check_complete(frame)
    with reader.files(frame.members) as paths:
        white_image, image, iuv, mask, notes = _read_pictures(paths)
        depth_m, valid, depth_notes = read_depth(paths["depth"], mask)
        tables = frame.group("normal")
        normals, normal_notes = read_normals([paths[key] for key in tables], valid) if tables else (None, ())
    depth_m = np.where(valid, depth_m, np.float32(0))
    if normals is None:
        normals, normal_notes = normals_of(depth_m, valid, camera), (NORMALS_COMPUTED,)
    sample = LabelledSample(
        frame.name,
        white_image if image is None else image,
        np.where(valid[..., None], white_image, np.uint8(255)),
        iuv,
        valid,
        depth_m,
        normals,
        camera,
    )
    TangFolder(out).write(sample)
    return Outcome(frame.source, frame.name, notes=notes + depth_notes + normal_notes)


def import_unlabelled(reader: Reader, out: Path, keep_normals: bool, item: tuple[FrameMembers, Camera, str]) -> Outcome:
    """Import one unlabelled frame, and the normals that are stored for it.

    Args:
        reader: Reader of the source.
        out: The ``tiktok_data`` folder.
        keep_normals: Take the stored normals.
        item: The frame's files, its camera, its sequence.

    Raises:
        DataError: The item is refused.
    """
    frame, camera, sequence = item
    _check_complete(frame)
    stored = frame.group("pred_normals") if keep_normals else []
    with reader.files(frame.members) as paths:
        white_image, image, iuv, mask, notes = _read_pictures(paths)
        normals, normal_notes = _stored_normals([paths[key] for key in stored], mask)
    white_image = np.where(mask[..., None], white_image, np.uint8(255))
    folder = TikTokFolder(out)
    shown = white_image if image is None else image
    folder.write(UnlabelledFrame(frame.name, sequence, shown, white_image, iuv, mask, camera))
    if normals is not None:
        folder.write_pred_normals(frame.name, normals, mask)
    return Outcome(frame.source, frame.name, notes=notes + normal_notes)


def import_pair(reader: Reader, out: Path, pair: PairMembers) -> Outcome:
    """Import the correspondences of a pair of frames.

    Args:
        reader: Reader of the source.
        out: The ``correspondences`` folder.
        pair: The pair's files.

    Raises:
        DataError: The item is refused.
    """
    for key, ending in (("rows", "r1_c1_r2_c2"), ("limits", "limit")):
        if key not in pair.members:
            raise DataError(f"{pair.source}_i_{ending}.txt: file is missing; expected two files a pair")
    with reader.files(pair.members) as paths:
        found = read_correspondences(paths["rows"].parent.parent, *pair.stems, (NETWORK_SIZE, NETWORK_SIZE))
    if not len(found.rows):
        raise DataError(f"{pair.source}: holds no match; expected rows part,r1,c1,r2,c2")
    write_correspondences(out, *pair.names, found)
    return Outcome(pair.source, None)


def normals_of(depth_m: np.ndarray, mask: np.ndarray, camera: Camera) -> np.ndarray:
    """Return the normals of a depth map: (H, W, 3) float32, 0 outside the mask and where no neighbour is inside."""
    depth_11hw, mask_11hw = torch.from_numpy(depth_m)[None, None], torch.from_numpy(mask)[None, None]
    normals_3hw = depth_to_normals(depth_11hw, mask_11hw, camera, rule="exact")[0]
    return np.ascontiguousarray(normals_3hw.permute(1, 2, 0).numpy())


def _check_complete(frame: FrameMembers) -> None:
    if frame.problem:
        raise DataError(frame.problem)


def _read_pictures(
    paths: dict[str, Path],
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray, Notes]:
    """Return (white_image, image or None, iuv, mask, notes); the white image is not yet whitened."""
    mask, notes = read_person_mask(paths["mask"])
    if mask.shape != (NETWORK_SIZE, NETWORK_SIZE):
        raise DataError(
            f"{paths['mask']}: found {mask.shape[1]} x {mask.shape[0]} pixels, expected {NETWORK_SIZE} x "
            f"{NETWORK_SIZE} as in the original's form; import other sizes by `hdnet data import-frames`"
        )
    white_image, white_notes = read_colour(paths["color_WO_bg"], mask)
    iuv, iuv_notes = read_densepose(paths["densepose"], mask)
    image: np.ndarray | None = None
    image_notes: Notes = ("no picture with background (color/)",)
    if "color" in paths:
        if has_transparent_pixels(paths["color"]):
            image_notes = ("picture with background (color/) is transparent; left out",)
        else:
            image, image_notes = read_colour(paths["color"], mask)
    return white_image, image, iuv, mask, notes + white_notes + iuv_notes + image_notes


def _stored_normals(paths: list[Path], mask: np.ndarray) -> tuple[np.ndarray | None, Notes]:
    """Read stored normals; as they can be predicted again, damaged ones are no reason to refuse a frame."""
    if not paths:
        return None, ()
    try:
        if len(paths) < 3:
            raise DataError(f"{paths[0]}: one of the three tables is missing")
        return read_normals(paths, mask)
    except DataError:
        return None, ("stored normals (pred_normals/) are incomplete or damaged; left out",)
