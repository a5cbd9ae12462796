"""Labelled people that are kept from training, for evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hdnet.data.importing.parts import HELDOUT, TANG
from hdnet.data.layout.folders import TangFolder
from hdnet.errors import DataError
from hdnet.geometry import Camera

_DEFAULT_SHARE = 0.1


def choose_heldout(people: Sequence[str], count: int | None, seed: int) -> list[str]:
    """People to hold out: the first ones of a seeded permutation.

    Args:
        people: All people, in a fixed order.
        count: How many; None takes a tenth, at least one.
        seed: Of the permutation.

    Raises:
        DataError: Nobody would be left to train on.
    """
    wanted = max(1, round(_DEFAULT_SHARE * len(people))) if count is None else count
    if not 0 <= wanted < len(people):
        raise DataError(
            f"--heldout {wanted} of {len(people)} labelled people: expected 0 to {len(people) - 1}, so that somebody "
            "is left to train on; --heldout 0 holds out nobody"
        )
    order = np.random.default_rng(seed).permutation(len(people))
    return sorted(people[k] for k in order[:wanted])


def split_labelled(
    raw: Path, cameras: Mapping[str, Camera], people: Mapping[str, Sequence[str]], count: int | None, seed: int
) -> dict[str, Any]:
    """Moves the samples of held-out people from ``Tang_data`` to ``heldout/Tang_data`` and writes both ``hdnet.json``.

    Can be called again after it was interrupted.

    Args:
        raw: The raw folder, all samples in ``Tang_data``.
        cameras: Camera of every sample, by name.
        people: Names of the samples of every person.
        count: People to hold out; see :func:`choose_heldout`.
        seed: Of the choice.

    Returns:
        Lines for the report.

    Raises:
        DataError: Nobody would be left to train on.
    """
    if not cameras:
        return {"labelled samples": "none taken"}
    chosen = choose_heldout(list(people), count, seed)
    held = {name for person in chosen for name in people[person]}
    for kind in (raw / TANG).iterdir():
        for file in kind.iterdir() if kind.is_dir() and held else ():
            if file.stem.split("_")[0] in held:
                target = raw / HELDOUT / TANG / kind.name / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                file.rename(target)
    TangFolder(raw / TANG).write_meta({name: camera for name, camera in cameras.items() if name not in held})
    if held:
        TangFolder(raw / HELDOUT / TANG).write_meta({name: cameras[name] for name in sorted(held)})
    return {"labelled samples": f"{len(cameras) - len(held)} to train on", "held-out people": chosen or "none"}
