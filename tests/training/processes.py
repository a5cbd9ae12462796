"""Trains any task for a few steps, as one of several processes or alone: the tests start it as a program.

python processes.py WORKSPACE OUT TASK DEVICES STEPS
"""

import sys
from pathlib import Path

import torch
from conftest import tiny_values

from hdnet.data.store.datasets import LabelledDataset, PairDataset, collate
from hdnet.data.store.packed import PackedFrames, PackedLabelled, PseudoNormals
from hdnet.models import DepthEstimator, NormalEstimator
from hdnet.params import Params, parse_section
from hdnet.tracking.tracker import FileTracker
from hdnet.training import stages
from hdnet.training.checkpoint import CheckpointFolder
from hdnet.training.engine import Engine, Runtime, Schedule
from hdnet.training.tasks import DepthTask, DepthWeights, HDNetTask, NormalTask, PairWeights, Stream, Task
from hdnet.workspace import Workspace

BATCH, PAIRS = 3, 3  # shares of 1 and 2


def make_task(kind: str, work: Workspace) -> Task:
    labelled = Stream(LabelledDataset(PackedLabelled(work.labelled)), BATCH, collate)
    if kind == "normal":
        return NormalTask(NormalEstimator(2, "unit"), labelled)
    model, weights = DepthEstimator(2, "unit", 4.0), DepthWeights(2, 1, 1)
    if kind == "depth":
        return DepthTask(model, labelled, weights, "exact")
    frames = PackedFrames(work.frames), PseudoNormals(work.frame_normals)
    pairs = Stream(PairDataset(*frames, work.correspondences), PAIRS, collate)
    return HDNetTask(model, labelled, pairs, weights, PairWeights(1, 5, 0.01), "exact")


def train_stage(work: Workspace, out: Path, devices: int) -> None:
    values = tiny_values()
    values["runtime"] |= {"devices": devices, "precision": "64"}
    values["augment"] |= {"brightness": 0.2, "flip": 0.5, "zoom": 0.2, "iuv_drop": 0.3}
    values["train_hdnet"] |= {"pair_weighting": "gap", "warp_loss": "huber", "pairs_per_step": 2, "adam_eps": 1e-4}
    values["validation"] |= {"every": 3, "people": 2, "metric": "depth_mae_mm"}
    stages.train_hdnet(
        work.labelled, work.labelled_normals, work.frames, work.frame_normals, work.correspondences, work.normal_model,
        work.depth_model, out / "hdnet.safetensors", out / "report", out / "checkpoints",
        parse_section(Params, values, "tiny"), heldout=work.heldout,
    )  # fmt: skip


def main() -> None:
    work, out, kind, devices, steps = (
        Workspace(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    )  # fmt: skip
    if kind == "stage":
        train_stage(work, out, devices)
        return
    torch.manual_seed(0)
    task = make_task(kind, work)
    schedule = Schedule(steps, 1e-3, 1e-4, False, "cosine", 1.0, 7, warmup_steps=2, ema_decay=0.9)
    runtime = Runtime("cpu", "64", 1, 10**6, 2, devices=devices)
    engine = Engine(task, schedule, runtime, CheckpointFolder(out / "run", 2), FileTracker(out))
    engine.run()
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    moments = {name: tensor for name, tensor in engine.moments.items() if name.startswith("mean.")}
    torch.save({**task.model.state_dict(), **moments}, out / f"final_{rank}.pt")


if __name__ == "__main__":
    main()
