"""Tasks of `train.py` on made-up or packed data, and the plain loop that the engine is compared with."""

from __future__ import annotations

import copy
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from hdnet.data.store.datasets import Item, LabelledDataset, PairDataset, StepSampler, collate
from hdnet.data.store.packed import PackedFrames, PackedLabelled, PseudoNormals
from hdnet.data.store.shards import INDEX_FILE
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, NormalEstimator
from hdnet.models.fast_paths import JOINS, NORMALISATIONS
from hdnet.models.hourglass import Hourglass, figure
from hdnet.params import DepthStageParams, HDNetStageParams
from hdnet.training.tasks import DepthTask, HDNetTask, NormalTask, Stream, Task

PLAIN_SETTINGS = "float32, NCHW, eager"
# Distinct pictures; a run goes through them again and again.
_MADE_UP = 8
# Matches of a pair, about as many as a synthetic dance has.
_MATCHES = 8000


class MadeUpPeople(Dataset[Item]):
    """Ellipses of noise with smooth depth, as :class:`hdnet.data.store.datasets.LabelledDataset` stores people."""

    def __init__(self, size: int) -> None:
        self.items = [self._item(size, np.random.default_rng(seed)) for seed in range(_MADE_UP)]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, k: int) -> Item:
        return self.items[k]

    def _item(self, size: int, rng: np.random.Generator) -> Item:
        y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
        mask = (x / 0.2) ** 2 + (y / 0.46) ** 2 < 1
        image = np.where(mask, rng.integers(0, 255, (3, size, size)), 255).astype(np.uint8)
        part = np.clip((y + 0.5) * 24, 0, 23).astype(np.uint8) + 1
        vui = np.stack([rng.integers(0, 256, (size, size)), (x + 0.5) * 255, part]) * mask
        depth = np.where(mask, 4 + 0.3 * np.cos(6 * x) + 0.02 * rng.normal(size=(size, size)), 0)
        normals = rng.normal(size=(3, size, size)) * [[[0.3]], [[0.3]], [[0.1]]] - [[[0.0]], [[0.0]], [[1.0]]]
        return {
            "white_image": torch.from_numpy(image),
            "vui": torch.from_numpy(vui.astype(np.uint8)),
            "mask": torch.from_numpy(mask[None]),
            "depth_m": torch.from_numpy(depth[None].astype(np.float32)),
            "normals": torch.from_numpy((normals * 8000 * mask).astype(np.int16)),
            "camera": Camera.centred(1.23 * size, size).as_tensor(),
        }


class MadeUpPairs(Dataset[Item]):
    """Pairs of :class:`MadeUpPeople` with matches, as :class:`hdnet.data.store.datasets.PairDataset` stores them."""

    def __init__(self, people: MadeUpPeople) -> None:
        self.people = people

    def __len__(self) -> int:
        return len(self.people)

    def __getitem__(self, k: int) -> Item:
        sides = [dict(self.people[j]) for j in (k, (k + 1) % len(self.people))]
        for side in sides:
            del side["depth_m"]
        mask, part = sides[0]["mask"][0].numpy(), sides[0]["vui"][2].numpy()
        places = np.argwhere(mask)
        places = places[np.linspace(0, len(places) - 1, min(_MATCHES, len(places))).astype(int)]
        rows = np.column_stack([part[tuple(places.T)], places + 1, places + 1]).astype(np.int16)
        return {"i": sides[0], "j": sides[1], "rows": torch.from_numpy(rows)}


def make_task(stage: str, arguments: Namespace) -> Task:
    """The stage's task at the requested width and batch, with the weights of the shipped parameters."""
    if arguments.data is None:
        people: Dataset[Item] = MadeUpPeople(arguments.size)
    else:
        root: Path = arguments.data
        people = LabelledDataset(PackedLabelled(root if (root / INDEX_FILE).exists() else root / "packed/labelled"))
    labelled = Stream(people, arguments.batch, collate)
    if stage == "normal":
        return NormalTask(NormalEstimator(arguments.width, "unit"), labelled)
    model = DepthEstimator(arguments.width, "unit", initial_depth_m=4.0)
    if stage == "depth":
        return DepthTask(model, labelled, DepthStageParams())
    if isinstance(people, MadeUpPeople):
        pairs: Dataset[Item] = MadeUpPairs(people)
    else:
        frames, normals = PackedFrames(root / "packed/frames"), PseudoNormals(root / "pseudo_normals/frames")
        pairs = PairDataset(frames, normals, root / "correspondences")
    return HDNetTask(model, labelled, Stream(pairs, arguments.pairs, collate), HDNetStageParams())


def pictures_per_step(task: Task) -> int:
    """Pictures that go through the network; a pair is two."""
    return sum(stream.batch_size * (2 if name == "pairs" else 1) for name, stream in task.streams.items())


def training_flop(task: Task) -> float:
    """Additions and multiplications of a step's convolutions, forwards and backwards.

    Backwards, each costs as much for its weights and as much for its input; the first one's input needs no gradient.
    """
    network = task.model
    first = task.streams["labelled"].dataset[0]["mask"]
    layers = FlopLayers(network)
    pixels = figure(float(first.shape[-1] * first.shape[-2]), layers)
    layers.flop.append(2 * pixels * network.head.weight.numel())
    return pictures_per_step(task) * (3 * sum(layers.flop) - layers.flop[0])


class FlopLayers:
    """Counts additions and multiplications of the convolutions; goes through the figure with a number of pixels."""

    def __init__(self, network: Hourglass) -> None:
        self.blocks, self.flop = network.blocks, list[float]()

    def block(self, index: int, pixels: float) -> float:
        """A convolution at this size."""
        self.flop.append(2 * pixels * self.blocks[index].conv.weight.numel())  # type: ignore[union-attr, operator]
        return pixels

    def halve(self, pixels: float) -> float:
        """A quarter of the pixels."""
        return pixels / 4

    def join(self, pixels: float, skip: float) -> float:  # noqa: ARG002 - the other one's size is the same
        """Four times the pixels."""
        return 4 * pixels


class PlainLayers:
    """The layers as anyone would write them down."""

    def __init__(self, network: Hourglass) -> None:
        self.blocks = network.blocks
        self.normalise, self.join = NORMALISATIONS["export"], JOINS["export"]

    def block(self, index: int, x: Tensor) -> Tensor:
        """Convolution, normalisation, ReLU."""
        block: Any = self.blocks[index]
        return self.normalise(block.conv(x), block.shift)

    def halve(self, x: Tensor) -> Tensor:
        """2 x 2 max pooling."""
        return F.max_pool2d(x, 2)


class PlainNetwork(nn.Module):
    """The same network with :class:`PlainLayers`."""

    def __init__(self, network: Hourglass) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.config = network.config

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W), all pictures at once."""
        network = self.network
        if self.config.input_scale == "unit":
            x = x * network.input_gain + network.input_offset
        output: Tensor = network.head(figure(x, PlainLayers(network)))
        return output


class PlainLoop:
    """Plain training loop with the same data and losses.

    Args:
        task: Data, losses, and a network that is copied.
        device: Of the training.
    """

    def __init__(self, task: Task, device: torch.device) -> None:
        self.task, self.device = task, device
        self.network = PlainNetwork(task.model).to(device).train()
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=1e-6)
        self.samplers = {
            name: StepSampler(len(stream.dataset), stream.batch_size, 0, 0, 10**9)  # type: ignore[arg-type]
            for name, stream in task.streams.items()
        }

    def step(self, step: int) -> None:
        """One of them."""
        batch = {
            name: moved(collate([stream.dataset[k] for k in self.samplers[name].indices(step)]), self.device)
            for name, stream in self.task.streams.items()
        }
        loss, _ = self.task.loss(self.network, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.optimiser.zero_grad()


def moved(values: Any, device: torch.device) -> Any:
    """A batch on the device."""
    if isinstance(values, dict):
        return {key: moved(value, device) for key, value in values.items()}
    return values.to(device)
