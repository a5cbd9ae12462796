"""Where raw data comes from: made here, or the user's own in the real layout."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from tqdm import tqdm

from hdnet.data.files import atomic_folder
from hdnet.data.layout import TangFolder
from hdnet.data.synthetic import Progress, SyntheticSpec, contact_sheet, synthesize
from hdnet.errors import DataError
from hdnet.params import DataParams

TANG, TIKTOK, HELDOUT = "Tang_data", "tiktok_data", "heldout/Tang_data"

# Far from every training seed that a user is likely to try next, so that no held-out person is a training person.
_HELDOUT_SEED_OFFSET = 1_000_003
_SHEET_ROWS = 8


def acquire_synthetic(out: Path, data: DataParams, seed: int, jobs: int) -> np.ndarray:
    """Makes labelled people, unlabelled sequences and held-out people.

    Args:
        out: Gets ``Tang_data``, ``tiktok_data`` and ``heldout/Tang_data``; appears only when complete.
        data: How many, and which cameras.
        seed: Everything follows from it.
        jobs: Processes.

    Returns:
        A contact sheet, (H, W, 3) uint8.
    """
    with atomic_folder(out, marker=TANG) as temporary:
        spec = SyntheticSpec(
            people=data.people,
            sequences=data.sequences,
            frames_per_sequence=data.frames_per_sequence,
            seed=seed,
            focal_px=data.focal_px,
            camera=data.camera,
        )
        with progress_bar("acquire", spec.people + spec.sequences) as progress:
            synthesize(temporary / "train", spec, jobs, progress)
        heldout = SyntheticSpec(
            people=data.heldout_people,
            sequences=0,
            frames_per_sequence=data.frames_per_sequence,
            seed=seed + _HELDOUT_SEED_OFFSET,
            focal_px=data.focal_px,
            camera=data.camera,
        )
        with progress_bar("acquire heldout", heldout.people) as progress:
            synthesize(temporary / "heldout", heldout, jobs, progress)
        for name in (TANG, TIKTOK):
            (temporary / "train" / name).rename(temporary / name)
        shutil.rmtree(temporary / "train")
    return raw_contact_sheet(out)


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Progress]:
    """A bar with the time left, driven by (done, total) calls."""
    with tqdm(total=total, desc=label, mininterval=0.5) as bar:

        def advance(done: int, _: int) -> None:
            bar.update(done - bar.n)

        yield advance


def acquire_folder(out: Path, source: Path | None) -> np.ndarray:
    """Copies data that is already in the real layout.

    Args:
        out: Gets the copy; appears only when complete.
        source: Folder with ``Tang_data``, ``tiktok_data`` and ``heldout/Tang_data``.

    Returns:
        A contact sheet, (H, W, 3) uint8.

    Raises:
        DataError: If the folder is not given or lacks one of the three.
    """
    if source is None:
        raise DataError("data.source is 'folder' but data.folder is empty; set it to the folder that holds Tang_data")
    for name in (TANG, TIKTOK, HELDOUT):
        if not (source / name).is_dir():
            raise DataError(f"{source}: has no {name}/; expected {TANG}/, {TIKTOK}/ and {HELDOUT}/ in it")
    with atomic_folder(out, marker=TANG) as temporary:
        for name in (TANG, TIKTOK, HELDOUT):
            shutil.copytree(source / name, temporary / name)
    return raw_contact_sheet(out)


def raw_contact_sheet(raw: Path) -> np.ndarray:
    """Pictures, IUV, depth and normals of the first labelled people in a raw folder."""
    folder = TangFolder(raw / TANG)
    return np.asarray(contact_sheet([folder.read(name) for name in folder.names()[:_SHEET_ROWS]]))
