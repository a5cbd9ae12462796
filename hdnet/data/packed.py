"""Training data as a few memory-mapped arrays: text is parsed once, then every read is a copy from memory.

A packed folder holds one ``.npy`` a field, N pictures each, and ``index.json`` with the names, the size and
the SHA-256 of every file. Fields:

========== ================= ======== ===================================================================
file       shape             dtype    content
========== ================= ======== ===================================================================
white_image (N, H, W, 3)     uint8    RGB, 255 outside the mask
iuv        (N, H, W, 3)      uint8    I, U, V
mask       (N, H, W)         bool
depth_m    (N, H, W)         float32  z shifted to a median of 4 m over the mask, 0 outside (labelled only)
normals    (N, H, W, 3)      float16  unit to 1e-3, 0 outside the mask (labelled and pseudo-normals)
camera     (N, 7)            float64  fields of :class:`hdnet.geometry.Camera` in order
========== ================= ======== ===================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from hdnet.data.files import atomic_folder, read_json_object, sha256_of, write_json
from hdnet.data.layout import TangFolder, TikTokFolder, shift_to_median
from hdnet.data.parallel import ordered_map
from hdnet.errors import DataError
from hdnet.geometry import Camera

FORMAT_VERSION = 1
INDEX_FILE = "index.json"

# Trailing shape (after N; H and W where "hw" stands) and dtype of each field.
_FIELDS: dict[str, tuple[tuple[str | int, ...], str]] = {
    "white_image": (("h", "w", 3), "uint8"),
    "iuv": (("h", "w", 3), "uint8"),
    "mask": (("h", "w"), "bool"),
    "depth_m": (("h", "w"), "float32"),
    "normals": (("h", "w", 3), "float16"),
    "camera": ((7,), "float64"),
}
_FRAME_FIELDS = ("white_image", "iuv", "mask", "camera")
_LABELLED_FIELDS = (*_FRAME_FIELDS, "depth_m", "normals")

Record = dict[str, np.ndarray]


def pack_tang(folder: Path, out: Path, progress: bool = False, jobs: int = 1, median_m: float = 4.0) -> None:
    """Pack a Tang folder; ``out`` appears (or is replaced) only when complete.

    Args:
        folder: The ``Tang_data`` folder itself.
        out: The packed folder.
        progress: Show a progress bar on stderr.
        jobs: Processes that read.
        median_m: The median over the mask to which each depth map is shifted, in metres (quirk 38).

    Raises:
        DataError: A file is missing or damaged, a mask is empty, sizes differ, or ``out`` cannot be written.
    """
    names = TangFolder(folder).names()
    records = ordered_map(partial(_labelled_record, folder, median_m), names, jobs, progress, "pack Tang_data")
    _pack(out, "labelled", _LABELLED_FIELDS, names, records)


def pack_tiktok(folder: Path, out: Path, progress: bool = False, jobs: int = 1) -> None:
    """Pack the pictures, cameras and sequences of a TikTok folder; see :func:`pack_tang`.

    Stored normals and correspondences are not packed: normals come from :func:`write_pseudo_normals`,
    correspondences stay in the reference's files.
    """
    source = TikTokFolder(folder)
    names, sequences = source.names(), source.sequences()
    records = ordered_map(partial(_frame_record, folder), names, jobs, progress, "pack tiktok_data")
    _pack(out, "frames", _FRAME_FIELDS, names, records, sequences=sequences)


def write_pseudo_normals(out: Path, names: Sequence[str], normals: Iterable[np.ndarray]) -> None:
    """Store the normals that an estimator gave the unlabelled frames.

    Args:
        out: The packed folder; it appears (or is replaced) only when complete.
        names: Frame names, as in the packed frames.
        normals: One (H, W, 3) array of unit vectors a name, in that order, 0 outside the mask.

    Raises:
        DataError: Fewer or more arrays than names, sizes differ, values are not finite, or ``out`` cannot be
            written.
    """
    _pack(out, "pseudo_normals", ("normals",), list(names), ({"normals": array} for array in normals))


class _Packed:
    """A packed folder, opened without reading its arrays.

    Args:
        folder: The packed folder.

    Raises:
        DataError: The folder is missing, of another kind or version, or its arrays do not fit its index.
    """

    kind: str
    fields: tuple[str, ...]

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.index = _read_index(self.folder, self.kind)
        self.names: list[str] = self.index["names"]
        self.size: tuple[int, int] = (self.index["size"][0], self.index["size"][1])

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        # Data loader workers map the files again instead of receiving a copy of all arrays.
        return type(self), (self.folder,)

    @cached_property
    def arrays(self) -> Record:
        """The fields by name, memory-mapped read-only."""
        opened = {}
        for field in self.fields:
            file = self.folder / f"{field}.npy"
            try:
                array = np.load(file, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise DataError(f"{file}: cannot be opened ({error}); pack the data again") from error
            shape, dtype = _shape(field, len(self), self.size), np.dtype(_FIELDS[field][1])
            if array.shape != shape or array.dtype != dtype:
                raise DataError(
                    f"{file}: found {array.dtype} {array.shape}, expected {dtype} {shape}; pack the data again"
                )
            opened[field] = array
        return opened

    def verify(self) -> None:
        """Compare every file with its SHA-256.

        Raises:
            DataError: A file is missing or has changed since it was packed.
        """
        for name, expected in self.index["files"].items():
            found = sha256_of(self.folder / name)
            if found != expected:
                raise DataError(
                    f"{self.folder / name}: SHA-256 is {found[:12]}..., expected {expected[:12]}... as in "
                    f"{INDEX_FILE}; the file has changed, pack the data again"
                )


class _WithPictures(_Packed):
    def camera(self, k: int) -> Camera:
        """Camera of record ``k``."""
        return Camera(*(float(value) for value in self.arrays["camera"][k]))


class PackedLabelled(_WithPictures):
    """Reader of what :func:`pack_tang` wrote."""

    kind, fields = "labelled", _LABELLED_FIELDS


class PackedFrames(_WithPictures):
    """Reader of what :func:`pack_tiktok` wrote."""

    kind, fields = "frames", _FRAME_FIELDS

    @property
    def sequences(self) -> dict[str, list[str]]:
        """Frame names in order, by sequence."""
        sequences: dict[str, list[str]] = self.index["sequences"]
        return sequences


class PseudoNormals(_Packed):
    """Reader of what :func:`write_pseudo_normals` wrote."""

    kind, fields = "pseudo_normals", ("normals",)

    def check_names(self, frames: PackedFrames | PackedLabelled) -> None:
        """Raise a DataError unless these are normals of exactly those pictures."""
        if self.names != frames.names or self.size != frames.size:
            raise DataError(
                f"{self.folder}: normals of {len(self)} frames of size {self.size}, but {frames.folder} has "
                f"{len(frames)} of size {frames.size} or other names; predict the normals again"
            )


def _labelled_record(folder: Path, median_m: float, name: str) -> Record:
    source = TangFolder(folder)
    sample = source.read(name)
    try:
        depth_m = shift_to_median(sample.depth_m, sample.mask, median_m)
    except DataError as error:
        raise DataError(f"{source.png('mask', name)}: with the depth range of 1..8 m {error}") from error
    return {
        "white_image": sample.white_image,
        "iuv": sample.iuv,
        "mask": sample.mask,
        "depth_m": depth_m,
        "normals": sample.normals,
        "camera": np.array(astuple(sample.camera)),
    }


def _frame_record(folder: Path, name: str) -> Record:
    source = TikTokFolder(folder)
    frame = source.read(name)
    if not frame.mask.any():
        raise DataError(f"{source.png('mask', name)}: the mask is empty; expected 0 outside and 255 on the person")
    return {
        "white_image": frame.white_image,
        "iuv": frame.iuv,
        "mask": frame.mask,
        "camera": np.array(astuple(frame.camera)),
    }


def _pack(
    out: Path, kind: str, fields: tuple[str, ...], names: list[str], records: Iterable[Record], **more: Any
) -> None:
    with atomic_folder(out, marker=INDEX_FILE) as temporary:
        arrays: Record = {}
        size: tuple[int, int] = (0, 0)
        count = 0
        for count, record in enumerate(records, start=1):
            if count > len(names):
                break
            if not arrays:
                size = (record[fields[0]].shape[0], record[fields[0]].shape[1])
                arrays = {field: _create(temporary, field, len(names), size) for field in fields}
            for field in fields:
                _store(arrays[field], count - 1, record[field], out, field, names[count - 1])
        if count != len(names) or not arrays:
            found = f"more than {len(names)}" if count > len(names) else str(count)
            raise DataError(f"{out}: found {found} records to be packed, expected {len(names)}, one a name")
        for array in arrays.values():
            array.flush()  # type: ignore[attr-defined]
        index = {
            "format": "hdnet-packed",
            "version": FORMAT_VERSION,
            "kind": kind,
            "size": list(size),
            "names": names,
            **more,
            "files": {f"{field}.npy": sha256_of(temporary / f"{field}.npy") for field in fields},
        }
        write_json(temporary / INDEX_FILE, index)


def _create(folder: Path, field: str, count: int, size: tuple[int, int]) -> np.ndarray:
    shape, dtype = _shape(field, count, size), np.dtype(_FIELDS[field][1])
    return open_memmap(folder / f"{field}.npy", mode="w+", dtype=dtype, shape=shape)


def _store(array: np.ndarray, k: int, value: np.ndarray, out: Path, field: str, name: str) -> None:
    if value.shape != array.shape[1:]:
        raise DataError(
            f"{out}: {field} of frame {name} has shape {value.shape}, expected {array.shape[1:]} as in the "
            "first frame; crop and resize all frames to one size"
        )
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise DataError(f"{out}: {field} of frame {name} holds values that are not finite; expected finite numbers")
    array[k] = value


def _shape(field: str, count: int, size: tuple[int, int]) -> tuple[int, ...]:
    named = {"h": size[0], "w": size[1]}
    return (count, *(named[axis] if isinstance(axis, str) else axis for axis in _FIELDS[field][0]))


def _read_index(folder: Path, kind: str) -> dict[str, Any]:
    file = folder / INDEX_FILE
    index = read_json_object(file)
    missing = {"format", "version", "kind", "size", "names", "files"} - set(index)
    if missing or index["format"] != "hdnet-packed":
        raise DataError(f"{file}: is not the index of a packed folder; pack the data again")
    if index["version"] != FORMAT_VERSION:
        raise DataError(f"{file}: format version {index['version']}, expected {FORMAT_VERSION}; pack the data again")
    if index["kind"] != kind:
        raise DataError(f"{file}: a packed folder of kind {index['kind']}, expected {kind}")
    return index
