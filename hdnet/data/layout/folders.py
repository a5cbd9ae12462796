"""Tang and TikTok folders: their file names, formats and reading rules.

Layout (docs/parity.md, 34 to 38; ``hdnet.json`` is ours and optional)::

    Tang_data/{color,color_WO_bg,densepose,mask,normal_png}/0000000.png
    Tang_data/depth/0000000.txt  Tang_data/normal/0000000_{1,2,3}.txt                    comma separated
    tiktok_data/{color,color_WO_bg,densepose,mask}/0017634.png
    tiktok_data/pred_normals/0017634_{1,2,3}.txt  tiktok_data/pred_normals_png/0017634.png  blank separated
    tiktok_data/correspondences/...                                     hdnet.data.layout.correspondences
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from hdnet.data.layout.meta import DEFAULT_SEQUENCE, FolderMeta, PredictedMaps, write_meta
from hdnet.data.layout.png import read_iuv_rgb, read_mask, read_rgb, write_png
from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.data.layout.text import read_map, write_map
from hdnet.errors import DataError
from hdnet.geometry import MEDIAN_DEPTH_M, Camera
from hdnet.pictures.reading import iuv_from_png_rgb, iuv_to_png_rgb
from hdnet.visualize import normal_picture

# Depth outside this range leaves the mask of a labelled sample (docs/parity.md, 36).
MIN_DEPTH_M, MAX_DEPTH_M = 1.0, 8.0
# Farthest over nearest depth of one person that packed pictures hold.
MAX_DEPTH_SPAN = 7.0


def shift_to_median(depth_m: np.ndarray, mask: np.ndarray, median_m: float = MEDIAN_DEPTH_M) -> np.ndarray:
    """Shift a depth map along z so that its median over the mask is ``median_m`` (docs/parity.md, 38).

    Args:
        depth_m: (H, W) z in metres.
        mask: (H, W) bool, not empty.
        median_m: Wanted median in metres.

    Returns:
        (H, W) float32, 0 outside the mask.

    Raises:
        DataError: The mask is empty.
    """
    if not mask.any():
        raise DataError("the mask is empty; expected at least one pixel with a depth to take the median of")
    shift = median_m - float(np.median(depth_m[mask]))
    return np.where(mask, depth_m + shift, 0).astype(np.float32)


# Parts of a raw data folder.
TANG, TIKTOK, HELDOUT_TANG = "Tang_data", "tiktok_data", "heldout/Tang_data"


class _Folder:
    """Common part of both layouts: names, pictures, ``hdnet.json``."""

    _picture_folders: tuple[str, ...] = ("color", "color_WO_bg", "densepose", "mask")

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._meta: FolderMeta | None = None

    def names(self) -> list[str]:
        """Return frame names in numeric order, from ``color_WO_bg``.

        Raises:
            DataError: The folder is missing or empty, a name is no number, or two names are the same number.
        """
        folder = self.root / "color_WO_bg"
        if not folder.is_dir():
            raise DataError(f"{folder}: folder is missing; expected pictures named by frame number, as 0000000.png")
        names = [file.stem for file in folder.glob("*.png") if not file.name.startswith(".")]
        if not names:
            raise DataError(f"{folder}: no PNG picture found; expected pictures named by frame number, as 0000000.png")
        by_number: dict[int, str] = {}
        for name in sorted(names):
            if not (name.isascii() and name.isdigit()):
                raise DataError(f"{folder / name}.png: the name is no number; expected names like 0000000.png")
            if int(name) in by_number:
                raise DataError(f"{folder / name}.png: same frame number as {by_number[int(name)]}.png; expected one")
            by_number[int(name)] = name
        return [by_number[number] for number in sorted(by_number)]

    def camera(self, name: str) -> Camera:
        """Return the camera of a frame, from ``hdnet.json``; without that file, the original's."""
        return self._read_meta().camera_of(name)

    def png(self, kind: str, name: str) -> Path:
        """Return the path of a picture, for example of kind "mask"."""
        return self.root / kind / f"{name}.png"

    def _read_meta(self) -> FolderMeta:
        if self._meta is None:
            self._meta = FolderMeta.read(self.root)
        return self._meta

    def _read_pictures(
        self, name: str, without: Collection[str] = ()
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(image, white_image, iuv, mask); only the mask's rule is applied here."""
        mask = read_mask(self.png("mask", name))
        white_image = read_rgb(self.png("color_WO_bg", name))
        if "densepose" in without:
            iuv = np.zeros_like(white_image)
        else:
            iuv = iuv_from_png_rgb(read_iuv_rgb(self.png("densepose", name)))
        # `color` is not read by the original; folders without it are in use.
        color = self.png("color", name)
        image = read_rgb(color) if color.exists() else white_image
        for kind, pixels in (("color_WO_bg", white_image), ("densepose", iuv), ("color", image)):
            self._check_size(kind, name, pixels, mask)
        return image, white_image, iuv, mask

    def _check_size(self, kind: str, name: str, pixels: np.ndarray, mask: np.ndarray) -> None:
        if pixels.shape[:2] != mask.shape:
            raise DataError(
                f"{self.png(kind, name)}: found {pixels.shape[1]} x {pixels.shape[0]} pixels, expected "
                f"{mask.shape[1]} x {mask.shape[0]} as in the sample's mask"
            )

    def _write_pictures(self, sample: LabelledSample | UnlabelledFrame) -> None:
        if not (sample.name.isascii() and sample.name.isdigit()):
            raise DataError(f"{self.root}: frame name {sample.name!r} is no number; expected digits, as 0000000")
        for kind in self._picture_folders:
            (self.root / kind).mkdir(parents=True, exist_ok=True)
        write_png(self.png("color", sample.name), sample.image)
        write_png(self.png("color_WO_bg", sample.name), sample.white_image)
        write_png(self.png("densepose", sample.name), iuv_to_png_rgb(sample.iuv))
        write_png(self.png("mask", sample.name), sample.mask)


class TangFolder(_Folder):
    """Labelled samples: pictures, depth and normals.

    Args:
        root: The ``Tang_data`` folder itself.
    """

    def read(self, name: str, without: Collection[str] = ()) -> LabelledSample:
        """Read one sample by the reference's rules (docs/parity.md, 35 to 37).

        The mask keeps pixels above 100 whose depth lies in 1..8 m; outside it colour becomes 255, depth and
        normals 0; DensePose stays as it is. Depth is not shifted (see :func:`shift_to_median`).

        Args:
            name: Frame name.
            without: Of "densepose" and "normal" what the folder does not have: it is 0 everywhere.

        Raises:
            DataError: A file is missing, damaged, of another size, or its text holds no finite numbers.
        """
        image, white_image, iuv, mask = self._read_pictures(name, without)
        depth_m = read_map(self.depth_file(name), mask.shape)
        if "normal" in without:
            normals = np.zeros((*mask.shape, 3), np.float32)
        else:
            normals = _read_normals(self.normal_files(name), mask.shape)
        mask &= (depth_m >= MIN_DEPTH_M) & (depth_m <= MAX_DEPTH_M)
        return LabelledSample(
            name,
            image,
            np.where(mask[..., None], white_image, np.uint8(255)),
            iuv,
            mask,
            np.where(mask, depth_m, np.float32(0)),
            np.where(mask[..., None], normals, np.float32(0)),
            self.camera(name),
        )

    def write(self, sample: LabelledSample) -> None:
        """Write the files of one sample; ``hdnet.json`` is written once by :meth:`write_meta`.

        Raises:
            DataError: The name is no number, or depth or normals are not finite.
        """
        self._write_pictures(sample)
        for kind in ("depth", "normal", "normal_png"):
            (self.root / kind).mkdir(exist_ok=True)
        write_map(self.depth_file(sample.name), sample.depth_m, ",")
        _write_normals(self.normal_files(sample.name), sample.normals, ",")
        write_png(self.png("normal_png", sample.name), normal_picture(sample.normals, sample.mask))

    def write_meta(self, cameras: dict[str, Camera]) -> None:
        """Write ``hdnet.json`` with the camera of every frame."""
        self._meta = write_meta(self.root, cameras)

    def depth_file(self, name: str) -> Path:
        """Return the path of the depth text."""
        return self.root / "depth" / f"{name}.txt"

    def normal_files(self, name: str) -> list[Path]:
        """Return the paths of the texts of nx, ny, nz."""
        return [self.root / "normal" / f"{name}_{axis}.txt" for axis in (1, 2, 3)]


class TikTokFolder(_Folder):
    """Frames of videos without labels.

    Args:
        root: The ``tiktok_data`` folder itself.
    """

    def sequences(self) -> dict[str, list[str]]:
        """Return frame names in order by sequence; all frames are one sequence where ``hdnet.json`` names none.

        Raises:
            DataError: ``hdnet.json`` and the pictures do not hold the same frames.
        """
        names, meta = self.names(), self._read_meta()
        if not meta.sequences:
            return {DEFAULT_SEQUENCE: names}
        listed = set(meta.sequence_of)
        missing, unlisted = sorted(listed - set(names)), sorted(set(names) - listed)
        if missing:
            raise DataError(f"{self.png('color_WO_bg', missing[0])}: file is missing; {meta.file} lists that frame")
        if unlisted:
            raise DataError(f"{meta.file}: frame {unlisted[0]} is in no sequence; expected every frame in one")
        return meta.sequences

    def sequence_of(self, name: str) -> str:
        """Return the sequence of a frame."""
        return self._read_meta().sequence_of.get(name, DEFAULT_SEQUENCE)

    def read(self, name: str) -> UnlabelledFrame:
        """Read one frame by the reference's rules: mask above 100, colour outside it 255.

        Raises:
            DataError: A file is missing, damaged or of another size.
        """
        image, white_image, iuv, mask = self._read_pictures(name)
        white_image = np.where(mask[..., None], white_image, np.uint8(255))
        return UnlabelledFrame(name, self.sequence_of(name), image, white_image, iuv, mask, self.camera(name))

    def write(self, frame: UnlabelledFrame) -> None:
        """Write the pictures of one frame; ``hdnet.json`` is written once by :meth:`write_meta`.

        Raises:
            DataError: The name is no number.
        """
        self._write_pictures(frame)

    def predicted(self) -> dict[str, PredictedMaps]:
        """Return what of each frame's mask and map a network made, by frame; the other frames' were given."""
        return self._read_meta().predicted

    def write_meta(
        self,
        cameras: dict[str, Camera],
        sequences: dict[str, list[str]],
        predicted: Mapping[str, PredictedMaps] | None = None,
    ) -> None:
        """Write ``hdnet.json``: the camera of every frame, the frames of every sequence, what was predicted."""
        self._meta = write_meta(self.root, cameras, sequences, predicted)

    def read_iuv_and_mask(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Read the inputs of matching: (H, W, 3) uint8 in the order I, U, V and the (H, W) bool mask.

        Raises:
            DataError: A file is missing, damaged or of another size.
        """
        mask = read_mask(self.png("mask", name))
        iuv = iuv_from_png_rgb(read_iuv_rgb(self.png("densepose", name)))
        self._check_size("densepose", name, iuv, mask)
        return iuv, mask

    def read_pred_normals(self, name: str) -> np.ndarray:
        """Read the stored predicted normals of a frame, (H, W, 3) float32, 0 outside the mask.

        Raises:
            DataError: A file is missing, damaged or of another size.
        """
        mask = read_mask(self.png("mask", name))
        normals = _read_normals(self.pred_normal_files(name), mask.shape)
        return np.where(mask[..., None], normals, np.float32(0))

    def write_pred_normals(self, name: str, normals: np.ndarray, mask: np.ndarray) -> None:
        """Write predicted normals as text and as the picture that the original opens besides (docs/parity.md, 34).

        Args:
            name: Frame name.
            normals: (H, W, 3) unit vectors.
            mask: (H, W) bool; normals outside are written as 0.

        Raises:
            DataError: A normal is not finite.
        """
        for kind in ("pred_normals", "pred_normals_png"):
            (self.root / kind).mkdir(parents=True, exist_ok=True)
        _write_normals(self.pred_normal_files(name), np.where(mask[..., None], normals, 0), " ")
        write_png(self.png("pred_normals_png", name), normal_picture(normals, mask))

    def pred_normal_files(self, name: str) -> list[Path]:
        """Return the paths of the texts of nx, ny, nz."""
        return [self.root / "pred_normals" / f"{name}_{axis}.txt" for axis in (1, 2, 3)]


def _read_normals(files: list[Path], shape: tuple[int, ...]) -> np.ndarray:
    height, width = shape
    return np.stack([read_map(file, (height, width)) for file in files], axis=-1)


def _write_normals(files: list[Path], normals: np.ndarray, separator: str) -> None:
    for axis, file in enumerate(files):
        write_map(file, normals[..., axis], separator)
