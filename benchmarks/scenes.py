"""Measures the making of training pictures of `lite` on the processor: ms a picture by size, and where they go.

    python benchmarks/scenes.py data/packed/labelled

One Markdown table. Times are processor time, the median of --steps, as other programs on the machine disturb that less
than wall time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hdnet.data.store.batches import prepare
from hdnet.data.store.datasets import LabelledDataset, collate
from hdnet.data.store.packed import open_people
from hdnet.errors import run_command
from hdnet.params import AugmentParams, PhotoParams, TuneParams
from hdnet.training import scenes
from hdnet.training.augment import Draw
from hdnet.training.backgrounds import Backgrounds
from hdnet.training.scene_effects import SceneEffects
from hdnet.training.scenes import SceneAugmenter

Seconds = dict[str, float]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packed", type=Path, help="packed labelled people, with scenes")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 192, 256], help="pixels of the square pictures")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    run_command(lambda: print_table(arguments))


def print_table(arguments: argparse.Namespace) -> None:
    """Rows: the whole, and its parts."""
    torch.set_num_threads(1)
    people = LabelledDataset(open_people(arguments.packed), scenes=True)
    columns = [measured(people, size, arguments) for size in arguments.sizes]
    print("| ms a picture | " + " | ".join(f"{size} px" for size in arguments.sizes) + " |")
    print("|---|" + "---:|" * len(columns))
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(f"{column[name]:.1f}" for column in columns) + " |")


def measured(people: LabelledDataset, size: int, arguments: argparse.Namespace) -> Seconds:
    """Milliseconds a picture by part, the median over the steps."""
    augmenter = SceneAugmenter(PhotoParams(), strong())
    parts: dict[str, list[float]] = {}
    spent: Seconds = {}
    timed = {
        "labels in the crop's frame": (scenes, "labels_of"),
        "picture in the crop": (scenes, "pictures_of"),
        "backgrounds": (Backgrounds, "of_kinds"),
        "colours, blur, noise, compression": (SceneEffects, "photographed"),
        "hints": (SceneEffects, "hints"),
    }
    plain = [(where, name, getattr(where, name)) for where, name in timed.values()]
    for label, (where, name) in timed.items():
        setattr(where, name, clocked(label, getattr(where, name), spent))
    try:
        for step in range(arguments.steps + 1):
            spent.clear()
            first = step * arguments.batch
            read, make = clocked("reading", batch_of, spent), clocked("augmentation", augmenter, spent)
            with torch.no_grad():
                make(read(people, range(first, first + arguments.batch)), Draw(0, step, {"labelled": 0}), size)
            if step:  # the first one warms up
                for label, seconds in spent.items():
                    parts.setdefault(label, []).append(seconds * 1e3 / arguments.batch)
    finally:
        for where, name, function in plain:
            setattr(where, name, function)
    order = ("reading", "augmentation", *timed)
    # A step without a background has none to measure.
    padded = {label: parts.get(label, []) + [0.0] * (arguments.steps - len(parts.get(label, []))) for label in order}
    return {label if label in order[:2] else f"- {label}": float(np.median(padded[label])) for label in order}


def clocked(label: str, function: Callable[..., Any], spent: Seconds) -> Callable[..., Any]:
    """The function, whose processor time is added to ``spent``."""

    def call(*arguments: Any) -> Any:
        begin = time.thread_time()
        result = function(*arguments)
        spent[label] = spent.get(label, 0.0) + time.thread_time() - begin
        return result

    return call


def batch_of(people: LabelledDataset, places: range) -> dict[str, Any]:
    """Samples from the packed folder, prepared."""
    return prepare(collate([people[place % len(people)] for place in places]))


def strong() -> AugmentParams:
    """Every variation, as strong as the search of parameters tries it."""
    return TuneParams().augment_full


if __name__ == "__main__":
    main()
