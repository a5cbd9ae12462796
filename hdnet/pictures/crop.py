"""The square that the network sees: cut out of a picture of any size, and its maps resized back to it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from hdnet.errors import InputError, ModelError
from hdnet.pictures.resampling import Taps, box, extended, nearest, resize, resize_matrix, triangle
from hdnet.visualize import strips

NETWORK_SIZE = 256
MIN_MASK_PIXELS = 64
# Colour and hint of the network for photographs beyond the picture's edge.
BEYOND_COLOUR, BEYOND_HINT = 127, -1
_SHORTEST_NORMAL = 0.5  # shorter outputs are no normals
_SHORTEST_MEAN = 1e-3  # of normals, which has a direction


@dataclass(frozen=True)
class Crop:
    """A square of a picture, resized; in crop pixel x lies picture pixel ``left + zoom * x``.

    Attributes:
        left: Picture x of the crop's pixel 0; may lie outside the picture.
        top: Picture y of the crop's pixel 0.
        zoom: Picture pixels per crop pixel.
        size: Crop pixels along a side.
    """

    left: float
    top: float
    zoom: float
    size: int = NETWORK_SIZE

    @classmethod
    def around(cls, mask: np.ndarray, margin: float = 0.1) -> Crop:
        """The square around the mask's bounding box, with ``margin`` of the box's longer side free all round.

        People fill 0.8 of the height of the training pictures, which is what a margin of 0.1 gives.
        """
        (top, bottom), (left, right) = bounds(mask)
        return cls.about((left, top, right, bottom), margin)

    @classmethod
    def about(cls, box: tuple[float, float, float, float], margin: float = 0.1) -> Crop:
        """The square around a box: first and last + 1 column and row, as (left, top, right, bottom)."""
        left, top, right, bottom = box
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

    def resized(self, size: int) -> Crop:
        """The same square of another number of pixels."""
        zoom = self.zoom * self.size / size
        # The outer edges stay.
        return Crop(self.left + (zoom - self.zoom) / 2, self.top + (zoom - self.zoom) / 2, zoom, size)

    def shrunk(self, factor: float) -> Crop:
        """The same square of the picture after that was shrunk."""
        return replace(
            self,
            left=(self.left + 0.5) / factor - 0.5,
            top=(self.top + 0.5) / factor - 0.5,
            zoom=self.zoom / factor,
        )

    def places(self, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Crop coordinates (x, y) of picture columns and rows."""
        return (columns - self.left) / self.zoom, (rows - self.top) / self.zoom

    def pixels(self) -> tuple[np.ndarray, np.ndarray]:
        """Picture coordinates (x, y) of the crop's columns and rows."""
        pixels = np.arange(self.size)
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
    part = (slice(top, bottom), slice(left, right))
    # Outside the box all is white, so only the box is resized, as its distance from white.
    x, y = square.pixels()
    matrices = [
        [
            resize_matrix(at - start, end - start, square.zoom, kernel)
            for at, start, end in ((y, top, bottom), (x, left, right))
        ]
        for kernel in (triangle, box)
    ]
    darkness, shown = np.invert(image[part]), mask[part].view(np.uint8) * np.uint8(255)
    for channel in range(3):  # over a last axis of three NumPy takes several times as long
        darkness[..., channel] &= shown
    colours = 255 - resize(darkness, *matrices[0])
    inside = resize(mask[part][..., None], *matrices[1])[0] > 0.5
    if inside.sum() < MIN_MASK_PIXELS:
        raise InputError(
            f"mask is too thin or scattered: {int(inside.sum())} pixels of it are left at "
            f"{NETWORK_SIZE} x {NETWORK_SIZE}, expected a person's silhouette, at least {MIN_MASK_PIXELS}"
        )
    channels = [np.where(inside, colours, 255), nearest(iuv, x, y).transpose(2, 0, 1), inside[None]]
    return np.concatenate(channels).astype(np.float32), inside


def scene_inputs(image: np.ndarray, mask: np.ndarray | None, square: Crop) -> tuple[np.ndarray, np.ndarray]:
    """Cut out and resize the input of the network for photographs: the picture with its background, and a hint.

    With a mask the background is white, as the hourglasses have it: what is behind the person only misleads.

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
    hint = np.zeros(within.shape, np.float32)
    shown, its_square = image, square
    if mask is not None:
        hint = np.where(_resampled(mask.astype(np.uint8) * np.uint8(255), square, 0) > 127, 1, -1)
        shown, its_square = _on_white(image, mask, square)
    colours = np.where(within[..., None], _resampled(shown, its_square, BEYOND_COLOUR), BEYOND_COLOUR)
    hint = np.where(within, hint, BEYOND_HINT)
    return np.concatenate([colours.transpose(2, 0, 1), hint[None]]).astype(np.float32), within


def cut_out(inputs_4hw: np.ndarray, inside: np.ndarray, within: np.ndarray) -> np.ndarray:
    """The input of :func:`scene_inputs` as if a mask had been given: white outside it, and the mask as the hint.

    Args:
        inputs_4hw: (4, S, S) float32, the input without a mask.
        inside: (S, S) bool, the mask in the square.
        within: (S, S) bool, where the square shows the picture.
    """
    found = inputs_4hw.copy()
    found[:3, within & ~inside] = 255
    found[3, within] = np.where(inside[within], 1, -1)
    return found


def _on_white(image: np.ndarray, mask: np.ndarray, square: Crop) -> tuple[np.ndarray, Crop]:
    """The part of a picture that a square shows, white outside the mask; and the square in it."""
    margin = 2 * square.zoom + 2
    (left, right), (top, bottom) = (
        (max(math.floor(start - margin), 0), min(math.ceil(start + square.size * square.zoom + margin), length))
        for start, length in ((square.left, image.shape[1]), (square.top, image.shape[0]))
    )
    part = slice(top, bottom), slice(left, right)
    shown = np.where(mask[part][..., None], image[part], np.uint8(255))
    return shown, replace(square, left=square.left - left, top=square.top - top)


def _resampled(picture: np.ndarray, square: Crop, fill: int) -> np.ndarray:
    """A square of a uint8 picture of one or three channels, every source pixel counted; ``fill`` beyond the picture."""
    shrink = max(1, int(square.zoom // 2))  # whole pixels together first: quick, and nothing is left out
    zoom = square.zoom / shrink
    left, top = ((at + 0.5) / shrink - 0.5 for at in (square.left, square.top))
    # Pillow counts from the pixel's edge.
    edges = left + 0.5 - zoom / 2, top + 0.5 - zoom / 2, square.size * zoom
    first_x, first_y = math.floor(edges[0]) - 1, math.floor(edges[1]) - 1
    size = math.ceil(edges[2]) + 3
    is_grey = picture.ndim == 2
    canvas = Image.new("L" if is_grey else "RGB", (size, size), fill if is_grey else (fill,) * 3)
    # Only the canvas's part of the picture: Pillow copies what it is given.
    start_x, start_y = max(first_x, 0), max(first_y, 0)
    part = picture[
        start_y * shrink : max(first_y + size, 0) * shrink, start_x * shrink : max(first_x + size, 0) * shrink
    ]
    if part.size:
        canvas.paste(Image.fromarray(part).reduce(shrink), (start_x - first_x, start_y - first_y))
    x, y = edges[0] - first_x, edges[1] - first_y
    resized = canvas.resize((square.size,) * 2, Image.Resampling.BILINEAR, (x, y, x + edges[2], y + edges[2]))
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
        (H, W) float32 depth and (H, W, 3) float32 unit normals; in memory four planes one after the other.

    Raises:
        ModelError: If the model gives no normal at all.
    """
    depth_1hw, normals_3hw = depth_m[None], normals.transpose(2, 0, 1)
    has_normal = inside & (sum(plane * plane for plane in normals_3hw) > _SHORTEST_NORMAL**2)
    if not has_normal.any():
        raise ModelError("the model gives no surface normal, only zero vectors: is it trained?")
    if np.array_equal(has_normal, inside):  # the common case: one search serves for both
        filled_4ss = extended([*depth_1hw, *normals_3hw], inside)
    else:
        filled_4ss = np.concatenate([extended(depth_1hw, inside), extended(normals_3hw, has_normal)])
    by_x, by_y = _taps(inside.shape, x, y)
    wide_4sw = by_x.columns(filled_4ss)
    # In planes: over a last axis of three NumPy takes several times as long.
    maps_4hw = np.empty((4, len(y), len(x)), np.float32)
    for strip in strips(len(y)):
        maps_4hw[:, strip] = by_y.rows(wide_4sw, strip)
        cancelled = _normalise(maps_4hw[1:, strip])
        if cancelled.any():  # opposite normals have no mean, but the nearest one has a direction
            nearest_hw3 = nearest(filled_4ss[1:].transpose(1, 2, 0), x, y[strip])
            maps_4hw[1:, strip][:, cancelled] = nearest_hw3[cancelled].T
    return maps_4hw[0], maps_4hw[1:].transpose(1, 2, 0)


def _normalise(vectors_3hw: np.ndarray) -> np.ndarray:
    """Make vectors unit in place; returns (H, W) bool, those too short for it."""
    length = np.sqrt(sum(plane * plane for plane in vectors_3hw))
    is_short: np.ndarray = length < _SHORTEST_MEAN
    length[is_short] = 1
    vectors_3hw *= 1 / length
    return is_short


def placed(
    depth_m: np.ndarray, normals: np.ndarray, valid: np.ndarray, part: tuple[slice, slice]
) -> tuple[np.ndarray, np.ndarray]:
    """Put maps of a part of a picture in their place; 0 where they are not valid.

    Args:
        depth_m: (h, w) of the part.
        normals: (h, w, 3) likewise.
        valid: (H, W) bool, False beyond the part.
        part: Rows and columns of the picture.

    Returns:
        (H, W) and (H, W, 3) float32; in memory four planes one after the other.
    """
    maps_4hw = np.zeros((4, *valid.shape), np.float32)
    for whole, plane in zip(maps_4hw, (depth_m, *normals.transpose(2, 0, 1)), strict=True):
        np.copyto(whole[part], plane, where=valid[part])
    return maps_4hw[0], maps_4hw[1:].transpose(1, 2, 0)


def sampled(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A (S, S) plane of a crop on a grid of picture pixels, bilinear, (H, W) float32; ``x``, ``y`` as of map_back."""
    by_x, by_y = _taps(plane.shape, x, y)
    wide_1sw = by_x.columns(plane[None].astype(np.float32, copy=False))
    return np.concatenate([by_y.rows(wide_1sw, strip)[0] for strip in strips(len(y))])


def _taps(size: tuple[int, ...], x: np.ndarray, y: np.ndarray) -> tuple[Taps, Taps]:
    """The taps of a grid of columns x and rows y, equally spaced, in a map of a size."""
    spacing = float(x[1] - x[0]) if len(x) > 1 else float(y[1] - y[0]) if len(y) > 1 else 1.0
    return Taps(x, size[1], spacing), Taps(y, size[0], spacing)


def bounds(mask: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """(first, last + 1) row and column of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)
