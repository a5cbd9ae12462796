"""Measures the generation of synthetic people: speed, time by stage, memory. Prints Markdown tables.

    python benchmarks/synthesis.py                         # some minutes
    python benchmarks/synthesis.py --jobs 4 --people 400 --sequences 8
    python benchmarks/synthesis.py --preset photo --people 20    # packed, several pictures a person; also their reading
    python benchmarks/synthesis.py --cold                  # also the very first run on a machine, with empty caches

Every row is a process of its own. Speed counts processor time after warm-up (imports, caches, the first person), with
the demo's mix of stills and frames. Time by stage is sampled by a second thread every few milliseconds; numpy, scipy,
Warp and Embree count for their caller. `hdnet data synthesize` estimates time and disk from the figures in
`hdnet/synthetic/cost.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from hdnet.errors import DataError, run_command
from hdnet.params import DataParams

# Stage by module below hdnet, the first that fits; other modules are stages of their own.
STAGES = {
    "clothes": ("synthetic/clothes/",),
    "hair, hats, shoes, jewellery": ("synthetic/accessories/",),
    "poses": ("synthetic/motion/",),
    "rays": ("synthetic/rendering/rays",),
    "body coordinates": ("synthetic/iuv", "synthetic/rendering/imperfect"),
    "camera and furniture": ("synthetic/rendering/view", "synthetic/rendering/furniture", "synthetic/rendering/solids"),
    "backgrounds": ("synthetic/rendering/backgrounds", "synthetic/rendering/rooms", "synthetic/rendering/outdoors"),
    "film": ("synthetic/rendering/film", "synthetic/rendering/textures"),
    "shading": ("synthetic/rendering/", "synthetic/materials"),
    "body": ("synthetic/body", "synthetic/surface", "synthetic/canonical", "synthetic/person", "synthetic/components"),
    "writing": ("data/layout", "files", "synthetic/export"),
}
INTERVAL_S = 0.004
DATA = Path(__file__).parents[1] / "hdnet"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=80, help="labelled people")
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--frames", type=int, default=DataParams().frames_per_sequence, help="frames a sequence")
    parser.add_argument("--jobs", type=int, default=1, help="also with so many processes")
    parser.add_argument("--preset", default="demo", help="look of the pictures: a preset's section data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cold", action="store_true", help="also with empty caches")
    parser.add_argument("--scratch", type=Path, help="where the pictures are written (default: the system's)")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments)))
        return
    run_command(lambda: report(arguments))


def report(arguments: argparse.Namespace) -> None:
    """All tables."""
    with tempfile.TemporaryDirectory(prefix="synthesis-", dir=arguments.scratch) as scratch:
        rows = []
        if arguments.cold:
            empty = {"HDNET_CACHE_DIR": f"{scratch}/cache", "WARP_CACHE_PATH": f"{scratch}/warp"}
            rows.append(("the first run on a machine", child(scratch, people=1, sequences=0, environment=empty)))
        stills = child(scratch, people=arguments.people, sequences=0)
        frames = child(scratch, people=0, sequences=arguments.sequences)
        rows += [(f"stills of {arguments.people} people", stills), (f"{arguments.sequences} sequences", frames)]
    print(
        "| | pictures | warm-up s | pictures/h and core | s a picture | kB on disk a picture | ms to read | peak MB |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, row in rows:
        print(
            f"| {name} | {row['pictures']:.0f} | {row['warm_up_s']:.1f} | {3600 / row['picture_s']:,.0f} "
            f"| {row['picture_s']:.2f} | {row['picture_kb']:.0f} | {row['read_ms']:.2f} | {row['peak_mb']:.0f} |"
        )
    measured = [row for row in (stills, frames) if row["pictures"]]
    total_s = sum(row["pictures"] * row["picture_s"] for row in measured)
    print(f"\n**{3600 * sum(row['pictures'] for row in measured) / total_s:,.0f} pictures an hour and core**\n")
    print_stages(stills["stages"], frames["stages"])
    if arguments.jobs > 1:
        with_processes(arguments)


def print_stages(stills: dict[str, float], frames: dict[str, float]) -> None:
    """Shares of the time by stage."""
    print("| where the time goes | stills | sequences |\n|---|---:|---:|")
    sums = [sum(column.values()) or 1 for column in (stills, frames)]
    for stage in sorted({*stills, *frames}, key=lambda stage: -stills.get(stage, 0) - frames.get(stage, 0)):
        shares = [column.get(stage, 0) / whole for column, whole in zip((stills, frames), sums, strict=True)]
        print(f"| {stage} | {shares[0]:.1%} | {shares[1]:.1%} |")


def with_processes(arguments: argparse.Namespace) -> None:
    """Wall time of all pictures with several processes, their start included."""
    from hdnet.synthetic import synthesize

    with tempfile.TemporaryDirectory(prefix="synthesis-", dir=arguments.scratch) as scratch:
        started = time.perf_counter()
        counts = synthesize(Path(scratch) / "data", spec(arguments), arguments.jobs)
        seconds = time.perf_counter() - started
    pictures = counts.stills + counts.frames
    print(f"\n{arguments.jobs} processes: {pictures} pictures in {seconds:.0f} s, {3600 * pictures / seconds:,.0f}/h")


def child(
    scratch: str, people: int, sequences: int, environment: dict[str, str] | None = None
) -> dict[str, float | dict[str, float]]:
    """Measurements of a new process, which gets this one's other options."""
    own = ["--people", str(people), "--sequences", str(sequences), "--scratch", scratch, "--one"]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], *own],
        check=True, stdout=subprocess.PIPE, text=True, env=os.environ | one_thread | (environment or {}),
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def spec(arguments: argparse.Namespace):
    """The preset's kind of pictures in the requested number."""
    from hdnet.params.overlay import preset_params
    from hdnet.synthetic.raw import synthetic_spec

    look = preset_params(arguments.preset).data.model_copy(update={"frames_per_sequence": arguments.frames})
    return synthetic_spec(look, arguments.people, arguments.sequences, arguments.seed)


def measure(arguments: argparse.Namespace) -> dict[str, float | dict[str, float]]:
    """Generate and write everything in this process; the first person or sequence is warm-up."""
    started = time.perf_counter()
    import torch

    from hdnet.data.layout.folders import TangFolder, TikTokFolder
    from hdnet.data.store.people import PackedPeople, Piece, join_pieces
    from hdnet.synthetic.export import Engine, _tasks

    torch.set_num_threads(1)
    wanted, engine = spec(arguments), Engine()
    engine.prepare()
    tasks = _tasks(wanted)
    if not tasks:
        raise DataError("nothing to make: give --people and --sequences of at least 1")
    folder, notes = (Path(tempfile.mkdtemp(dir=arguments.scratch)) for _ in range(2))
    pieces: list[Piece] = []

    def work(task) -> None:
        if task.kind == "Tang_data":
            pictures = engine.person(wanted, task.index)
            if wanted.format == "packed":
                pieces.append(Piece.written(folder / f"{task.index}.bin", pictures))
                return
            for picture in pictures:
                TangFolder(folder).write(picture.sample)
        else:
            for frame in engine.sequence(wanted, task.index):
                TikTokFolder(folder).write(frame)

    work(tasks[0])
    warm_up_s = time.perf_counter() - started
    timed = tasks[1:] or tasks
    sampler = StageSampler()
    before = time.process_time()
    with sampler:
        for task in timed:
            work(task)
    picture_s = (time.process_time() - before) / sum(task.pictures for task in timed)
    read_ms = 0.0
    if pieces:
        join_pieces(folder, notes, pieces, len(pieces))
        packed, fields = PackedPeople(folder), ("scene", "vui", "mask", "depth_m", "normals", "shift_m")
        before = time.process_time()
        for k in range(len(packed)):
            packed.record(k, fields)
        read_ms = 1e3 * (time.process_time() - before) / len(packed)
    sizes = [file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()]
    return {
        "pictures": sum(task.pictures for task in timed),
        "warm_up_s": warm_up_s,
        "picture_s": picture_s,
        "read_ms": read_ms,
        "picture_kb": sum(sizes) / 1e3 / sum(task.pictures for task in tasks),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "stages": dict(sampler.seconds),
    }


class StageSampler:
    """Seconds by stage: a thread that samples the main thread's stack inside the block."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(threading.get_ident(),), daemon=True)

    def __enter__(self) -> StageSampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self, thread: int) -> None:
        before = time.perf_counter()
        while not self._stop.wait(INTERVAL_S):
            # Native code can block this thread: the time since the last sample belongs to it.
            now = time.perf_counter()
            self.seconds[stage_of(sys._current_frames().get(thread))] += now - before
            before = now


def stage_of(frame: FrameType | None) -> str:
    """Stage of the innermost module of ours."""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(DATA):
            module = str(path.relative_to(DATA).with_suffix(""))
            return next((stage for stage, starts in STAGES.items() if module.startswith(starts)), module)
        frame = frame.f_back
    return "elsewhere"


if __name__ == "__main__":
    main()
