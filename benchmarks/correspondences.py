"""Measures matching: speed, memory and accuracy. Prints Markdown tables.

    python benchmarks/correspondences.py                      # everything; minutes, and 5 GB below --scratch
    python benchmarks/correspondences.py speed memory --frames 1000 2000
    python benchmarks/correspondences.py accuracy turn   # against dancers with known points of the body; needs anny

"speed" and "memory" repeat the frames of --data as often as needed, as a folder of links.
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
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from hdnet import losses
from hdnet.data.correspondence.body_turn import torso_turn_deg
from hdnet.data.correspondence.frames import match_folder
from hdnet.data.correspondence.matching import FrameIndex, match_indexed
from hdnet.data.layout.folders import TikTokFolder
from hdnet.data.layout.meta import write_meta
from hdnet.errors import run_command
from hdnet.params import CorrespondParams
from hdnet.workspace import Workspace

if TYPE_CHECKING:
    from hdnet.synthetic.exact import ExactFrame

FULL_DATASET = 100_000
RULES = {
    "author's": CorrespondParams(),
    "mutual": CorrespondParams(mutual=True),
    "max_residual_px 4": CorrespondParams(max_residual_px=4.0),
    "both": CorrespondParams(mutual=True, max_residual_px=4.0),
}
CASES = (
    ("author's rule", RULES["author's"]),
    ("mutual, max_residual_px 4", RULES["both"]),
    ("author's rule, text files too", CorrespondParams(text_files=True)),
)
TURNS_DEG = ((0, 10), (10, 20), (20, 30), (30, 45), (45, 60), (60, 90))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["speed", "memory", "accuracy", "turn"])
    parser.add_argument("--data", type=Path, default=Workspace().raw_frames, help="tiktok_data folder")
    parser.add_argument("--frames", type=int, nargs="+", default=[1000, 20_000], help="sizes for memory")
    parser.add_argument("--dancers", type=int, default=12, help="people for accuracy and turn")
    parser.add_argument("--scratch", type=Path, help="where the folders are made (default: the system's)")
    parser.add_argument("--one", type=Path, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    run_command(lambda: match_one(*arguments.one) if arguments.one else measure(arguments))


def measure(arguments: argparse.Namespace) -> None:
    """Measure the requested parts."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        if "speed" in arguments.parts:
            speed(arguments.data, Path(scratch))
        if "memory" in arguments.parts:
            memory(arguments.data, Path(scratch), arguments.frames)
    if {"accuracy", "turn"} & set(arguments.parts):
        dancers = turning_dancers(arguments.dancers, 16)
        if "accuracy" in arguments.parts:
            accuracy(dancers)
        if "turn" in arguments.parts:
            turn(dancers)


def repeated(data: Path, out: Path, count: int) -> TikTokFolder:
    """A folder of ``count`` frames in sequences as long as those of the data, all links to its pictures."""
    source, target = TikTokFolder(data), TikTokFolder(out)
    for kind in ("densepose", "mask", "color_WO_bg"):
        target.png(kind, "0").parent.mkdir(parents=True)
    sequences: dict[str, list[str]] = {}
    members = [(sequence, name) for sequence, names in source.sequences().items() for name in names]
    for k in range(count):
        sequence, name = members[k % len(members)]
        sequences.setdefault(f"{sequence}-{k // len(members)}", []).append(f"{k:07d}")
        for kind in ("densepose", "mask", "color_WO_bg"):
            target.png(kind, f"{k:07d}").symlink_to(source.png(kind, name).resolve())
    write_meta(out, {"0000000": source.camera(members[0][1])}, sequences)
    return target


def speed(data: Path, scratch: Path) -> None:
    """Pairs per second, by step and by number of processes."""
    tiktok = TikTokFolder(data)
    names = tiktok.names()
    read_s, pictures = cpu_seconds(lambda: [tiktok.read_iuv_and_mask(name) for name in names])
    masked = [np.where(mask[..., None], iuv, np.uint8(0)) for iuv, mask in pictures]
    print("\n| step, one core | ms |\n|---|---:|")
    print(f"| read the pictures of a frame | {read_s / len(names) * 1e3:.2f} |")
    index_s, frames = cpu_seconds(lambda: [built(iuv) for iuv in masked])
    print(f"| index a frame | {index_s / len(names) * 1e3:.2f} |")
    for name, rule in RULES.items():
        match_s, _ = cpu_seconds(lambda rule=rule: [match_indexed(i, j, rule) for i, j in pairwise(frames)])
        print(f"| match a pair, {name} | {match_s / (len(names) - 1) * 1e3:.2f} |")

    print(
        "\n| 1,024 frames, from pictures to a finished folder | processes | s | pairs/s | pairs/s of one core's time |"
    )
    print("|---|---:|---:|---:|---:|")
    repeated(data, scratch / "speed", 1024)
    for name, rule in CASES:
        for jobs in (1, 2):
            out, begin, cpu = scratch / "out", time.perf_counter(), time.process_time()
            report = match_folder(TikTokFolder(scratch / "speed"), out, rule, jobs)
            wall_s, cpu_s = time.perf_counter() - begin, time.process_time() - cpu
            rate = report["pairs_tried"] / wall_s
            core = f"{report['pairs_tried'] / cpu_s:.0f}" if jobs == 1 else ""
            print(f"| {name} | {jobs} | {wall_s:.1f} | {rate:.0f} | {core} |", flush=True)
            sizes = disk_bytes(out)
    print(f"\nLoad of the machine meanwhile: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.")
    pairs = report["pairs_accepted"]
    print(f"\n| {FULL_DATASET:,} frames, {4 * FULL_DATASET:,} pairs | packed | text files besides |\n|---|---:|---:|")
    packed, text = sizes
    scale = 4 * FULL_DATASET / pairs
    print(f"| bytes | {packed[0] * scale / 1e9:.1f} GB | {text[0] * scale / 1e9:.1f} GB |")
    print(f"| on a disk of 4 KiB blocks | {packed[1] * scale / 1e9:.1f} GB | {text[1] * scale / 1e9:.1f} GB |")
    print(f"| files | {np.ceil(FULL_DATASET / 256) + 5:.0f} | {8 * FULL_DATASET + 1:,} |")


def built(iuv: np.ndarray) -> FrameIndex:
    """An index with its tree."""
    frame = FrameIndex(iuv)
    frame.nearest(frame.points[:1], 7.0)
    return frame


def disk_bytes(folder: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """(bytes, bytes of the blocks) of the packed files, and of the text files."""
    totals = []
    for ending in ((".npy", ".json"), (".txt",)):
        sizes = [file.stat().st_size for file in folder.rglob("*") if file.suffix in ending]
        totals.append((sum(sizes), sum(-(-size // 4096) * 4096 for size in sizes)))
    return totals[0], totals[1]


def memory(data: Path, scratch: Path, counts: Iterable[int]) -> None:
    """Largest memory of a process that matches so many frames."""
    print("\n| frames | pairs | s | peak memory, MB |\n|---:|---:|---:|---:|")
    for count in counts:
        folder = scratch / f"memory-{count}"
        repeated(data, folder, count)
        command = [sys.executable, __file__, "--one", str(folder), str(scratch / "out")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout)
        print(f"| {count:,} | {found['pairs']:,} | {found['s']:.0f} | {found['peak_mb']:.0f} |", flush=True)


def match_one(folder: Path, out: Path) -> None:
    """Match a folder in this process and print time and memory."""
    begin = time.perf_counter()
    report = match_folder(TikTokFolder(folder), out)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"pairs": report["pairs_tried"], "s": time.perf_counter() - begin, "peak_mb": peak_mb}))


def accuracy(dancers: list) -> None:
    """Errors of matches against the true points of the body, with exact and with damaged DensePose."""
    from hdnet.synthetic.exact import match_errors  # optional: anny, embreex

    print(
        "\n| DensePose | turn, degrees | rule | px median | px 95 % | px 99 % | above 3 px | mm median | mm 95 % "
        "| matches |"
    )
    print("|---|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in ("exact", "12 misplaced patches a frame"):
        rng = np.random.default_rng(0)
        shown = [[misplaced(f, rng) for f in one] if name != "exact" else one for one in dancers]
        for low, high in ((0, 15), (15, 30), (30, 60)):
            pairs = [pair for one in shown for pair in drawn_pairs(one, low, high, 6)]
            for rule_name, rule in RULES.items():
                found = [(*pair, match_indexed(*(FrameIndex(f.iuv) for f in pair), rule).rows) for pair in pairs]
                px, mm = (np.concatenate(values) for values in zip(*(match_errors(*one) for one in found), strict=True))
                print(
                    f"| {name} | {low} to {high} | {rule_name} | {np.median(px):.2f} | {np.percentile(px, 95):.2f} | "
                    f"{np.percentile(px, 99):.1f} | {(px > 3).mean():.1%} | {np.median(mm):.1f} | "
                    f"{np.percentile(mm, 95):.1f} | {len(px) / len(pairs):.0f} |"
                )


def turn(dancers: list) -> None:
    """The estimated turn and the overlap against the true turn; the warp loss of the true depth."""
    measured = []
    for one in dancers:
        frames = [FrameIndex(f.iuv) for f in one]
        for i, j in combinations(range(len(one)), 2):
            true = turn_between(one[i], one[j])
            if abs(true) > 90:
                continue
            matches = match_indexed(frames[i], frames[j])
            found = torso_turn_deg(frames[i].torso, frames[j].torso, matches.rows)
            measured.append(
                (true, found, len(matches.rows) / len(frames[i].row), floor_mm(one[i], one[j], matches.rows))
            )
    true, found, overlap, floor = np.array(measured).T
    print(
        "\n| true turn, degrees | pairs | error median | 95 % | unknown | overlap 5 % | median | 95 % "
        "| warp loss of true depth, mm |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for low, high in TURNS_DEG:
        here = (np.abs(true) >= low) & (np.abs(true) < high)
        error, shares = np.abs(found - true)[here], np.percentile(overlap[here], [5, 50, 95])
        print(
            f"| {low} to {high} | {here.sum()} | {np.nanmedian(error):.1f} | {np.nanpercentile(error, 95):.1f} | "
            f"{np.isnan(error).mean():.0%} | {shares[0]:.2f} | {shares[1]:.2f} | {shares[2]:.2f} | "
            f"{floor[here].mean():.1f} |"
        )
    kept, small, turned = np.abs(found) <= 30, np.abs(true) <= 30, np.abs(true)
    print(
        f"\n`max_turn_deg: 30` keeps {kept[small].mean():.1%} of the pairs that turned by up to 30 degrees; of what "
        f"it keeps, {(turned[kept] > 30).mean():.1%} turned by more than 30, "
        f"{(turned[kept] > 40).mean():.1%} by more than 40."
    )


def floor_mm(frame_i: object, frame_j: object, rows: np.ndarray) -> float:
    """Warp loss of the true depth of both frames, at the distance of the training data (median 4 m)."""
    depths = [
        torch.from_numpy(frame.depth_m * 4 / np.median(frame.depth_m[frame.depth_m > 0]))[None, None]
        for frame in (frame_i, frame_j)
    ]
    return losses.warp(*depths, F.pad(torch.from_numpy(rows), (1, 0)), frame_i.camera)[0].item() * 1000


def drawn_pairs(frames: list, low: float, high: float, count: int) -> Iterator[tuple]:
    """Some pairs of a dancer's frames with a turn in that range."""
    pairs = [pair for pair in combinations(frames, 2) if low <= abs(turn_between(*pair)) < high]
    return iter(pairs[:: max(1, len(pairs) // count)][:count])


def turning_dancers(count: int, frames: int) -> list[list[ExactFrame]]:
    """Synthetic dancers with known points of the body, who turn by 5 to 25 degrees from frame to frame."""
    from hdnet.synthetic.exact import dancer  # optional: anny, embreex

    dancers = []
    for seed in range(count):
        rng = np.random.default_rng(seed)
        steps = rng.choice([-1, 1]) * rng.uniform(5, 25, frames)
        dancers.append(dancer(1000 + seed, rng.uniform(-180, 180) + np.cumsum(steps)))
    return dancers


def turn_between(frame_i: ExactFrame, frame_j: ExactFrame) -> float:
    """True turn from i to j, -180..180 degrees."""
    return (frame_j.yaw_deg - frame_i.yaw_deg + 180) % 360 - 180


def misplaced(frame: ExactFrame, rng: np.random.Generator, patches: int = 12, side: int = 10) -> ExactFrame:
    """The same frame with square patches of DensePose copied from other places of the same body part."""
    from hdnet.synthetic.rendering import PICTURE_SIZE as SIZE  # as above

    iuv = frame.iuv.copy()
    rows, columns = np.nonzero(frame.iuv[..., 0])
    for k in rng.choice(len(rows), patches):
        part = frame.iuv[rows[k], columns[k], 0]
        other = rng.choice(np.flatnonzero(frame.iuv[rows, columns, 0] == part))
        y, x = (np.arange(at[k] - side // 2, at[k] + side // 2).clip(0, SIZE - 1) for at in (rows, columns))
        from_y = (y + rows[other] - rows[k]).clip(0, SIZE - 1)
        from_x = (x + columns[other] - columns[k]).clip(0, SIZE - 1)
        here, there = frame.iuv[np.ix_(y, x)], frame.iuv[np.ix_(from_y, from_x)]
        both = (here[..., :1] == part) & (there[..., :1] == part)
        iuv[np.ix_(y, x)] = np.where(both, there, iuv[np.ix_(y, x)])
    return replace(frame, iuv=iuv)


def cpu_seconds(work: object) -> tuple[float, object]:
    """CPU time of a call, and its result."""
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


if __name__ == "__main__":
    main()
