"""Stability, accuracy and speed of a video's predictions on synthetic dances whose surface is known.

    python benchmarks/video.py stability --frames 64 --dances 2
    python benchmarks/video.py adapt --steps 100 --frames 128 --dances 2
    python benchmarks/video.py speed dance.mp4 --frames 96

``stability``: a dancer of the generator (30 frames a second, film noise, 256 x 256), predicted frame by frame and as a
video. Errors are measured where a pixel shows the same point of the body in two neighbouring frames (nearest points of
the canonical body, below 12 mm), and averaged over 1.5 pixels around it, since a match is exact to a pixel only. All
methods are scaled by one factor for the whole dance. The constant is a plane at one distance that faces the camera: its
flicker is the true motion.

``adapt``: the warp residual of held-out frames, and the same errors, before and after ``hdnet video --adapt``.

``speed``: frames a second of wall and of processor time, beside :meth:`Predictor.predict` frame by frame.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from joblib.externals.loky import get_reusable_executor
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

import hdnet
from hdnet.data.importing.video import Selection
from hdnet.errors import InputError
from hdnet.geometry import Camera
from hdnet.predict.runtime_names import RUNTIMES
from hdnet.synthetic.generate import making
from hdnet.synthetic.motion import draw_dance
from hdnet.synthetic.shot import Shot, SyntheticSpec
from hdnet.video.clip import Options
from hdnet.video.survey import read_part, survey_video
from hdnet.video.writing import save_video

RATE = 30
SAME_POINT_M = 0.012
AROUND_PX = 1.5


@dataclass(frozen=True, eq=False)
class Dance:
    """A synthetic dance.

    Attributes:
        frames: What the generator made of each.
        depth_m: (T, H, W) true depth.
        camera: Of all frames.
        matches: For each frame but the last, pixels (N, 2) row and column, and those of the same points in the next.
    """

    frames: list[Any]
    depth_m: np.ndarray
    camera: Camera
    matches: list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Maps:
    """Depth (H, W), normals (H, W, 3) and mask (H, W) of a frame."""

    depth_m: np.ndarray
    normals: np.ndarray
    mask: np.ndarray


def make_dance(seed: int, count: int) -> Dance:
    """Make a dance of the generator."""
    spec = SyntheticSpec(
        people=0, sequences=1, frames_per_sequence=count, seed=seed, focal_px=(300.0, 330.0), stride=1, film="phone"
    )
    with making("dance", spec):
        shot = Shot(spec, "sequence", 0)
        _, frames = shot.render(lambda rng: draw_dance(rng, count, RATE))
    depth_m = np.stack([frame.depth_m * frame.distance_m / 4 for frame in frames])
    return Dance(frames, depth_m, shot.camera, [same_points(a, b) for a, b in pairwise(frames)])


def same_points(first: Any, second: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of two frames that show the same point of the body."""
    places = [np.argwhere(one.mask & one.canonical_m.any(axis=-1)) for one in (first, second)]
    points = [one.canonical_m[tuple(at.T)] for one, at in zip((first, second), places, strict=True)]
    away, index = cKDTree(points[1]).query(points[0], distance_upper_bound=SAME_POINT_M)
    found = np.isfinite(away)
    return places[0][found], places[1][index[found]]


def measure(dance: Dance, maps: list[Maps | None]) -> dict[str, float]:
    """Accuracy and flicker of one method."""
    there = [k for k, one in enumerate(maps) if one is not None]
    inside = {k: maps[k].mask & dance.frames[k].mask for k in there}
    ratios = [np.log(dance.depth_m[k][inside[k]] / maps[k].depth_m[inside[k]]) for k in there]
    scale = np.exp(np.median(np.concatenate(ratios)))
    depth = {k: 1000 * (scale * maps[k].depth_m - dance.depth_m[k]) for k in there}
    normals = {k: maps[k].normals - dance.frames[k].normals for k in there}
    smooth = {k: around(np.concatenate([depth[k][..., None], normals[k]], axis=-1), inside[k]) for k in there}
    changes = []
    for k, (here, next_) in enumerate(dance.matches):
        if k in inside and k + 1 in inside:
            kept = inside[k][tuple(here.T)] & inside[k + 1][tuple(next_.T)]
            changes.append(smooth[k + 1][tuple(next_[kept].T)] - smooth[k][tuple(here[kept].T)])
    change = np.concatenate(changes)
    by_depth, by_normal = np.abs(change[:, 0]), np.degrees(np.linalg.norm(change[:, 1:], axis=1))
    angles = [np.degrees(2 * np.arcsin(np.linalg.norm(normals[k][inside[k]], axis=-1).clip(max=2) / 2)) for k in there]
    return {
        "depth error, mm": float(np.mean([np.abs(depth[k][inside[k]]).mean() for k in there])),
        "normal error, deg": float(np.mean([one.mean() for one in angles])),
        "depth flicker, mm: median": float(np.median(by_depth)),
        "mean": float(by_depth.mean()),
        "normal flicker, deg: median": float(np.median(by_normal)),
        "mean ": float(by_normal.mean()),
        "frames": float(len(there)),
    }


def around(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Averages over the neighbours inside the mask."""
    weight = gaussian_filter(mask.astype(np.float32), AROUND_PX) + 1e-6
    channels = np.moveaxis(np.where(mask[..., None], values, 0).astype(np.float32), -1, 0)
    return np.stack([gaussian_filter(one, AROUND_PX) / weight for one in channels], axis=-1)


def by_frame(dance: Dance, predictor: hdnet.Predictor) -> Iterator[Maps | None]:
    """Predict each frame alone."""
    for frame in dance.frames:
        try:
            found = predictor.infer(frame.image, camera=dance.camera)
        except InputError:
            yield None
            continue
        yield Maps(found.depth_m, found.normals, found.mask)


def as_video(dance: Dance, model: str) -> Iterator[Maps | None]:
    """Predict the frames as a lossless video."""
    with tempfile.TemporaryDirectory() as folder:
        file = lossless(dance, Path(folder) / "dance.mkv")
        for frame in hdnet.predict_video(file, model=model, fx=dance.camera.pixel_intrinsics()[0]):
            found = frame.prediction
            yield None if found is None else Maps(found.depth_m, found.normals, found.mask)


def lossless(dance: Dance, file: Path) -> Path:
    """Write the frames as a lossless video."""
    import av

    with av.open(str(file), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.height, stream.width = dance.frames[0].image.shape[:2]
        stream.pix_fmt = "bgr0"
        for frame in dance.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
        container.mux(stream.encode(None))
    return file


def constant(dance: Dance) -> Iterator[Maps]:
    """A plane that faces the camera."""
    for frame in dance.frames:
        normals = np.broadcast_to(np.array([0.0, 0.0, -1.0]), frame.normals.shape)
        yield Maps(np.full(frame.mask.shape, 4.0), normals, frame.mask)


def stability(arguments: argparse.Namespace) -> None:
    """Print the table of stability."""
    predictor = hdnet.load(arguments.model, runtime="openvino", threads=1)
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(arguments.seed, arguments.seed + arguments.dances):
        dance = make_dance(seed, arguments.frames)
        methods = {"frame by frame": by_frame(dance, predictor), "as a video": as_video(dance, arguments.model)}
        for name, maps in (methods | {"constant": constant(dance)}).items():
            rows.setdefault(name, []).append(measure(dance, list(maps)))
            print(f"dance {seed}, {name}: {rows[name][-1]}", file=sys.stderr)
    print_means(rows)


def print_means(rows: dict[str, list[dict[str, float]]]) -> None:
    """Print the means over the dances as a table, a line a method."""
    names = list(next(iter(rows.values()))[0])
    print("| | " + " | ".join(name.strip() for name in names) + " |")
    print("|---|" + "---:|" * len(names))
    for method, found in rows.items():
        print(f"| {method} | " + " | ".join(f"{np.mean([one[name] for one in found]):.3g}" for name in names) + " |")


def adapt(arguments: argparse.Namespace) -> None:
    """Print the table of adaptation."""
    from hdnet.training.adaptation import Adaptation  # optional packages

    rows: dict[str, list[dict[str, float]]] = {"before": [], "after": []}
    for seed in range(arguments.seed, arguments.seed + arguments.dances):
        dance = make_dance(seed, arguments.frames)
        with tempfile.TemporaryDirectory() as folder:
            file = lossless(dance, Path(folder) / "dance.mkv")
            options = Options(str(arguments.model), fx=dance.camera.pixel_intrinsics()[0])
            began = time.perf_counter()
            adapted = Adaptation(arguments.steps)(file, Path(folder), options, progress=True)
            report = adapted.report | {"seconds": round(time.perf_counter() - began)}
            print(f"dance {seed}: {report}", file=sys.stderr)
            measured = {one["step"]: one for one in report["measured"]}
            models = {"before": (arguments.model, 0), "after": (adapted.model or arguments.model, report["kept_step"])}
            for name, (model, step) in models.items():
                residual = {"held-out warp residual, mm": measured[step]["warp_mm"]}
                rows[name].append(residual | measure(dance, list(as_video(dance, str(model)))))
    print_means(rows)


def speed(arguments: argparse.Namespace) -> None:
    """Print the table of speed."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        predictor = hdnet.load(arguments.model, runtime=arguments.runtime, threads=1)
        survey = survey_video(arguments.video, Path(folder) / "survey", Selection())
        count = min(arguments.frames, survey.count)
        clock = _Clock()
        for image in read_part(arguments.video, Path(folder) / "survey", survey, range(min(count, 16))):
            predictor.infer(image)
        rows.append(("frame by frame, no files", *clock.rates(min(count, 16))))
        clock = _Clock()
        selection = Selection(end_s=count / survey.rate)
        options = Options(str(arguments.model), arguments.runtime, jobs=arguments.jobs, selection=selection)
        content = save_video(arguments.video, Path(folder) / "out", options)
        rows.append((f"hdnet video --jobs {arguments.jobs}", *clock.rates(len(content["frames"]))))
    print(f"{survey.width} x {survey.height}\n\n| | frames/s | processor, ms a frame |\n|---|---:|---:|")
    for name, rate, cpu_ms in rows:
        print(f"| {name} | {rate:.2f} | {cpu_ms:.0f} |")


class _Clock:
    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), _cpu_s()

    def rates(self, frames: int) -> tuple[float, float]:
        """Frames a second, and milliseconds of processor time a frame, that of the worker processes included."""
        rate = frames / (time.perf_counter() - self._wall)
        get_reusable_executor().shutdown(wait=True)  # children's time counts once they have ended
        return rate, 1000 * (_cpu_s() - self._cpu) / frames


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Run a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one, learned = verbs.add_parser("stability"), verbs.add_parser("adapt")
    for verb, command, frames in ((one, stability, 64), (learned, adapt, 128)):
        verb.add_argument("--frames", type=int, default=frames)
        verb.add_argument("--dances", type=int, default=2)
        verb.add_argument("--seed", type=int, default=11)
        verb.set_defaults(command=command)
    learned.add_argument("--steps", type=int, default=100)
    other = verbs.add_parser("speed")
    other.add_argument("video", type=Path)
    other.add_argument("--frames", type=int, default=96)
    other.add_argument("--jobs", type=int, default=1)
    other.add_argument("--runtime", choices=RUNTIMES, default="openvino")
    other.set_defaults(command=speed)
    for verb in (one, learned, other):
        verb.add_argument("--model", default="shipped")
    arguments = parser.parse_args()
    arguments.command(arguments)


if __name__ == "__main__":
    main()
