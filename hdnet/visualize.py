"""Pictures of depth, normals and training progress. All pictures are (H, W, 3) uint8 RGB."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from hdnet.errors import DataError

WHITE = 255
_STRIP_ROWS = 64


def hot_table() -> np.ndarray:
    """Return the colour map "hot", (256, 3) uint8: black, red, yellow, white.

    A formula, so that colouring depth needs no plotting library.
    """
    x = np.linspace(0, 1, 256)
    red = np.interp(x, [0, 0.365079, 1], [0.0416, 1, 1])
    green = np.interp(x, [0, 0.365079, 0.746032, 1], [0, 0, 1, 1])
    blue = np.interp(x, [0, 0.746032, 1], [0, 0, 1])
    return (np.stack([red, green, blue], axis=1) * 255).astype(np.uint8)


def depth_picture(depth_m: np.ndarray, mask: np.ndarray, limits_m: tuple[float, float] | None = None) -> np.ndarray:
    """Colour depth with "hot": near is dark, far is bright, white outside the mask (docs/parity.md, 51).

    Dark is the smallest and bright the largest positive depth in the mask. Depth that is not positive or not finite is
    as dark as the smallest; a mask without any positive depth is all dark, where the original fails (docs/parity.md,
    50).

    Args:
        depth_m: (H, W).
        mask: (H, W) bool.
        limits_m: Depths of the darkest and the brightest colour, for pictures that are compared with each other; None
            takes those of the mask.
    """
    inside = mask.astype(bool)
    depth = depth_m[inside]
    usable = np.isfinite(depth) & (depth > 0)
    index = np.zeros(len(depth), dtype=np.int64)
    if usable.any():
        nearest, farthest = limits_m or (float(depth[usable].min()), float(depth[usable].max()))
        share = (depth[usable] - nearest) / max(farthest - nearest, 1e-12)
        index[usable] = (share * 256).astype(np.int64).clip(0, 255)
    picture = np.full((*inside.shape, 3), WHITE, np.uint8)
    picture[inside] = hot_table()[index]
    return picture


def normal_picture(normals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Colour normals: R = (1 - nx) / 2, G = (1 - ny) / 2, B = -nz, white outside the mask.

    The original's rule, except that B is clipped where the original's wraps around: for normals that point away
    (docs/parity.md, 52).

    Args:
        normals: (H, W, 3) unit vectors in the camera frame.
        mask: (H, W) bool.

    Returns:
        (H, W, 3) uint8.
    """
    inside, normals = np.asarray(mask, dtype=bool), np.asarray(normals)
    outside = np.where(inside, np.uint8(0), np.uint8(WHITE))
    picture = np.full((*inside.shape, 3), WHITE, np.uint8)
    columns = np.flatnonzero(inside.any(axis=0))
    # Channel by channel: over a last axis of three NumPy takes several times as long.
    for strip in strips(len(inside)):
        if not inside[strip].any():
            continue
        part = strip, slice(columns[0], columns[-1] + 1)
        for channel in range(3):
            values = normals[(*part, channel)].astype(np.float32, copy=False)
            if not np.isfinite(values).all():
                values = np.nan_to_num(values)
            colours = -values if channel == 2 else (1 - values) / 2
            colours.clip(0, 1, out=colours)
            colours *= 255
            picture[(*part, channel)] = colours.astype(np.uint8) | outside[part]
    return picture


def strips(height: int) -> Iterator[slice]:
    """The rows of a picture in parts, whose values stay in the processor's cache from one operation to the next."""
    for top in range(0, height, _STRIP_ROWS):
        yield slice(top, min(top + _STRIP_ROWS, height))


def panel(image: np.ndarray, depth_m: np.ndarray, normals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Draw image | depth | normals, (H, 3 W, 3)."""
    return np.concatenate([image, depth_picture(depth_m, mask), normal_picture(normals, mask)], axis=1)


def contact_sheet(rows: Sequence[np.ndarray | Sequence[np.ndarray]], gap: int = 4) -> np.ndarray:
    """Arrange pictures in rows on white; a row is one picture or several, of any size.

    Args:
        rows: From top to bottom, from left to right.
        gap: White pixels between them.

    Raises:
        ValueError: If there is no picture.
    """
    strips = [_joined([row] if isinstance(row, np.ndarray) else list(row), gap, axis=1) for row in rows]
    return _joined(strips, gap, axis=0)


def _joined(pictures: list[np.ndarray], gap: int, axis: int) -> np.ndarray:
    """Join pictures side by side (axis 1) or one below the other (axis 0), padded with white."""
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture in every row")
    across = 1 - axis
    longest = max(picture.shape[across] for picture in pictures)
    pieces: list[np.ndarray] = []
    for picture in pictures:
        padding = [(0, 0), (0, 0), (0, 0)]
        padding[across] = (0, longest - picture.shape[across])
        padding[axis] = (gap if pieces else 0, 0)
        pieces.append(np.pad(picture, padding, constant_values=WHITE))
    return np.concatenate(pieces, axis=axis)


def plot_convergence(csv_paths: Sequence[str | Path], out_png: str | Path) -> None:
    """Draw the loss terms of one or more training logs over the steps, on a logarithmic scale.

    The measured values are faint, a running mean over a fiftieth of the log is strong. The legend names terms without
    any positive value, which a logarithmic scale cannot show.

    Args:
        csv_paths: Logs with a column ``step`` and one per term; an empty cell is a step without that term.
        out_png: Picture to write, with one diagram per log.

    Raises:
        DataError: If a log is missing, empty, has no column ``step`` or a cell that is not a number.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    logs = [(Path(path), _read_log(Path(path))) for path in csv_paths]
    if not logs:
        raise DataError("no training log given to plot, expected at least one CSV with a column 'step'")
    figure = Figure(figsize=(9, 4 * len(logs)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (path, columns) in zip(figure.subplots(len(logs), squeeze=False)[:, 0], logs, strict=True):
        step = columns.pop("step")
        for index, (name, values) in enumerate(columns.items()):
            shown = np.isfinite(values) & (values > 0)
            label = name if shown.any() else f"{name} (no positive value)"
            colour = f"C{index % 10}"
            axes.plot(step[shown], values[shown], color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(step[shown], running_mean(values[shown]), color=colour, linewidth=1.6, label=label)
        axes.set(title=path.stem, xlabel="step", ylabel="loss", yscale="log")
        axes.grid(which="both", alpha=0.2)
        axes.legend(fontsize="small", ncols=2)
    Path(out_png).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_png)


def plot_reliability(expected_deg: np.ndarray, angle_deg: np.ndarray, share: np.ndarray, out_png: str | Path) -> None:
    """Draw how far the angles that a network expects are those that it makes, and how often it expects each.

    Args:
        expected_deg: (bins,) mean expected angle, nan in an empty bin.
        angle_deg: (bins,) mean measured angle.
        share: (bins,) share of the pixels in each bin.
        out_png: Picture to write. Points above the diagonal are overconfident.

    Raises:
        DataError: If no bin has a pixel.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    known = share > 0
    if not known.any():
        raise DataError("no pixel to draw a reliability plot of; expected one bin with a share above 0 at least")
    expected, angle, percent = expected_deg[known], angle_deg[known], 100 * share[known]
    figure = Figure(figsize=(6, 7), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, height_ratios=(3, 1), sharex=True)
    end = 1.05 * max(expected.max(), angle.max())
    upper.plot([0, end], [0, end], color="0.6", linestyle="--", label="calibrated")
    upper.plot(expected, angle, marker="o", label="network")
    upper.set(ylabel="measured angle (°)", xlim=(0, end), ylim=(0, end))
    upper.legend()
    lower.bar(expected, percent, width=end / 40)
    lower.set(xlabel="expected angle (°)", ylabel="pixels (%)")
    for axes in (upper, lower):
        axes.grid(alpha=0.2)
    Path(out_png).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_png)


def running_mean(values: np.ndarray) -> np.ndarray:
    """Return the centred mean over a fiftieth of the values (at least 3), over fewer at the ends."""
    half = max(1, len(values) // 100)
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    index = np.arange(len(values))
    first, last = (index - half).clip(0), (index + half + 1).clip(max=len(values))
    mean: np.ndarray = (total[last] - total[first]) / (last - first)
    return mean


def _read_log(path: Path) -> dict[str, np.ndarray]:
    """Read a log's columns by name, ``step`` among them."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: training log cannot be read ({error})") from error
    rows = [row for row in rows if row]
    if len(rows) < 2:
        raise DataError(f"{path}: training log holds no values, expected a header line and at least one step")
    header = rows[0]
    if "step" not in header or len(header) < 2:
        raise DataError(f"{path}: columns are {', '.join(header)}; expected 'step' and one or more loss terms")
    columns: dict[str, list[float]] = {name: [] for name in header}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataError(f"{path}: row {number} has {len(row)} cells, the header has {len(header)}")
        for name, cell in zip(header, row, strict=True):
            try:
                columns[name].append(float(cell) if cell.strip() else np.nan)
            except ValueError as error:
                raise DataError(f"{path}: row {number}, column {name}: {cell!r} is not a number") from error
    return {name: np.array(values) for name, values in columns.items()}
