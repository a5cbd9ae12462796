"""Generation of labelled stills and unlabelled sequences of synthetic dressed people.

Every person, outfit, motion, light, camera, noise and imperfection has its own random stream, derived from (seed,
kind, index), for further pictures of one person also from the number of the picture. The bytes of a sample depend
neither on the number of processes nor on how many others are made, and a sequence keeps its person and light.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, TypeVar

import scipy.linalg  # noqa: F401 - loads its own BLAS, whose threads are limited too
import torch

from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.data.parallel import ordered_map
from hdnet.data.store.person_record import PersonPicture
from hdnet.errors import DataError, HDNetError
from hdnet.extras import install_command
from hdnet.synthetic.body import body_model
from hdnet.synthetic.motion import draw_dance, draw_everyday, draw_still
from hdnet.synthetic.person import true_size
from hdnet.synthetic.rendering import Frame, check_surroundings
from hdnet.synthetic.shot import Shot, SyntheticSpec

Progress = Callable[[int, int], None]
"""Called with (done, total) pictures."""
T = TypeVar("T")


def generate_stills(
    spec: SyntheticSpec, *, jobs: int = 1, progress: Progress | None = None
) -> Iterator[LabelledSample]:
    """Yield the labelled pictures of a spec, named 0000000 onwards, in order; those of one person are neighbours.

    Raises:
        DataError: A package is missing or a sample could not be made.
    """
    for pictures in _in_order(make_person, spec, spec.people, jobs, progress):
        yield from (picture.sample for picture in pictures)


def generate_sequences(
    spec: SyntheticSpec, *, jobs: int = 1, progress: Progress | None = None
) -> Iterator[UnlabelledFrame]:
    """Yield the frames of a spec's sequences ("seq-000" onwards), names running on over all sequences, in order.

    Raises:
        DataError: As :func:`generate_stills`.
    """
    for sequence in _in_order(make_sequence, spec, spec.sequences, jobs, progress):
        yield from sequence


def make_person(spec: SyntheticSpec, index: int) -> list[PersonPicture]:
    """Make all labelled pictures of one person: body, clothes and pose are simulated once.

    From the second picture on, the person is seen from another side, with another camera, in another light and
    surroundings.
    """
    shot = Shot(spec, "still", index)
    draw_pose = draw_everyday if spec.framing == "phone" else draw_still
    posed, frames = shot.render(lambda rng: [draw_pose(rng)])
    first = index * spec.pictures_per_person
    shots = [(shot, frames[0])]
    for take in range(1, spec.pictures_per_person):
        other = Shot(spec, "still", index, take)
        shots.append((other, other.again(shot.person, posed[0])))
    size = true_size(shot.person)
    return [_labelled(first + take, index, *shown, size) for take, shown in enumerate(shots)]


def _labelled(number: int, person: int, shot: Shot, frame: Frame, size: float) -> PersonPicture:
    sample = LabelledSample(
        name=f"{number:07d}",
        image=frame.image,
        white_image=frame.white_image,
        iuv=frame.iuv,
        mask=frame.mask,
        depth_m=frame.depth_m,
        normals=frame.normals,
        camera=shot.camera,
    )
    facts = {**shot.facts, "camera_height_m": float(shot.facts["camera_height_m"]) * size}
    return PersonPicture(sample, person, frame.distance_m * size, frame.coverage, frame.canonical_m, facts)


def make_sequence(spec: SyntheticSpec, index: int) -> list[UnlabelledFrame]:
    """Make all frames of one sequence: one person, outfit, light, background and camera."""
    shot = Shot(spec, "sequence", index)
    dense = (spec.frames_per_sequence - 1) * spec.stride + 1
    _, frames = shot.render(lambda rng: draw_dance(rng, dense))
    first = index * spec.frames_per_sequence
    return [
        UnlabelledFrame(
            name=f"{first + number:07d}",
            sequence=f"seq-{index:03d}",
            image=frame.image,
            white_image=frame.white_image,
            iuv=frame.iuv,
            mask=frame.mask,
            camera=shot.camera,
        )
        for number, frame in enumerate(frames)
    ]


def _in_order(
    make: Callable[[SyntheticSpec, int], T], spec: SyntheticSpec, count: int, jobs: int, progress: Progress | None
) -> Iterator[T]:
    """Yield the results of ``make(spec, index)`` in order, computed by ``jobs`` processes of one thread."""
    if jobs < 1:
        raise DataError(f"jobs is {jobs}; expected 1 or more processes")
    if not count:
        return
    # Before any worker starts, so that the cache is built once, and missing packages and bad files show at once.
    body_model()
    check_surroundings(spec.environments, spec.photographs)
    results = ordered_map(partial(_make, make, spec), range(count), jobs, progress=False, label="", inner_threads=1)
    for done, result in enumerate(results, start=1):
        yield result
        if progress is not None:
            progress(done, count)


def _make(make: Callable[[SyntheticSpec, int], T], spec: SyntheticSpec, index: int) -> T:
    with making(f"sample {index}", spec):
        return make(spec, index)


@contextmanager
def making(what: str, spec: SyntheticSpec) -> Iterator[None]:
    """Make one sample of a spec: on one thread, with failures reported as one error.

    Args:
        what: Name of the sample for the message.
        spec: Specification that it belongs to.

    Raises:
        DataError: The sample cannot be made, or the package threadpoolctl is missing.
    """
    try:
        with _one_thread():
            yield
    except (ArithmeticError, IndexError, KeyError, ValueError, HDNetError) as error:
        raise DataError(
            f"synthetic {what} of seed {spec.seed} could not be made ({error}); choose another seed or report it"
        ) from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit BLAS, OpenMP and torch to one thread: more would sum in another order and change the bytes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _libraries() -> Any:
    """Return the thread pools of this process, found once."""
    # An optional package, of the extra `synthetic`.
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError as error:
        raise DataError(
            f"synthetic people need the package threadpoolctl, which is missing: {install_command('synthetic')}"
        ) from error
    return ThreadpoolController()
