"""Trains any task for a few steps, as one of several processes or alone: the tests start it as a program.

python processes.py WORKSPACE OUT TASK DEVICES STEPS

Several tasks, separated by commas, are trained one after the other, into folders of OUT.
"""

import sys
from pathlib import Path

import torch
from spheres import tiny_values

from hdnet.data.store.datasets import LabelledDataset, PairDataset, collate
from hdnet.data.store.packed import PackedFrames, PackedLabelled, PseudoNormals
from hdnet.models import DepthEstimator, LiteEstimator, NormalEstimator
from hdnet.params import (
    DepthStageParams,
    HDNetStageParams,
    NormalStageParams,
    Params,
    PhotoParams,
    RuntimeParams,
    parse_section,
)
from hdnet.tracking.tracker import FileTracker
from hdnet.training.checkpoint import CheckpointFolder
from hdnet.training.engine import Engine
from hdnet.training.person_tasks import PersonTask
from hdnet.training.run import Outputs
from hdnet.training.tasks import DepthTask, HDNetTask, NormalTask, Stream, Task
from hdnet.workspace import Workspace
from pipelines.train_hdnet import train_hdnet

BATCH, PAIRS = 3, 3  # shares of 1 and 2
PHOTO = PhotoParams(sizes=(64,))


def make_task(kind: str, work: Workspace) -> Task:
    if kind == "person":
        scenes = LabelledDataset(PackedLabelled(work.labelled), scenes=True)
        model = LiteEstimator()
        model.freeze(1)
        return PersonTask("train_depth", model, Stream(scenes, BATCH, collate), PHOTO, 4)
    labelled = Stream(LabelledDataset(PackedLabelled(work.labelled)), BATCH, collate)
    if kind == "normal":
        return NormalTask(NormalEstimator(2, "unit"), labelled)
    model, weights = DepthEstimator(2, "unit", 4.0), {"depth": 2, "scale_invariant": 1, "normal": 1}
    if kind == "depth":
        return DepthTask(model, labelled, DepthStageParams(weights=weights))
    pair_weights = {"unlabelled_normal": 1, "warp": 5, "warp_2d": 0.01}
    frames = PackedFrames(work.frames), PseudoNormals(work.frame_normals)
    pairs = Stream(PairDataset(*frames, work.correspondences), PAIRS, collate)
    return HDNetTask(model, labelled, pairs, HDNetStageParams(weights={**weights, **pair_weights}))


def train_stage(work: Workspace, out: Path, devices: int) -> None:
    values = tiny_values()
    values["runtime"] |= {"devices": devices, "precision": "64"}
    values["augment"] |= {"brightness": 0.2, "flip": 0.5, "zoom": 0.2, "iuv_drop": 0.3}
    values["train_hdnet"] |= {"pair_weighting": "gap", "warp_loss": "huber", "pairs_per_step": 2, "adam_eps": 1e-4}
    values["validation"] |= {"every": 3, "people": 2, "metric": "depth_mae_mm"}
    outputs = Outputs(out / "hdnet.safetensors", out / "report", out / "checkpoints")
    train_hdnet(work, parse_section(Params, values, "tiny"), outputs=outputs)


def main() -> None:
    work, out, kinds, devices, steps = (
        Workspace(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3].split(","), int(sys.argv[4]), int(sys.argv[5])
    )  # fmt: skip
    for kind in kinds:
        train(work, out / kind if len(kinds) > 1 else out, kind, devices, steps)


def train(work: Workspace, out: Path, kind: str, devices: int, steps: int) -> None:
    if kind == "stage":
        train_stage(work, out, devices)
        return
    torch.manual_seed(0)
    task = make_task(kind, work)
    settings = NormalStageParams(
        steps=steps, learning_rate=1e-3, adam_eps=1e-4, grad_clip=1.0, warmup_steps=2, ema_decay=0.9
    )
    runtime = RuntimeParams(
        device="cpu", precision="64", log_every=1, panel_every=10**6, checkpoint_every=2, devices=devices
    )
    augmentation = task.augmentation(Params(photo=PHOTO))
    engine = Engine(
        task, settings, runtime, CheckpointFolder(out / "run", 2), FileTracker(out), seed=7, augmentation=augmentation
    )
    engine.run()
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    moments = {name: tensor for name, tensor in engine.moments.items() if name.startswith("mean.")}
    torch.save({**task.model.state_dict(), **moments}, out / f"final_{rank}.pt")


if __name__ == "__main__":
    main()
