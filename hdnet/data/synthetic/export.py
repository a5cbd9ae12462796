"""Writing synthetic people as the Tang and TikTok folders that training reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hdnet.data.files import atomic_folder
from hdnet.data.layout import TangFolder, TikTokFolder
from hdnet.data.synthetic.generate import Progress, SyntheticSpec, in_order, make_sequence, make_still
from hdnet.errors import DataError
from hdnet.geometry import Camera

TANG, TIKTOK = "Tang_data", "tiktok_data"


@dataclass(frozen=True)
class SynthesisCounts:
    """What was written."""

    stills: int
    sequences: int
    frames: int


def synthesize(out: Path, spec: SyntheticSpec, jobs: int = 1, progress: Progress | None = None) -> SynthesisCounts:
    """Write ``out/Tang_data`` and ``out/tiktok_data``, complete or not at all.

    Args:
        out: The data root; what an earlier run wrote there is replaced.
        spec: What to generate; a kind with a count of 0 gets no folder.
        jobs: Processes.
        progress: Called with (done, total) after each still or sequence.

    Raises:
        DataError: ``out`` holds other things than data folders, cannot be written, or a sample cannot be
            made.
    """
    out = Path(out)
    _check_replaceable(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    # Sequences first: they are the long tasks, and no process waits for the last one alone.
    tasks = [(spec, index) for index in range(spec.sequences + spec.people)]
    cameras: dict[str, dict[str, Camera]] = {TANG: {}, TIKTOK: {}}
    sequences: dict[str, list[str]] = {}
    with atomic_folder(out) as root:
        for sequence, names, camera in in_order(partial(_write, root), tasks, jobs, progress):
            cameras[TIKTOK if sequence else TANG] |= dict.fromkeys(names, camera)
            if sequence:
                sequences[sequence] = names
        if spec.people:
            TangFolder(root / TANG).write_meta(cameras[TANG])
        if spec.sequences:
            TikTokFolder(root / TIKTOK).write_meta(cameras[TIKTOK], sequences)
    return SynthesisCounts(spec.people, spec.sequences, spec.sequences * spec.frames_per_sequence)


def _write(root: Path, spec: SyntheticSpec, task: int) -> tuple[str, list[str], Camera]:
    """Make and write a sequence or, beyond those, a still: its sequence ("" for a still), names, camera."""
    if task < spec.sequences:
        frames = make_sequence(spec, task)
        for frame in frames:
            TikTokFolder(root / TIKTOK).write(frame)
        return frames[0].sequence, [frame.name for frame in frames], frames[0].camera
    sample = make_still(spec, task - spec.sequences)
    TangFolder(root / TANG).write(sample)
    return "", [sample.name], sample.camera


def _check_replaceable(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out}: is a file; expected a folder to write {TANG} and {TIKTOK} into")
    foreign = sorted(entry.name for entry in out.iterdir() if entry.name not in (TANG, TIKTOK))
    if foreign:
        raise DataError(f"{out}: holds {foreign[0]!r}, which this would delete; choose a new or empty folder")
