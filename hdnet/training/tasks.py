"""Tasks of the three training stages: model, data, loss and pictures of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from hdnet import losses, visualize
from hdnet.data.store.batches import prepare
from hdnet.geometry import NormalRule, depth_to_normals
from hdnet.models import DepthEstimator, LiteEstimator, NormalEstimator
from hdnet.models.hdnet import depth_inputs, unit_normals
from hdnet.params import DepthStageParams, HDNetStageParams, JointWeights, LabelledWeights, Params
from hdnet.training.augment import Augmentation, Augmenter
from hdnet.training.distributed import global_mean
from hdnet.training.pair_weights import warp_terms

Network = NormalEstimator | DepthEstimator | LiteEstimator
Batch = dict[str, Any]
Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Stream:
    """A data set and the number of its samples per step."""

    dataset: Dataset[dict[str, Any]]
    batch_size: int
    collate: Callable[[list[dict[str, Any]]], Batch]


class Task(Protocol):
    """Interface of a stage to the engine."""

    name: str
    streams: dict[str, Stream]

    @property
    def model(self) -> Network:
        """The network to train."""
        ...

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the weights that learn, {"params": weights, "rate": factor of the learning rate} a group."""
        ...

    def augmentation(self, params: Params) -> Augmentation | None:
        """Return what varies the batches before the loss sees them; None if nothing does."""
        ...

    def loss(self, model: nn.Module, batch: dict[str, Batch]) -> tuple[Tensor, Terms]:
        """Return the scalar to minimise and its unweighted terms for a batch of every stream, stored or prepared.

        With several processes each term is this one's share: their average is the term of the whole batch
        (:func:`hdnet.training.distributed.global_mean`).
        """
        ...

    def panels(self, model: nn.Module, batch: dict[str, Batch]) -> dict[str, np.ndarray]:
        """Draw "image | depth | normals" of the first item of each stream, (H, W, 3) uint8."""
        ...


class _HourglassTask:
    """Common parts of the tasks of an hourglass."""

    model: NormalEstimator | DepthEstimator

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See :class:`Task`."""
        return [{"params": list(self.model.parameters())}]

    def augmentation(self, params: Params) -> Augmentation | None:
        """See :class:`Task`."""
        return None if params.augment.is_off else Augmenter(params.augment)


class NormalTask(_HourglassTask):
    """Stage `train_normal`: normals from pictures of labelled people."""

    name = "train_normal"

    def __init__(self, model: NormalEstimator, labelled: Stream) -> None:
        self.model = model
        self.streams = {"labelled": labelled}

    def loss(self, model: nn.Module, batch: dict[str, Batch]) -> tuple[Tensor, Terms]:
        """Normal angle."""
        people = prepare(batch["labelled"])
        angle = losses.normal_angle(model(people["image"]).double(), people["normals"], people["mask"])
        angle = global_mean(angle, people["mask"].sum())
        return angle, {"normal_rad": angle}

    @torch.no_grad()
    def panels(self, model: nn.Module, batch: dict[str, Batch]) -> dict[str, np.ndarray]:
        """Picture, true normals, predicted normals."""
        first = _first(batch["labelled"])
        predicted = unit_normals(model(first["image"]).float(), first["mask"])
        mask = _mask_picture(first)
        columns = [_image_picture(first)]
        columns += [visualize.normal_picture(hwc_picture(normals), mask) for normals in (first["normals"], predicted)]
        return {"labelled_image_true_predicted": np.hstack(columns)}


class DepthTask(_HourglassTask):
    """Stage `train_depth`: depth from pictures, normals and IUV of labelled people.

    The input normals are the true ones, as in the original, unless the data set carries "input_normals".
    """

    name = "train_depth"

    def __init__(self, model: DepthEstimator, labelled: Stream, settings: DepthStageParams) -> None:
        self.model = model
        self.streams = {"labelled": labelled}
        self.settings = settings

    def loss(self, model: nn.Module, batch: dict[str, Batch]) -> tuple[Tensor, Terms]:
        """Weighted depth error, scale-invariant error, and angle between the depth's own normals and the true ones."""
        people = prepare(batch["labelled"])
        terms = labelled_terms(model(_depth_inputs(people)).double(), people, self.settings.rule)
        return labelled_loss(terms, self.settings.weights), terms

    @torch.no_grad()
    def panels(self, model: nn.Module, batch: dict[str, Batch]) -> dict[str, np.ndarray]:
        """Picture, depth, normals of the depth."""
        return {"labelled": depth_panel(model, _first(batch["labelled"]))}


class HDNetTask(_HourglassTask):
    """Stage `train_hdnet`: labelled people as in stage `train_depth`, plus pairs of unlabelled frames.

    Args:
        model: Depth estimator.
        labelled: Labelled people.
        pairs: Pairs of unlabelled frames.
        settings: The stage's section of the parameters.
        mean_pair_weight: Of all pairs, see :func:`hdnet.training.pair_weights.mean_weight`.
    """

    name = "train_hdnet"

    def __init__(
        self,
        model: DepthEstimator,
        labelled: Stream,
        pairs: Stream,
        settings: HDNetStageParams,
        mean_pair_weight: float = 1.0,
    ) -> None:
        self.model = model
        self.streams = {"labelled": labelled, "pairs": pairs}
        self.settings = settings
        self.mean_pair_weight = mean_pair_weight

    def loss(self, model: nn.Module, batch: dict[str, Batch]) -> tuple[Tensor, Terms]:
        """Labelled loss + normal angles of both frames against their pseudo-normals + warp agreement of the pair."""
        people, pairs = prepare(batch["labelled"]), prepare(batch["pairs"])
        frame_i, frame_j = pairs["i"], pairs["j"]
        depth, depth_i, depth_j = self._depths(model, [_depth_inputs(one) for one in (people, frame_i, frame_j)])
        weights, rule = self.settings.weights, self.settings.rule
        terms = labelled_terms(depth, people, rule)
        of_pairs = pair_terms((depth_i, depth_j), pairs, self.settings, rule, self.mean_pair_weight)
        return with_pairs(labelled_loss(terms, weights), of_pairs, weights), {**terms, **of_pairs}

    def _depths(self, model: nn.Module, inputs: list[Tensor]) -> list[Tensor]:
        """Depth of every set of pictures, in one pass unless the sets would share statistics."""
        if self.model.mixes_pictures:
            return [model(one).double() for one in inputs]
        return list(model(torch.cat(inputs)).double().split([len(one) for one in inputs]))

    @torch.no_grad()
    def panels(self, model: nn.Module, batch: dict[str, Batch]) -> dict[str, np.ndarray]:
        """Picture, depth, normals of the depth, for both data sets."""
        return {
            "labelled": depth_panel(model, _first(batch["labelled"])),
            "unlabelled": depth_panel(model, _first(batch["pairs"]["i"])),
        }


def labelled_terms(depth: Tensor, people: Batch, rule: Literal["exact", "original"]) -> Terms:
    """Return the three unweighted terms on labelled people. ``depth`` in float64: see :mod:`hdnet.losses`."""
    pictures = len(depth)
    return {
        "depth_m2": global_mean(losses.depth_mse(depth, people["depth"], people["mask"]), pictures),
        "scale_invariant_m2": global_mean(
            losses.scale_invariant(depth, people["depth"], people["mask"], rule), pictures
        ),
        "normal_rad": _normal_term(depth, people, rule),
    }


def labelled_loss(terms: Terms, weights: LabelledWeights) -> Tensor:
    """Return the weighted sum of the terms."""
    return (
        weights.depth * terms["depth_m2"]
        + weights.scale_invariant * terms["scale_invariant_m2"]
        + weights.normal * terms["normal_rad"]
    )


def pair_terms(
    depths: tuple[Tensor, Tensor], pairs: Batch, settings: HDNetStageParams, rule: NormalRule, mean_pair_weight: float
) -> Terms:
    """Return the unweighted terms of pairs of frames: normals against the pseudo-normals, and warp agreement.

    Args:
        depths: Depth of the frames i and j, float64.
        pairs: The batch of pairs, prepared.
        settings: Stage `train_hdnet`.
        rule: Formula of the depth's normals.
        mean_pair_weight: Of all pairs.
    """
    angle = _normal_term(depths[0], pairs["i"], rule) + _normal_term(depths[1], pairs["j"], rule)
    found = warp_terms(*depths, pairs, settings, mean_pair_weight)
    warp_m, warp_px = (global_mean(term, found.pairs) for term in (found.warp_m, found.warp_px))
    return {"unlabelled_normal_rad": angle, "warp_m": warp_m, "warp_px": warp_px}


def with_pairs(labelled: Tensor, terms: Terms, weights: JointWeights) -> Tensor:
    """Add the weighted terms of pairs to the loss on labelled people."""
    total = labelled + weights.unlabelled_normal * terms["unlabelled_normal_rad"] + weights.warp * terms["warp_m"]
    return total + weights.warp_2d * terms["warp_px"] if weights.warp_2d else total


def _normal_term(depth: Tensor, people: Batch, rule: NormalRule) -> Tensor:
    normals = depth_to_normals(depth, people["mask"], people["camera"], rule)
    mask = people["mask"]
    if rule == "exact":  # a pixel without neighbours has no normal
        mask = mask & (normals.detach().abs().sum(1, keepdim=True) > 0)
    return global_mean(losses.normal_angle(normals, people["normals"], mask), mask.sum())


def _depth_inputs(people: Batch) -> Tensor:
    normals = people["input_normals" if "input_normals" in people else "normals"]
    return depth_inputs(people["image"], normals, people["vui"])


def depth_panel(model: nn.Module, first: Batch) -> np.ndarray:
    """Draw picture, depth and normals of the depth side by side, of a batch of one."""
    depth = model(_depth_inputs(first)).float()
    normals = depth_to_normals(depth, first["mask"], first["camera"])
    mask = _mask_picture(first)
    depth_picture = visualize.depth_picture(depth[0, 0].cpu().numpy(), mask)
    return np.hstack([_image_picture(first), depth_picture, visualize.normal_picture(hwc_picture(normals), mask)])


def _first(batch: Batch) -> Batch:
    """Return the first item of a batch, prepared, as a batch of one."""
    return prepare({key: value[:1] for key, value in batch.items()})


def hwc_picture(map_bchw: Tensor) -> np.ndarray:
    """Return the first map of a batch as (H, W, C) float32."""
    picture: np.ndarray = map_bchw[0].permute(1, 2, 0).float().cpu().numpy()
    return picture


def _image_picture(first: Batch) -> np.ndarray:
    return hwc_picture(first["image"]).round().astype(np.uint8)


def _mask_picture(first: Batch) -> np.ndarray:
    mask: np.ndarray = first["mask"][0, 0].cpu().numpy().astype(bool)
    return mask
