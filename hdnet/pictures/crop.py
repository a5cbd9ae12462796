"""The square that the network sees: cut out of a picture of any size, and its maps resized back to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage, sparse

from hdnet.errors import InputError, ModelError

NETWORK_SIZE = 256
MIN_MASK_PIXELS = 64
# Colour and hint of the network for photographs beyond the picture's edge.
BEYOND_COLOUR, BEYOND_HINT = 127, -1


@dataclass(frozen=True)
class Crop:
    """A square of a picture, resized; in crop pixel x lies picture pixel ``left + zoom * x``.

    Attributes:
        left: Picture x of the crop's pixel 0; may lie outside the picture.
        top: Picture y of the crop's pixel 0.
        zoom: Picture pixels per crop pixel.
    """

    left: float
    top: float
    zoom: float

    @classmethod
    def around(cls, mask: np.ndarray, margin: float = 0.1) -> Crop:
        """The square around the mask's bounding box, with ``margin`` of the box's longer side free all round.

        People fill 0.8 of the height of the training pictures, which is what a margin of 0.1 gives.
        """
        (top, bottom), (left, right) = bounds(mask)
        side = max(bottom - top, right - left) * (1 + 2 * margin)
        zoom = side / NETWORK_SIZE
        # Pixel edges lie half a pixel before pixel centres, in both pictures.
        return cls((left + right - side + zoom - 1) / 2, (top + bottom - side + zoom - 1) / 2, zoom)

    @classmethod
    def whole(cls, height: int, width: int) -> Crop:
        """The whole of a square picture.

        Raises:
            InputError: If it is not square.
        """
        if height != width:
            raise InputError(f"picture is {width} x {height} pixels, expected a square one where nothing is cropped")
        zoom = width / NETWORK_SIZE
        return cls((zoom - 1) / 2, (zoom - 1) / 2, zoom)

    @classmethod
    def letterbox(cls, height: int, width: int) -> Crop:
        """The smallest square about a whole picture."""
        side = max(height, width)
        zoom = side / NETWORK_SIZE
        return cls((width - side + zoom - 1) / 2, (height - side + zoom - 1) / 2, zoom)

    def inner(self, mask: np.ndarray) -> Crop:
        """The square around a mask that was found in this crop, as :meth:`around`, in the same picture."""
        within = Crop.around(mask)
        return Crop(self.left + self.zoom * within.left, self.top + self.zoom * within.top, self.zoom * within.zoom)

    def places(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Crop coordinates (x, y) of picture columns and rows."""
        return (columns - self.left) / self.zoom, (rows - self.top) / self.zoom

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Picture coordinates (x, y) of the crop's columns and rows."""
        pixels = np.arange(NETWORK_SIZE)
        return self.left + self.zoom * pixels, self.top + self.zoom * pixels


def network_inputs(image: np.ndarray, mask: np.ndarray, iuv: np.ndarray, square: Crop) -> tuple[np.ndarray, np.ndarray]:
    """Cut out and resize the network's input.

    Colours are set on white and resized by an antialiased bilinear filter; a mask pixel counts where the mask
    covers more than half of it; I, U, V are taken from the nearest pixel and never mixed. The square may
    reach beyond the picture, where it is white and empty.

    Returns:
        (7, S, S) float32 R, G, B, I, U, V, mask as :meth:`HDNet.forward` takes it, and the mask as (S, S)
        bool.

    Raises:
        InputError: If fewer than 64 pixels of the mask are left at the network's resolution.
    """
    (top, bottom), (left, right) = bounds(mask)
    box = (slice(top, bottom), slice(left, right))
    # Outside the box all is white, so only the box is resized, as its distance from white.
    x, y = square.pixels()
    by_x = _resize_matrix(x - left, right - left, square.zoom, _triangle)
    by_y = _resize_matrix(y - top, bottom - top, square.zoom, _triangle)
    darkness = np.where(mask[box][..., None], 255 - image[box], np.uint8(0))
    colours = 255 - np.stack([_resize(darkness[..., i], by_y, by_x) for i in range(3)])
    by_x = _resize_matrix(x - left, right - left, square.zoom, _box)
    by_y = _resize_matrix(y - top, bottom - top, square.zoom, _box)
    inside = _resize(mask[box], by_y, by_x) > 0.5
    if inside.sum() < MIN_MASK_PIXELS:
        raise InputError(
            f"mask is too thin or scattered: {int(inside.sum())} pixels of it are left at "
            f"{NETWORK_SIZE} x {NETWORK_SIZE}, expected a person's silhouette, at least {MIN_MASK_PIXELS}"
        )
    channels = [np.where(inside, colours, 255), _nearest(iuv, x, y).transpose(2, 0, 1), inside[None]]
    return np.concatenate(channels).astype(np.float32), inside


def scene_inputs(image: np.ndarray, mask: np.ndarray | None, square: Crop) -> tuple[np.ndarray, np.ndarray]:
    """Cut out and resize the input of the network for photographs: the picture with its background, and a hint.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) bool, the person; None where the person is to be found.
        square: The part of the picture; it may reach beyond the picture.

    Returns:
        (4, S, S) float32 as :class:`hdnet.models.lite.LiteEstimator` takes it, and where the square shows the picture,
        (S, S) bool.
    """
    height, width = image.shape[:2]
    x, y = square.pixels()
    within = ((y > -0.5) & (y < height - 0.5))[:, None] & ((x > -0.5) & (x < width - 0.5))
    colours = np.where(within[..., None], _resampled(image, square, BEYOND_COLOUR), BEYOND_COLOUR)
    hint = np.zeros(within.shape, np.float32)
    if mask is not None:
        hint = np.where(_resampled(mask.astype(np.uint8) * np.uint8(255), square, 0) > 127, 1, -1)
    hint = np.where(within, hint, BEYOND_HINT)
    return np.concatenate([colours.transpose(2, 0, 1), hint[None]]).astype(np.float32), within


def _resampled(picture: np.ndarray, square: Crop, fill: int) -> np.ndarray:
    """A square of a uint8 picture of one or three channels, every source pixel counted; ``fill`` beyond the picture."""
    left, top, zoom = square.left, square.top, square.zoom
    image = Image.fromarray(picture)
    shrink = max(1, int(zoom // 2))  # whole pixels together first: quick, and nothing is left out
    if shrink > 1:
        image = image.reduce(shrink)
        left, top, zoom = (left + 0.5) / shrink - 0.5, (top + 0.5) / shrink - 0.5, zoom / shrink
    # Pillow counts from the pixel's edge.
    edges = left + 0.5 - zoom / 2, top + 0.5 - zoom / 2, NETWORK_SIZE * zoom
    first_x, first_y = math.floor(edges[0]) - 1, math.floor(edges[1]) - 1
    size = math.ceil(edges[2]) + 3
    colour = fill if picture.ndim == 2 else (fill,) * 3
    canvas = Image.new(image.mode, (size, size), colour)
    canvas.paste(image, (-first_x, -first_y))
    x, y = edges[0] - first_x, edges[1] - first_y
    resized = canvas.resize((NETWORK_SIZE,) * 2, Image.Resampling.BILINEAR, (x, y, x + edges[2], y + edges[2]))
    return np.asarray(resized)


def map_back(
    depth_m: np.ndarray, normals: np.ndarray, inside: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Resize the network's maps to a grid of picture pixels.

    Pixels outside the network's mask take the nearest value inside before interpolation, so that no background is
    mixed in, and thin parts that are lost at the network's resolution have a value.

    Args:
        depth_m: (S, S) depth; values outside ``inside`` are ignored.
        normals: (S, S, 3) unit vectors, likewise.
        inside: (S, S) bool.
        x: (W,) columns of the grid in crop pixels, equally spaced.
        y: (H,) rows of the grid in crop pixels, of the same spacing.

    Returns:
        (H, W) float32 depth and (H, W, 3) float32 unit normals.

    Raises:
        ModelError: If the model gives no normal at all.
    """
    has_normal = inside & (np.linalg.norm(normals, axis=2) > 0.5)
    if not has_normal.any():
        raise ModelError("the model gives no surface normal, only zero vectors: is it trained?")
    spacing = float(x[1] - x[0]) if len(x) > 1 else float(y[1] - y[0]) if len(y) > 1 else 1.0
    by_x = _resize_matrix(x, inside.shape[1], spacing, _triangle, clamp=True)
    by_y = _resize_matrix(y, inside.shape[0], spacing, _triangle, clamp=True)
    depth_hw = _resize(_extended(depth_m, inside), by_y, by_x)
    filled = _extended(normals, has_normal)
    planes = [_resize(filled[..., i], by_y, by_x) for i in range(3)]
    # Plane by plane: over a last axis of three NumPy takes several times as long.
    length = np.sqrt(sum(plane * plane for plane in planes))
    cancelled = length < 1e-3
    scale = 1 / np.where(cancelled, np.float32(1), length)
    normals_hw3 = np.empty((*length.shape, 3), np.float32)
    for channel, plane in enumerate(planes):
        np.multiply(plane, scale, out=normals_hw3[..., channel])
    if cancelled.any():  # opposite normals have no mean, but the nearest one has a direction
        normals_hw3[cancelled] = _nearest(filled, x, y)[cancelled]
    return depth_hw, normals_hw3


def sampled(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A (S, S) plane of a crop on a grid of picture pixels, bilinear, (H, W) float32; ``x``, ``y`` as of map_back."""
    spacing = float(x[1] - x[0]) if len(x) > 1 else 1.0
    by_x = _resize_matrix(x, plane.shape[1], spacing, _triangle, clamp=True)
    by_y = _resize_matrix(y, plane.shape[0], spacing, _triangle, clamp=True)
    return _resize(plane, by_y, by_x)


def bounds(mask: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """(first, last + 1) row and column of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def _triangle(distance: np.ndarray, width: float) -> np.ndarray:
    """Bilinear interpolation, widened where the picture shrinks so that every source pixel counts."""
    weight: np.ndarray = 1 - np.abs(distance) / max(width, 1.0)
    return weight.clip(0)


def _box(distance: np.ndarray, width: float) -> np.ndarray:
    """Share of a source pixel that lies under a target pixel of the given width."""
    overlap: np.ndarray = (width + 1) / 2 - np.abs(distance)
    return overlap.clip(0, min(width, 1.0))


def _resize_matrix(
    positions: np.ndarray,
    source_size: int,
    spacing: float,
    kernel: Callable[[np.ndarray, float], np.ndarray],
    clamp: bool = False,
) -> sparse.csr_array:
    """(targets, source_size) weights of a row of pixels for targets at ``positions``, ``spacing`` apart.

    Source pixels beyond the end count as 0, or with ``clamp`` as the last one.
    """
    reach = int(np.ceil(max(spacing, 1.0))) + 1
    source = np.floor(positions).astype(np.int64)[:, None] + np.arange(-reach, reach + 2)
    weights = kernel(source - positions[:, None], spacing)
    weights /= weights.sum(axis=1, keepdims=True)
    target = np.broadcast_to(np.arange(len(positions))[:, None], source.shape)
    if clamp:
        source = source.clip(0, source_size - 1)
    kept = (source >= 0) & (source < source_size) & (weights > 0)
    shape = (len(positions), source_size)
    return sparse.csr_array((weights[kept].astype(np.float32), (target[kept], source[kept])), shape=shape)


def _resize(plane: np.ndarray, by_y: sparse.csr_array, by_x: sparse.csr_array) -> np.ndarray:
    """(H, W) of any type to float32 of (targets of by_y, targets of by_x)."""
    resized: np.ndarray = (by_x @ (by_y @ plane.astype(np.float32)).T).T
    return resized


def _nearest(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The pixels of (H, W, C) nearest to columns x and rows y, 0 beyond the picture."""
    column, row = np.floor(x + 0.5).astype(np.int64), np.floor(y + 0.5).astype(np.int64)
    height, width = picture.shape[:2]
    within = ((row >= 0) & (row < height))[:, None] & ((column >= 0) & (column < width))
    found = picture[row.clip(0, height - 1)[:, None], column.clip(0, width - 1)]
    return np.where(within[..., None], found, np.zeros((), picture.dtype))


def _extended(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """The values, with the nearest valid one wherever there is none."""
    row, column = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    return values[row, column].astype(np.float32)  # type: ignore[no-any-return]
