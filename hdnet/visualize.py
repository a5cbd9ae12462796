"""Pictures of depth, normals, meshes and training progress. All pictures are (H, W, 3) uint8 RGB."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hdnet.data.layout.png import normal_picture as normal_picture
from hdnet.errors import DataError
from hdnet.predict.mesh import Mesh

WHITE = 255
# A rendered point stands for about this many pixels of the double-sized picture, so that triangles have no
# holes.
_SPLAT_SPACING_PX = 0.7
_POINTS_AT_ONCE = 2_000_000
_LIGHTS = (((-0.5, -0.6, -1.0), 0.75), ((0.8, -0.2, -0.5), 0.25))
_AMBIENT = 0.28
_CLAY = np.array([222.0, 214.0, 204.0])


def hot_table() -> np.ndarray:
    """(256, 3) uint8: black, red, yellow, white, the breakpoints of the usual "hot" colour map.

    Written as a formula so that colouring depth needs no plotting library.
    """
    x = np.linspace(0, 1, 256)
    red = np.interp(x, [0, 0.365079, 1], [0.0416, 1, 1])
    green = np.interp(x, [0, 0.365079, 0.746032, 1], [0, 0, 1, 1])
    blue = np.interp(x, [0, 0.746032, 1], [0, 0, 1])
    return (np.stack([red, green, blue], axis=1) * 255).astype(np.uint8)


def depth_picture(depth_m: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Depth in the colours "hot": near is dark, far is bright, white outside the mask (quirk 51).

    Dark is the smallest and bright the largest positive depth in the mask; what is not positive or not finite
    is as dark as the smallest, and a mask without any positive depth is all dark (quirk 50: the original
    failed there).

    Args:
        depth_m: (H, W).
        mask: (H, W) bool.
    """
    inside = mask.astype(bool)
    usable = inside & np.isfinite(depth_m) & (depth_m > 0)
    index = np.zeros(depth_m.shape, dtype=np.int64)
    if usable.any():
        nearest, farthest = float(depth_m[usable].min()), float(depth_m[usable].max())
        share = (depth_m[usable] - nearest) / max(farthest - nearest, 1e-12)
        index[usable] = (share * 256).astype(np.int64).clip(0, 255)
    return np.where(inside[..., None], hot_table()[index], np.uint8(WHITE))


def panel(image: np.ndarray, depth_m: np.ndarray, normals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(H, 3 W, 3): image | depth | normals."""
    return np.concatenate([image, depth_picture(depth_m, mask), normal_picture(normals, mask)], axis=1)


def contact_sheet(rows: Sequence[np.ndarray | Sequence[np.ndarray]], gap: int = 4) -> np.ndarray:
    """Pictures in rows on white; a row is one picture or several, of any size.

    Args:
        rows: From top to bottom, from left to right.
        gap: White pixels between them.

    Raises:
        ValueError: If there is no picture.
    """
    strips = [_joined([row] if isinstance(row, np.ndarray) else list(row), gap, axis=1) for row in rows]
    return _joined(strips, gap, axis=0)


def _joined(pictures: list[np.ndarray], gap: int, axis: int) -> np.ndarray:
    """Side by side (axis 1) or one below the other (axis 0), smaller ones filled up with white."""
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


def mesh_picture(mesh: Mesh, size: int = 256, yaw_deg: float = 0.0, textured: bool = False) -> np.ndarray:
    """A shaded view of the mesh, orthographic, on white.

    Args:
        mesh: In the camera frame.
        size: Pixels along a side. The scale does not depend on the yaw, so that pictures make a turntable.
        yaw_deg: Turn about the vertical axis; positive shows more of the surface's right side in the picture.
        textured: The vertices' colours instead of clay.
    """
    fine = 2 * size
    angle = np.deg2rad(yaw_deg)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    centred = mesh.vertices - (low + high) / 2
    reach = max(float(np.hypot(centred[:, 0], centred[:, 2]).max()), float(np.abs(centred[:, 1]).max()), 1e-9)
    scale = 0.47 * fine / reach
    points = centred @ turn.T * [scale, scale, scale] + [fine / 2, fine / 2, 0]
    if textured and mesh.colors is not None:
        albedo = mesh.colors.astype(np.float64)
    else:
        albedo = np.broadcast_to(_CLAY, mesh.vertices.shape)
    colours = albedo * _shading(mesh.vertex_normals() @ turn.T)[:, None]
    canvas = _splat(points, colours, mesh.faces, fine)
    smooth: np.ndarray = canvas.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))
    return smooth.round().astype(np.uint8)


def _shading(normals: np.ndarray) -> np.ndarray:
    """Brightness 0..1 of every vertex under a key light from the upper left and a fill light."""
    brightness = np.full(len(normals), _AMBIENT)
    for direction, power in _LIGHTS:
        towards = np.array(direction) / np.linalg.norm(direction)
        brightness += power * (normals @ towards).clip(0)
    return brightness.clip(0, 1)


def _splat(points: np.ndarray, colours: np.ndarray, faces: np.ndarray, size: int) -> np.ndarray:
    """(size, size, 3) picture: every triangle as a dense grid of points, the nearest one of a pixel wins."""
    canvas = np.full((size * size, 3), float(WHITE))
    nearest = np.full(size * size, np.inf)
    corners = points[faces]
    edges = corners - np.roll(corners, 1, axis=1)
    longest = np.linalg.norm(edges[..., :2], axis=2).max(axis=1)
    parts = np.ceil(longest / _SPLAT_SPACING_PX).astype(np.int64).clip(1)
    for count in np.unique(parts):
        i, j = np.nonzero(np.add.outer(np.arange(count + 1), np.arange(count + 1)) <= count)
        weights = np.stack([i, j, count - i - j], axis=1) / count
        alike = faces[parts == count]
        for chosen in np.array_split(alike, 1 + len(alike) * len(weights) // _POINTS_AT_ONCE):
            spot = np.einsum("kc,fcx->fkx", weights, points[chosen]).reshape(-1, 3)
            shade = np.einsum("kc,fcx->fkx", weights, colours[chosen]).reshape(-1, 3)
            column, row = np.floor(spot[:, 0]).astype(np.int64), np.floor(spot[:, 1]).astype(np.int64)
            seen = np.flatnonzero((column >= 0) & (column < size) & (row >= 0) & (row < size))
            pixel = row[seen] * size + column[seen]
            nearer = spot[seen, 2] < nearest[pixel]
            seen, pixel = seen[nearer], pixel[nearer]
            # Of repeated indices NumPy keeps the last assignment: from far to near.
            order = np.argsort(-spot[seen, 2], kind="stable")
            nearest[pixel[order]] = spot[seen[order], 2]
            canvas[pixel[order]] = shade[seen[order]]
    return canvas.reshape(size, size, 3)


def plot_convergence(csv_paths: Sequence[str | Path], out_png: str | Path) -> None:
    """Draws the loss terms of one or more training logs over the steps, on a logarithmic scale.

    The measured values are faint, a running mean over a fiftieth of the log is strong. A term without any
    positive value has no place on a logarithmic scale; the legend says so.

    Args:
        csv_paths: Logs with a column ``step`` and a column for every term; empty cells are steps without that
            term.
        out_png: Picture to write; one diagram a log.

    Raises:
        DataError: If a log is missing, empty, has no column ``step`` or a cell that is not a number.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
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


def running_mean(values: np.ndarray) -> np.ndarray:
    """Centred mean over a fiftieth of the values (at least 3); at the ends over what there is."""
    half = max(1, len(values) // 100)
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    index = np.arange(len(values))
    first, last = (index - half).clip(0), (index + half + 1).clip(max=len(values))
    mean: np.ndarray = (total[last] - total[first]) / (last - first)
    return mean


def _read_log(path: Path) -> dict[str, np.ndarray]:
    """Columns by name, ``step`` among them."""
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
