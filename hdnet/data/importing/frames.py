"""Conversion of a full frame, its mask and DensePose map to one 256 x 256 frame with its camera."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from hdnet.data.checks.shift import Trace
from hdnet.data.importing.cuts import Appearance, appearance_of
from hdnet.data.importing.densepose import densepose_order, read_densepose_rgb
from hdnet.data.importing.frame_files import FrameFiles, as_data_error, fit_to, read_iuv, read_person
from hdnet.data.importing.intrinsics import Intrinsics
from hdnet.data.layout.samples import UnlabelledFrame
from hdnet.errors import DataError
from hdnet.geometry import Camera
from hdnet.pictures.crop import NETWORK_SIZE, Crop, bounds, network_inputs
from hdnet.pictures.densepose import NEIGHBOUR_NOTE, WELL_COVERED, Overlap, check_cover, check_inverted, own_parts
from hdnet.pictures.reading import IuvOrder

_MIN_INSIDE = 0.005


@dataclass(frozen=True)
class FrameOptions:
    """Options of reading and cutting frames.

    Attributes:
        intrinsics: Cameras of the full frames.
        margin: Free room around the person in parts of its size.
        iuv_order: Channel order of the DensePose pictures; None detects it.
        keep_largest: Take the largest silhouette where several are large, instead of refusing the frame.
        cut_detection: Detect changes of shot.
        pairing_check: Refuse sequences whose masks or maps are those of other frames.
    """

    intrinsics: Intrinsics = field(default_factory=Intrinsics)
    margin: float = 0.1
    iuv_order: IuvOrder | None = None
    keep_largest: bool = False
    cut_detection: bool = True
    pairing_check: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1:
            raise DataError(f"--margin {self.margin:g}: expected 0 to 1, parts of the person's size")


@dataclass(frozen=True, eq=False)
class Survey:
    """Facts of a frame that planning needs.

    Attributes:
        reason: Reason of the refusal; None if the frame can be used.
        size: (width, height) in pixels.
        box: (top, bottom, left, right) of the person, first and last + 1 pixel.
        area: Pixels of the mask.
        appearance: Input of cut detection; None without it.
        order: Channel order of the DensePose picture if it was examined and is clear.
        trace: Input of the comparison with neighbouring frames; None without it.
    """

    reason: str | None = None
    size: tuple[int, int] = (0, 0)
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    area: int = 0
    appearance: Appearance | None = None
    order: IuvOrder | None = None
    trace: Trace | None = None


def survey_frame(files: FrameFiles, options: FrameOptions, with_densepose: bool) -> Survey:
    """Examine picture and mask, and DensePose on request.

    Args:
        files: The frame.
        options: How to read it.
        with_densepose: Also detect the order of the DensePose channels.
    """
    order: IuvOrder | None = None
    iuv: np.ndarray | None = None
    try:
        if files.problem or not files.image:
            raise DataError(files.problem or f"{files.source}: has no picture")
        iuv = _densepose_or_none(files.densepose) if options.pairing_check or with_densepose else None
        if with_densepose and iuv is not None and options.iuv_order is None:
            order = _order_or_none(iuv)
        image, mask, _ = read_person(files, options.keep_largest)
    except DataError as error:
        return Survey(reason=str(error), order=order)
    (top, bottom), (left, right) = bounds(mask)
    return Survey(
        None,
        (image.shape[1], image.shape[0]),
        (top, bottom, left, right),
        int(np.count_nonzero(mask)),
        appearance_of(image, mask) if options.cut_detection else None,
        order,
        _trace(image, mask, iuv) if options.pairing_check else None,
    )


def _trace(image: np.ndarray, mask: np.ndarray, iuv: np.ndarray | None) -> Trace:
    try:
        body = None if iuv is None else fit_to(np.asarray(iuv.any(axis=-1)), mask.shape, "")[0]
    except DataError:
        body = None  # refused by name when the frame is cut
    return Trace.of(mask, body, image)


@dataclass(frozen=True, slots=True)  # 100,000 of them are in memory
class Cut:
    """Decisions of planning for a frame.

    Attributes:
        name: New name of the frame, 7 digits.
        shot: Its sequence.
        window: Window to cut, in pixels of the picture.
        camera: Camera of the window.
        order: Channel order of its DensePose picture.
    """

    name: str
    shot: str
    window: Crop
    camera: Camera
    order: IuvOrder


def cut_frame(files: FrameFiles, cut: Cut, keep_largest: bool) -> tuple[UnlabelledFrame, tuple[str, ...]]:
    """Cut the window out of a full frame.

    Colours are antialiased and white beyond the picture; white background, mask and IUV are made by the rules of
    inference (:func:`hdnet.pictures.crop.network_inputs`): a mask pixel counts where the mask covers more than half
    of it; I, U, V are taken from the nearest pixel and never mixed. DensePose further from the mask than 3 % of the
    picture belongs to another person and becomes background.

    Args:
        files: The frame.
        cut: The decisions.
        keep_largest: As in :class:`FrameOptions`.

    Returns:
        The frame, and notes for the report.

    Raises:
        DataError: A file is missing, damaged or unfit; the line names it.
    """
    if files.problem or not files.image or not files.densepose:
        raise DataError(files.problem or f"{files.source}: has no DensePose picture")
    image, mask, notes = read_person(files, keep_largest)
    iuv, iuv_notes = read_iuv(Path(files.densepose), cut.order, mask.shape)
    inputs, inside = as_data_error(lambda: network_inputs(image, mask, iuv, cut.window), files.source)
    if inside.mean() < _MIN_INSIDE:
        raise DataError(
            f"{files.mask or files.image}: the person covers {inside.mean():.1%} of the window; expected "
            f"{_MIN_INSIDE:.1%} or more, a person that stands in the picture"
        )
    overlap = Overlap.of(iuv[..., 0], mask)
    as_data_error(lambda: check_inverted(overlap, mask), str(files.mask or files.image))
    covered = as_data_error(lambda: check_cover(overlap, mask), files.densepose)
    cut_iuv, foreign = own_parts(inputs[3:6].transpose(1, 2, 0).astype(np.uint8), inside, NETWORK_SIZE)
    notes += iuv_notes
    notes += [NEIGHBOUR_NOTE] * foreign
    notes += ["body parts cover less than 30 % of the mask"] * (covered < WELL_COVERED)
    notes += ["the person reaches beyond the window"] * _reaches_beyond(mask, cut.window)
    white_image = np.round(inputs[:3]).clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    colours = _cut_colours(image, cut.window)
    frame = UnlabelledFrame(cut.name, cut.shot, colours, white_image, cut_iuv, inside, cut.camera)
    return frame, tuple(notes)


def _cut_colours(image: np.ndarray, window: Crop) -> np.ndarray:
    """Return (S, S, 3) uint8 of the whole picture, white beyond it, by the filter of the network's input."""
    # In Pillow's coordinates pixel 0 spans 0..1.
    side = window.zoom * NETWORK_SIZE
    left, top = window.left + 0.5 - window.zoom / 2, window.top + 0.5 - window.zoom / 2
    reach = int(np.ceil(max(window.zoom, 1.0))) + 1
    x, y = int(np.floor(left)) - reach, int(np.floor(top)) - reach
    size = int(np.ceil(side)) + 2 * reach + 1
    # Image.crop fills with black what lies beyond the picture.
    darkness = Image.fromarray(~image).crop((x, y, x + size, y + size))
    box = (left - x, top - y, left - x + side, top - y + side)
    resized = darkness.resize((NETWORK_SIZE, NETWORK_SIZE), Image.Resampling.BILINEAR, box=box)
    return ~np.asarray(resized)


def _reaches_beyond(mask: np.ndarray, window: Crop) -> bool:
    (top, bottom), (left, right) = bounds(mask)
    x, y = window.places(np.array([left - 0.5, right - 0.5]), np.array([top - 0.5, bottom - 0.5]))
    return bool(min(x[0], y[0]) < -1 or max(x[1], y[1]) > NETWORK_SIZE)


def _densepose_or_none(file: str | None) -> np.ndarray | None:
    try:
        return read_densepose_rgb(Path(file)) if file else None
    except DataError:
        return None  # refused by name when the frame is cut


def _order_or_none(rgb: np.ndarray) -> IuvOrder | None:
    try:
        return densepose_order(rgb, "")
    except DataError:
        return None
