"""Generating labelled stills and unlabelled sequences of synthetic dressed people, in one process or several.

Every person, outfit, pose, light and camera has its own random stream, derived from (seed, kind, index):
the same seed gives the same bytes whatever the number of processes, and a sample does not depend on how
many others are made.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from hdnet.data.samples import LabelledSample, UnlabelledFrame
from hdnet.data.synthetic.body import body_model
from hdnet.data.synthetic.light import draw_background, draw_light
from hdnet.data.synthetic.looks import draw_looks
from hdnet.data.synthetic.motion import Pose, draw_motion, draw_still
from hdnet.data.synthetic.person import PosedPerson, draw_person, pose_person
from hdnet.data.synthetic.scene import MIN_MASK_SHARE, PICTURE_SIZE, Frame, View, draw_view, render_frame
from hdnet.errors import DataError, HDNetError
from hdnet.geometry import Camera

CameraName = Literal["centred", "reference"]
Progress = Callable[[int, int], None]
"""Called with (done, total) after each picture or sequence."""
T = TypeVar("T")

_ATTEMPTS = 8
_KINDS = {"still": 0, "sequence": 1}
_STREAMS = ("person", "clothes", "pose", "light", "camera", "noise")


@dataclass(frozen=True)
class SyntheticSpec:
    """What to generate.

    Attributes:
        people: Number of labelled stills, each of another person.
        sequences: Number of unlabelled sequences.
        frames_per_sequence: Frames of each.
        seed: Everything follows from it.
        focal_px: Range of the focal length in pixels of the 256 x 256 picture ("centred" only).
        camera: "centred", or "reference" for the original's off-axis camera.
    """

    people: int
    sequences: int
    frames_per_sequence: int
    seed: int
    focal_px: tuple[float, float] = (250.0, 450.0)
    camera: CameraName = "centred"

    def __post_init__(self) -> None:
        if self.people < 0 or self.sequences < 0 or (self.sequences > 0 and self.frames_per_sequence < 1):
            raise DataError(
                f"cannot generate {self.people} stills and {self.sequences} sequences of "
                f"{self.frames_per_sequence} frames; expected counts of 0 or more and at least 1 frame"
            )
        if self.seed < 0:
            raise DataError(f"seed is {self.seed}; expected 0 or more")
        if not 100 <= self.focal_px[0] <= self.focal_px[1]:
            raise DataError(f"focal_px is {self.focal_px}; expected a range (low, high) of 100 pixels or more")
        if self.camera not in ("centred", "reference"):
            raise DataError(f"camera is {self.camera!r}; expected 'centred' or 'reference'")


def generate_stills(
    count: int,
    seed: int,
    *,
    focal_px: tuple[float, float] = (250.0, 450.0),
    camera: CameraName = "centred",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Iterator[LabelledSample]:
    """Labelled pictures of ``count`` people, named 0000000 onwards, in order.

    Raises:
        DataError: A package is missing, an argument is out of range, or a sample could not be made.
    """
    spec = SyntheticSpec(count, 0, 0, seed, focal_px, camera)
    return in_order(make_still, [(spec, index) for index in range(count)], jobs, progress)


def generate_sequences(
    count: int,
    frames: int,
    seed: int,
    *,
    focal_px: tuple[float, float] = (250.0, 450.0),
    camera: CameraName = "centred",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Iterator[UnlabelledFrame]:
    """Frames of ``count`` sequences ("seq-000" onwards), names running on over all sequences, in order.

    Raises:
        DataError: As :func:`generate_stills`.
    """
    spec = SyntheticSpec(0, count, frames, seed, focal_px, camera)
    for sequence in in_order(make_sequence, [(spec, index) for index in range(count)], jobs, progress):
        yield from sequence


def make_still(spec: SyntheticSpec, index: int) -> LabelledSample:
    """One labelled picture."""
    stage = _Stage(spec, "still", index)
    frame = stage.render(lambda rng: [draw_still(rng)])[0]
    return LabelledSample(
        name=f"{index:07d}",
        image=frame.image,
        white_image=frame.white_image,
        iuv=frame.iuv,
        mask=frame.mask,
        depth_m=frame.depth_m,
        normals=frame.normals,
        camera=stage.camera,
    )


def make_sequence(spec: SyntheticSpec, index: int) -> list[UnlabelledFrame]:
    """All frames of one sequence: one person, outfit, light, background and camera."""
    stage = _Stage(spec, "sequence", index)
    frames = stage.render(lambda rng: draw_motion(rng, spec.frames_per_sequence))
    first = index * spec.frames_per_sequence
    return [
        UnlabelledFrame(
            name=f"{first + number:07d}",
            sequence=f"seq-{index:03d}",
            image=frame.image,
            white_image=frame.white_image,
            iuv=frame.iuv,
            mask=frame.mask,
            camera=stage.camera,
        )
        for number, frame in enumerate(frames)
    ]


class _Stage:
    """One person with their clothes, light, background and camera."""

    def __init__(self, spec: SyntheticSpec, kind: str, index: int) -> None:
        streams = np.random.SeedSequence(spec.seed, spawn_key=(_KINDS[kind], index)).spawn(len(_STREAMS))
        self.rng = {name: np.random.default_rng(s) for name, s in zip(_STREAMS, streams, strict=True)}
        self.person = draw_person(self.rng["person"], self.rng["clothes"])
        self.looks = draw_looks(self.rng["person"], self.rng["clothes"])
        self.light = draw_light(self.rng["light"])
        self.background = draw_background(self.rng["light"], PICTURE_SIZE, self.light)
        focal_px = float(self.rng["camera"].uniform(*spec.focal_px))
        self.camera = Camera.reference() if spec.camera == "reference" else Camera.centred(round(focal_px, 3))

    def render(self, draw_poses: Callable[[np.random.Generator], list[Pose]]) -> list[Frame]:
        """Frames of drawn poses, drawn again where a frame shows too little of the person.

        Raises:
            DataError: No frame large enough after a few draws.
        """
        for _ in range(_ATTEMPTS):
            people = [(pose_person(self.person, p), p.yaw_deg) for p in draw_poses(self.rng["pose"])]
            view = draw_view(self.rng["camera"], self.camera, people)
            frames = [self._frame(view, posed, yaw) for posed, yaw in people]
            if min(frame.mask.mean() for frame in frames) >= MIN_MASK_SHARE:
                return frames
        raise DataError(f"the person covers less than {MIN_MASK_SHARE:.0%} of the picture in {_ATTEMPTS} draws")

    def _frame(self, view: View, posed: PosedPerson, yaw_deg: float) -> Frame:
        noise_seed = int(self.rng["noise"].integers(2**63))
        return render_frame(view, posed, yaw_deg, self.looks, self.light, self.background, noise_seed)


def in_order(
    make: Callable[[SyntheticSpec, int], T],
    tasks: list[tuple[SyntheticSpec, int]],
    jobs: int,
    progress: Progress | None = None,
) -> Iterator[T]:
    """Results of ``make(*task)`` in the order of the tasks, computed by ``jobs`` processes.

    Raises:
        DataError: ``jobs`` is below 1, a task failed or a process died.
    """
    if jobs < 1:
        raise DataError(f"jobs is {jobs}; expected 1 or more processes")
    if not tasks:
        return
    # Before any worker starts, so that the cache is built once and missing packages show at once.
    body_model()
    if jobs == 1:
        for done, task in enumerate(tasks, start=1):
            yield _make(make, task)
            if progress is not None:
                progress(done, len(tasks))
        return
    # spawn: forking a process that has run PyTorch threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), mp_context=context, initializer=_start_worker) as pool:
        waiting: list[Future[T]] = [pool.submit(_make, make, task) for task in tasks[: 3 * jobs]]
        try:
            for done in range(1, len(tasks) + 1):
                result = waiting.pop(0).result()
                following = done - 1 + 3 * jobs
                if following < len(tasks):
                    waiting.append(pool.submit(_make, make, tasks[following]))
                yield result
                if progress is not None:
                    progress(done, len(tasks))
        except BrokenProcessPool as error:
            raise DataError(
                "a process that makes synthetic people died (out of memory?); try again with fewer jobs"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _start_worker() -> None:
    import torch

    # One process per core: threads inside would only fight.
    torch.set_num_threads(1)


def _make(make: Callable[[SyntheticSpec, int], T], task: tuple[SyntheticSpec, int]) -> T:
    spec, index = task
    try:
        return make(spec, index)
    except (ArithmeticError, IndexError, KeyError, ValueError, HDNetError) as error:
        raise DataError(
            f"synthetic sample {index} of seed {spec.seed} could not be made ({error}); "
            "choose another seed or report it"
        ) from error
