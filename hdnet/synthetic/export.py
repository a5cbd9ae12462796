"""Export of synthetic people to Tang and TikTok folders, or packed people, resumable after an interruption.

Every task (a person, or a sequence) is made in a folder of its own, moved into the unfinished result file by file, and
recorded last with its files and sizes. A run resumes if its :func:`fingerprint` is the same; a sample depends on its
number alone, so that an interruption does not change the result.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from hdnet.data.layout.folders import TANG, TIKTOK, TangFolder, TikTokFolder
from hdnet.data.layout.samples import UnlabelledFrame
from hdnet.data.parallel import ordered_map
from hdnet.data.store.people import Piece, join_pieces, people_per_shard, shard_file
from hdnet.data.store.person_record import PersonPicture
from hdnet.errors import DataError
from hdnet.files import read_json_object, resumable_folder, write_json
from hdnet.geometry import Camera
from hdnet.synthetic.body import body_model
from hdnet.synthetic.cost import check_room, cost
from hdnet.synthetic.generate import Progress, make_person, make_sequence, making
from hdnet.synthetic.rendering import check_surroundings
from hdnet.synthetic.shot import SyntheticSpec
from hdnet.synthetic.version import fingerprint

logger = logging.getLogger(__name__)

_WORK = ".work-"


@dataclass(frozen=True)
class SynthesisCounts:
    """Numbers of what was written."""

    stills: int
    sequences: int
    frames: int


@dataclass(frozen=True)
class Engine:
    """Functions of (spec, number) that make the pictures, at module level so that workers find them.

    Attributes:
        person: Makes all labelled pictures of one person.
        sequence: Makes all frames of one sequence.
        prepare: Called once before the first task; raises if a package or file is missing.
    """

    person: Callable[[SyntheticSpec, int], list[PersonPicture]] = make_person
    sequence: Callable[[SyntheticSpec, int], list[UnlabelledFrame]] = make_sequence
    prepare: Callable[[], object] = body_model


@dataclass(frozen=True)
class _Task:
    """Unit of work.

    Attributes:
        kind: Folder that its pictures go to.
        index: Number of the person or of the sequence.
        pictures: Number of pictures that it makes.
    """

    kind: str
    index: int
    pictures: int

    @property
    def name(self) -> str:
        return f"{'person' if self.kind == TANG else 'sequence'}-{self.index:06d}"


def synthesize(
    out: Path,
    spec: SyntheticSpec,
    jobs: int = 1,
    progress: Progress | None = None,
    engine: Engine = Engine(),
) -> SynthesisCounts:
    """Write ``out/Tang_data``, text or a packed folder, and ``out/tiktok_data``, complete or not at all.

    Finished tasks of an interrupted run stay in ``.NAME.partial`` beside ``out``. The next call with the same spec and
    the same generator continues from them, another call starts afresh; the bytes are the same either way.

    Args:
        out: The data root; the result of an earlier run is replaced.
        spec: Specification; a kind with a count of 0 gets no folder.
        jobs: Processes, of one thread each; ignored on a cluster (:func:`hdnet.data.parallel.using_backend`).
        progress: Called with (done, total) pictures at the start, after each person and after each sequence.
        engine: Functions that make the pictures.

    Raises:
        DataError: ``out`` holds other things than data folders or cannot be written, the disk lacks room, another
            process writes there, or a sample cannot be made.
    """
    out = Path(out)
    if jobs < 1:
        raise DataError(f"jobs is {jobs}; expected 1 or more processes")
    _check_replaceable(out)
    tasks = _tasks(spec)
    with resumable_folder(out) as (root, notes):
        notes = _records_of_run(root, notes, fingerprint(spec))
        finished = {task for task in tasks if _is_finished(root, notes, task, spec)}
        _announce(out, spec, tasks, finished, jobs)
        for kind in {task.kind for task in tasks}:
            (root / kind).mkdir(exist_ok=True)
        _make(_Folders(root, notes, root / f"{_WORK}{uuid4().hex}"), spec, tasks, finished, jobs, progress, engine)
        _write_meta(root, notes, tasks, spec)
    return SynthesisCounts(spec.stills, spec.sequences, spec.sequences * spec.frames_per_sequence)


def _tasks(spec: SyntheticSpec) -> list[_Task]:
    """List the tasks, sequences first: they take longest, and no process should wait for the last one alone."""
    tasks = [_Task(TIKTOK, index, spec.frames_per_sequence) for index in range(spec.sequences)]
    return tasks + [_Task(TANG, index, spec.pictures_per_person) for index in range(spec.people)]


@dataclass(frozen=True)
class _Folders:
    """Folders of a run.

    Attributes:
        root: The unfinished result.
        notes: Records, one JSON file for each finished task.
        work: Unfinished tasks of this run alone: workers that outlive a killed run cannot disturb the next.
    """

    root: Path
    notes: Path
    work: Path


def _records_of_run(root: Path, notes: Path, key: str) -> Path:
    """Return the folder of this run's records and remove the remains of any other run."""
    mine = notes / key
    others = [entry.name for entry in root.iterdir() if entry != notes] if not mine.is_dir() else []
    if others:
        logger.info("an unfinished run of another specification or generator lies in %s: starting afresh", root)
        for name in others:
            shutil.rmtree(root / name)
    if not mine.is_dir():
        shutil.rmtree(notes)
        mine.mkdir(parents=True)
    for stale in root.glob(f"{_WORK}*"):
        shutil.rmtree(stale)
    return mine


def _is_finished(root: Path, notes: Path, task: _Task, spec: SyntheticSpec) -> bool:
    """Return whether a task is recorded and its files have the recorded sizes (a power cut may lose contents)."""
    shard = root / TANG / shard_file(task.index // people_per_shard(spec.pictures_per_person))
    # Once a shard is on the disk, the files that it was joined from are gone.
    if _is_packed(task, spec) and shard.is_file():
        return True
    try:
        sizes = read_json_object(notes / f"{task.name}.json")["files"]
        return all((root / task.kind / name).stat().st_size == size for name, size in sizes.items())
    except (DataError, OSError, KeyError, AttributeError):
        return False


def _is_packed(task: _Task, spec: SyntheticSpec) -> bool:
    return task.kind == TANG and spec.format == "packed"


def _announce(out: Path, spec: SyntheticSpec, tasks: list[_Task], finished: set[_Task], jobs: int) -> None:
    """Log the work left and its cost; refuse if the disk has too little room."""
    open_tasks = [task for task in tasks if task not in finished]
    stills, frames = (sum(task.pictures for task in open_tasks if task.kind == kind) for kind in (TANG, TIKTOK))
    if finished:
        done, total = (sum(task.pictures for task in some) for some in (finished, tasks))
        logger.info("%s: going on, %d of %d pictures are finished", out, done, total)
    needed = cost(stills, frames, min(jobs, max(len(open_tasks), 1)), spec)
    check_room(out, needed.disk_bytes)
    logger.info("%s: %d stills and %d frames to make, %s", out, stills, frames, needed)


def _make(
    folders: _Folders,
    spec: SyntheticSpec,
    tasks: list[_Task],
    finished: set[_Task],
    jobs: int,
    progress: Progress | None,
    engine: Engine,
) -> None:
    total, done = sum(task.pictures for task in tasks), sum(task.pictures for task in finished)
    open_tasks = [task for task in tasks if task not in finished]
    if progress is not None:
        progress(done, total)
    if not open_tasks:
        return
    # Before any worker starts, so that caches are built once.
    engine.prepare()
    check_surroundings(spec.environments, spec.photographs)
    folders.work.mkdir()
    try:
        work = partial(_make_task, folders, spec, engine)
        for pictures in ordered_map(work, open_tasks, jobs, progress=False, label="", inner_threads=1):
            done += pictures
            if progress is not None:
                progress(done, total)
    finally:
        shutil.rmtree(folders.work, ignore_errors=True)


def _make_task(folders: _Folders, spec: SyntheticSpec, engine: Engine, task: _Task) -> int:
    """Make, write and record one task; return its number of pictures."""
    folder = folders.work / task.name
    folder.mkdir()
    with making(task.name, spec):
        note = (
            _make_person(folder, spec, engine, task) if task.kind == TANG else _make_frames(folder, spec, engine, task)
        )
    made = len(note["cameras"])
    if made != task.pictures:
        raise DataError(f"synthetic {task.name} has {made} pictures; expected {task.pictures}")
    note["files"] = _move_files(folder, folders.root / task.kind)
    write_json(folders.notes / f"{task.name}.json", note)
    return task.pictures


def _make_person(folder: Path, spec: SyntheticSpec, engine: Engine, task: _Task) -> dict[str, Any]:
    pictures = engine.person(spec, task.index)
    note: dict[str, Any] = {"cameras": {one.sample.name: one.sample.camera.to_dict() for one in pictures}}
    if _is_packed(task, spec):
        return {**note, "piece": Piece.written(folder / f"{task.name}.bin", pictures).to_dict()}
    for picture in pictures:
        TangFolder(folder).write(picture.sample)
    return note


def _make_frames(folder: Path, spec: SyntheticSpec, engine: Engine, task: _Task) -> dict[str, Any]:
    frames = engine.sequence(spec, task.index)
    for frame in frames:
        TikTokFolder(folder).write(frame)
    return {"sequence": frames[0].sequence, "cameras": {frame.name: frame.camera.to_dict() for frame in frames}}


def _move_files(source: Path, target: Path) -> dict[str, int]:
    """Move files and return their sizes in bytes by name relative to the folder."""
    sizes = {}
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        name = file.relative_to(source)
        (target / name).parent.mkdir(exist_ok=True)
        sizes[name.as_posix()] = file.stat().st_size
        file.replace(target / name)
    shutil.rmtree(source)
    return sizes


def _write_meta(root: Path, notes: Path, tasks: list[_Task], spec: SyntheticSpec) -> None:
    cameras: dict[str, dict[str, Camera]] = {TANG: {}, TIKTOK: {}}
    sequences: dict[str, list[str]] = {}
    pieces: list[Piece] = []
    for task in tasks:
        note = read_json_object(notes / f"{task.name}.json")
        if _is_packed(task, spec):
            pieces.append(Piece.from_dict(root / TANG / f"{task.name}.bin", note["piece"]))
            continue
        cameras[task.kind] |= {name: Camera.from_dict(values) for name, values in note["cameras"].items()}
        if task.kind == TIKTOK:
            sequences[note["sequence"]] = list(note["cameras"])
    if pieces:
        join_pieces(root / TANG, notes, pieces, people_per_shard(spec.pictures_per_person))
    if cameras[TANG]:
        TangFolder(root / TANG).write_meta(cameras[TANG])
    if sequences:
        TikTokFolder(root / TIKTOK).write_meta(cameras[TIKTOK], sequences)


def _check_replaceable(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out}: is a file; expected a folder to write {TANG} and {TIKTOK} into")
    foreign = sorted(entry.name for entry in out.iterdir() if entry.name not in (TANG, TIKTOK))
    if foreign:
        raise DataError(f"{out}: holds {foreign[0]!r}, which this would delete; choose a new or empty folder")
