"""Measures the reading of training data: parsed text against packed records. Prints Markdown tables.

    python benchmarks/packing.py              # samples per second; a minute, and 1 GB below --scratch
    python benchmarks/packing.py --memory     # memory, time and disk from 1,000 to 20,000 frames; minutes, and 10 GB

Samples and frames are those of --data, repeated under new names as often as needed, as a folder of links.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.store.batches import prepare
from hdnet.data.store.datasets import Item, LabelledDataset, StepSampler, collate, stored_item
from hdnet.data.store.packed import PackedFrames, PackedLabelled, pack_tang, pack_tiktok
from hdnet.errors import run_command
from hdnet.training.devices import keep_freed_memory
from hdnet.workspace import Workspace

FULL_DATASET = 100_000
SAMPLES = 600
BATCH = 16
# Bytes a frame of 256 x 256 takes besides its pictures: its predicted normals, three int16.
NORMAL_BYTES = 256 * 256 * 3 * 2


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Workspace().raw, help="folder with Tang_data and tiktok_data")
    parser.add_argument("--memory", action="store_true", help="memory, time and disk instead of samples per second")
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 20_000], help="sizes for --memory")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that pack, for --memory")
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each speed")
    parser.add_argument("--scratch", type=Path, help="where the folders are made (default: the system's)")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        work, source, out = arguments.one
        print(json.dumps(CHILDREN[work](Path(source), Path(out), arguments.jobs)))
        return
    torch.set_num_threads(1)
    run_command(lambda: print_memory(arguments) if arguments.memory else print_speed(arguments))


# Samples per second.


def print_speed(arguments: argparse.Namespace) -> None:
    """Speed of all ways to read the same samples, in one process and one thread unless stated."""
    with scratch(arguments.scratch) as folder:
        tang = TangFolder(arguments.data / "Tang_data")
        names = tang.names()
        links = linked(tang.root, names, SAMPLES, folder / "Tang_data")
        started = time.perf_counter()
        pack_tang(links, folder / "packed")
        packing_s = time.perf_counter() - started
        packed = PackedLabelled(folder / "packed")
        keep_freed_memory()  # as every training on a processor
        original = rate((parse_as_the_original(tang, name) for name in cycle(names)), arguments.seconds)
        rows = [("text as the original at every step (np.genfromtxt, PNG)", original)]
        rows.append(
            (
                "text by our reader (np.loadtxt on split lines, PNG)",
                rate(map(tang.read, cycle(names)), arguments.seconds),
            )
        )
        rows.append(("packing: the same, written once", len(packed) / packing_s))
        rows += [(name, packed_rate(packed, workers, arguments.seconds)) for name, workers in (
            ("packed: DataLoader, collate, prepare", 0),
            ("the same, 1 worker beside", 1),
            ("the same, 2 workers beside", 2),
        )]  # fmt: skip
        dataset = LabelledDataset(packed)
        rows.append(
            ("packed: item alone (views, nothing read)", rate(map(dataset.__getitem__, cycle(range(SAMPLES))), 2.0))
        )
        print(f"{len(names)} labelled samples of 256 x 256, repeated to {SAMPLES}, batches of {BATCH}\n")
        print("| way to read | samples/s | against the original's |\n|---|---:|---:|")
        for name, found in rows:
            print(f"| {name} | {found:,.1f} | {found / original:,.1f} |")


def parse_as_the_original(tang: TangFolder, name: str) -> list[np.ndarray]:
    """Reading of one sample in a training step of the original."""
    texts = [tang.depth_file(name), *tang.normal_files(name)]
    pictures = [tang.png(kind, name) for kind in ("color_WO_bg", "densepose", "mask")]
    return [np.genfromtxt(file, delimiter=",") for file in texts] + [np.array(Image.open(file)) for file in pictures]


def packed_rate(packed: PackedLabelled, workers: int, seconds: float) -> float:
    """Samples per second of the loader, prepared for the networks."""
    sampler = StepSampler(len(packed), BATCH, seed=0, start_step=0, steps=10**9)
    loader = DataLoader(LabelledDataset(packed), batch_sampler=sampler, collate_fn=collate, num_workers=workers)
    batches = iter(loader)
    for _ in range(SAMPLES // BATCH):  # workers start, and the system caches the pages, as in a second epoch
        prepare(next(batches))
    return BATCH * rate(map(prepare, batches), seconds)


def rate(results: Iterator[object], seconds: float) -> float:
    """Results per second."""
    started, count = time.perf_counter(), 0
    while time.perf_counter() < started + seconds:
        next(results)
        count += 1
    return count / (time.perf_counter() - started)


# Memory, time and disk.


def print_memory(arguments: argparse.Namespace) -> None:
    """Packs and reads folders of several sizes, each in a process of its own."""
    frames = TikTokFolder(arguments.data / "tiktok_data")
    print(f"{len(frames.names())} frames of 256 x 256, repeated; {arguments.jobs} processes pack, one reads\n")
    print("| frames | packing MB | its workers MB | ms a frame | disk GB | reading MB | frames/s | verify s |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for count in arguments.frames:
        with scratch(arguments.scratch) as folder:
            source = linked(frames.root, frames.names(), count, folder / "tiktok_data")
            jobs = ["--jobs", str(arguments.jobs)]
            packing = child("pack", source, folder / "packed", *jobs)
            reading = child("read", folder / "packed", folder, *jobs)
            disk_gb = sum(file.stat().st_size for file in (folder / "packed").iterdir()) / 1e9
        ms, per_s = 1e3 * packing["seconds"] / count, reading["records"] / reading["seconds"]
        print(
            f"| {count:,} | {packing['own_mb']:.0f} | {packing['children_mb']:.0f} | {ms:.2f} | {disk_gb:.2f} "
            f"| {reading['own_mb']:.0f} | {per_s:,.0f} | {reading['verify_s']:.1f} |"
        )
    minutes, pictures_gb = ms * FULL_DATASET / 6e4, disk_gb / count * FULL_DATASET
    normals_gb = NORMAL_BYTES * FULL_DATASET / 1e9
    print(
        f"\n{FULL_DATASET:,} frames at the last rate: {minutes:.0f} min to pack with {arguments.jobs} processes, "
        f"{pictures_gb:.1f} GB on disk, and {normals_gb:.1f} GB for their predicted normals"
    )


def child(*command: object) -> dict[str, float]:
    """Measurements of a new process."""
    work, source, out, *more = map(str, command)
    call = [sys.executable, __file__, "--one", work, source, out, *more]
    done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def pack_child(source: Path, out: Path, jobs: int) -> dict[str, float]:
    """Pack a folder and measure time and memory."""
    started = time.perf_counter()
    pack_tiktok(source, out, jobs=jobs)
    return {"seconds": time.perf_counter() - started, **peak_mb()}


def read_child(source: Path, out: Path, jobs: int) -> dict[str, float]:  # noqa: ARG001 - called alike
    """Read every frame once in random order, then compare all checksums; measure time and memory."""
    packed = PackedFrames(source)
    steps = len(packed) // BATCH
    sampler = StepSampler(len(packed), BATCH, seed=0, start_step=0, steps=steps)
    started = time.perf_counter()
    for batch in DataLoader(_Frames(packed), batch_sampler=sampler, collate_fn=collate):
        prepare(batch)
    measured = {"seconds": time.perf_counter() - started, "records": steps * BATCH, **peak_mb()}
    started = time.perf_counter()
    packed.verify()
    return {**measured, "verify_s": time.perf_counter() - started}


CHILDREN = {"pack": pack_child, "read": read_child}


class _Frames(torch.utils.data.Dataset[Item]):
    def __init__(self, packed: PackedFrames) -> None:
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, k: int) -> Item:
        return stored_item(self.packed, k)


def peak_mb() -> dict[str, float]:
    """Peak resident memory of this process, mapped files included, and of its largest child."""
    # Workers of the pool count once they have ended.
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    kinds = {"own_mb": resource.RUSAGE_SELF, "children_mb": resource.RUSAGE_CHILDREN}
    return {name: resource.getrusage(who).ru_maxrss / 1024 for name, who in kinds.items()}


def linked(root: Path, names: list[str], count: int, out: Path) -> Path:
    """A folder of ``count`` samples: links to the files of a few."""
    for kind in (folder for folder in root.iterdir() if folder.is_dir() and folder.name != "correspondences"):
        (out / kind.name).mkdir(parents=True)
        for k, name in enumerate(islice(cycle(names), count)):
            for file in (kind / f"{name}{end}" for end in (".png", ".txt", "_1.txt", "_2.txt", "_3.txt")):
                if file.exists():
                    (out / kind.name / file.name.replace(name, f"{k:07d}", 1)).symlink_to(file.resolve())
    return out


@contextmanager
def scratch(parent: Path | None) -> Iterator[Path]:
    """A temporary folder."""
    with tempfile.TemporaryDirectory(prefix="packing-", dir=parent) as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
