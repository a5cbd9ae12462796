"""Engine that makes spheres instead of people, in milliseconds."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from data_folders import person_picture, unlabelled_frame
from specs import spec_of

from hdnet.data.layout.samples import UnlabelledFrame
from hdnet.data.store.person_record import PersonPicture
from hdnet.synthetic import Engine, SyntheticSpec, synthesize


def quick_person(spec: SyntheticSpec, index: int) -> list[PersonPicture]:
    first, count = index * spec.pictures_per_person, spec.pictures_per_person
    return [person_picture(f"{k:07d}", spec.seed + k, index) for k in range(first, first + count)]


def quick_sequence(spec: SyntheticSpec, index: int) -> list[UnlabelledFrame]:
    first, count = index * spec.frames_per_sequence, spec.frames_per_sequence
    return [unlabelled_frame(f"{k:07d}", f"seq-{index:03d}", spec.seed + k) for k in range(first, first + count)]


def nothing() -> None:
    """Stand in for the body model."""


def slow_person(spec: SyntheticSpec, index: int) -> list[PersonPicture]:
    time.sleep(0.15)
    return quick_person(spec, index)


QUICK = Engine(quick_person, quick_sequence, nothing)


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


if __name__ == "__main__":
    import quick_engine  # so that workers find the functions under the module's name

    out, people, jobs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    sys.stdout.write(f"{os.getpid()}\n")
    sys.stdout.flush()
    engine = Engine(quick_engine.slow_person, quick_engine.quick_sequence, quick_engine.nothing)
    synthesize(out, spec_of(people, 2, 3, 7), jobs, engine=engine)
