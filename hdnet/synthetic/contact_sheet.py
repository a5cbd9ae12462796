"""Contact sheets of samples, film strips of sequences, and distributions of what was drawn."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.data.store.records import spread
from hdnet.synthetic.surface import FloatArray

SHEET_COLUMNS, STRIP_ROWS = 12, 6
PICTURES, PICTURE_COLUMNS = 48, 8
_GAP = 4
_CELL_PX = 256
_PLOT_COLUMNS, _PLOTTED_WORDS = 5, 12


def contact_sheet(samples: Sequence[LabelledSample], columns: int = SHEET_COLUMNS) -> Image.Image:
    """Lay out picture, picture on white, IUV, depth and normals of the first samples, one sample a column.

    Depth is light where it is near, from each sample's nearest to its farthest point; normals have the original's
    colours.

    Args:
        samples: Labelled samples.
        columns: Greatest number of samples.
    """
    panels = [_panels(sample) for sample in samples[:columns]]
    return _grid([list(row) for row in zip(*panels, strict=True)])


def picture_sheet(pictures: Sequence[FloatArray], columns: int = PICTURE_COLUMNS) -> Image.Image:
    """Lay out pictures (H, W, 3) uint8 alone, in rows."""
    return _grid([pictures[first : first + columns] for first in range(0, len(pictures), columns)])


def film_strip(frames: Sequence[UnlabelledFrame], columns: int = SHEET_COLUMNS, rows: int = STRIP_ROWS) -> Image.Image:
    """Lay out pictures of the first sequences, one sequence a row, in time from left to right.

    Args:
        frames: Frames of any number of sequences, in order within each.
        columns: Frames of a sequence at most, from its first to its last in equal steps.
        rows: Sequences at most.
    """
    pictures: dict[str, list[FloatArray]] = {}
    for frame in frames:
        pictures.setdefault(frame.sequence, []).append(frame.image)
    return _grid([[strip[k] for k in spread(len(strip), columns)] for strip in list(pictures.values())[:rows]])


def distributions(facts: np.ndarray) -> Image.Image:
    """Plot how often values of :attr:`hdnet.data.store.people.PackedPeople.facts` were drawn, one panel a fact.

    Of texts the most frequent words.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    names = [name for name in facts.dtype.names or () if name != "clothes"]
    names += ["clothes"] * ("clothes" in (facts.dtype.names or ()))
    rows = -(-len(names) // _PLOT_COLUMNS)
    figure = Figure(figsize=(3 * _PLOT_COLUMNS, 2.2 * rows), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(rows, _PLOT_COLUMNS, squeeze=False).flat, names, strict=False):
        values = facts[name]
        if values.dtype.kind == "U":
            words, counts = np.unique([word for text in values for word in text.split() or ["-"]], return_counts=True)
            most = np.argsort(counts, kind="stable")[-_PLOTTED_WORDS:]
            axes.barh(words[most], 100 * counts[most] / len(values))
            axes.tick_params(axis="y", labelsize=7)
        else:
            known = values[np.isfinite(values)]
            axes.hist(known, bins=24, weights=np.full(len(known), 100 / len(values)))
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.set_xlabel("% of pictures" if values.dtype.kind == "U" else "", fontsize=8)
    for axes in figure.axes[len(names) :]:
        axes.remove()
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return Image.open(stream).convert("RGB")


def strip_names(
    sequences: Mapping[str, Sequence[str]], columns: int = SHEET_COLUMNS, rows: int = STRIP_ROWS
) -> list[str]:
    """Return the names of the frames that :func:`film_strip` shows, so that only these are read.

    Args:
        sequences: Frame names in order, by sequence.
        columns: Frames of a sequence at most.
        rows: Sequences at most.
    """
    return [names[k] for names in list(sequences.values())[:rows] for k in spread(len(names), columns)]


def _grid(rows: Sequence[Sequence[FloatArray]]) -> Image.Image:
    """Lay out pictures in rows on white, each shrunk to a cell if larger."""
    rows = [[_cell(picture) for picture in row] for row in rows]
    height, width = (max(picture.shape[axis] for row in rows for picture in row) for axis in (0, 1))
    columns = max(len(row) for row in rows)
    shape = (len(rows) * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3)
    sheet = np.full(shape, 255, dtype=np.uint8)
    for y, row in zip(range(0, shape[0], height + _GAP), rows, strict=True):
        for x, picture in zip(range(0, shape[1], width + _GAP), row, strict=False):
            sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return Image.fromarray(sheet)


def _cell(picture: FloatArray) -> FloatArray:
    image = Image.fromarray(picture)
    image.thumbnail((_CELL_PX, _CELL_PX))
    return np.asarray(image)


def _panels(sample: LabelledSample) -> list[FloatArray]:
    inside = sample.mask[..., None]
    part = sample.iuv[..., :1].astype(np.float64) * (255 / 24)
    iuv = np.concatenate([part, sample.iuv[..., 1:]], axis=-1)
    values = sample.depth_m[sample.mask & (sample.depth_m > 0)]
    near, far = (values.min(), values.max()) if values.size else (0, 1)
    grey = 235 - 215 * (sample.depth_m - near) / max(float(far - near), 1e-6)
    nx, ny, nz = np.moveaxis(sample.normals, -1, 0)
    normal = np.stack([(1 - nx) / 2, (1 - ny) / 2, -nz], axis=-1).clip(0, 1) * 255
    panels = [sample.image, sample.white_image, iuv]
    panels += [np.where(inside, np.repeat(grey[..., None], 3, axis=-1), 255), np.where(inside, normal, 255)]
    return [np.clip(panel, 0, 255).astype(np.uint8) for panel in panels]
