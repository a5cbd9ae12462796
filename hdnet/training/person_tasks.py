"""Tasks of the three training stages for the network for photographs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hdnet import visualize
from hdnet.losses import person
from hdnet.models import LiteEstimator
from hdnet.models.batch_norm import BatchNorm
from hdnet.models.estimates import in_camera, person_inputs
from hdnet.models.hdnet import unit_normals
from hdnet.models.lite import PersonMaps
from hdnet.params import HDNetStageParams, Params, PhotoParams, PhotoWeights
from hdnet.training.augment import Augmentation, Draw
from hdnet.training.distributed import global_mean
from hdnet.training.scenes import SceneAugmenter
from hdnet.training.tasks import Batch, Stream, Terms, hwc_picture, pair_terms, with_pairs

Stage = Literal["train_normal", "train_depth", "train_hdnet"]


class PersonTask:
    """A stage of the network for photographs.

    `train_normal` teaches what a picture shows: normals, their confidence, mask and body map. `train_depth` adds relief
    and scale. `train_hdnet` adds pairs of unlabelled frames: their depth, which is the relief in each frame's own
    camera, has to agree with its own pseudo-normals and, along the matches, with the other frame's depth. Its batches,
    people with backgrounds and frames of one dance by turns, are no statistics: batch norm stays in evaluation mode.

    Args:
        name: The stage.
        model: The network.
        labelled: Labelled people with their scenes.
        photo: Section ``photo`` of the parameters.
        steps: Steps of the training, among which the picture sizes are spread.
        pairs: Pairs of unlabelled frames, for `train_hdnet`.
        joint: Section ``train_hdnet``, with pairs.
        mean_pair_weight: Of all pairs, see :func:`hdnet.training.pair_weights.mean_weight`.
    """

    def __init__(
        self,
        name: Stage,
        model: LiteEstimator,
        labelled: Stream,
        photo: PhotoParams,
        steps: int,
        pairs: Stream | None = None,
        joint: HDNetStageParams | None = None,
        mean_pair_weight: float = 1.0,
    ) -> None:
        self.name: str = name
        self.model, self.photo, self.steps = model, photo, steps
        self.streams = {"labelled": labelled} | ({"pairs": pairs} if pairs is not None else {})
        self.joint, self.mean_pair_weight = joint, mean_pair_weight

    def parameter_groups(self) -> list[dict[str, Any]]:
        """See :class:`hdnet.training.tasks.Task`."""
        encoder = [parameter for parameter in self.model.encoder_parameters() if parameter.requires_grad]
        groups = [{"params": list(self.model.decoder_parameters()), "rate": 1.0}]
        return groups + ([{"params": encoder, "rate": self.photo.encoder_rate}] if encoder else [])

    def augmentation(self, params: Params) -> Augmentation:
        """See :class:`hdnet.training.tasks.Task`; also makes the network's inputs, so it is never off."""
        augmenter = SceneAugmenter(self.photo, params.augment)

        def varied(batch: dict[str, Batch], draw: Draw) -> dict[str, Batch]:
            size = size_of_step(self.photo.sizes, draw.step, self.steps)
            return {**batch, "labelled": augmenter(batch["labelled"], draw, size)}

        return varied

    def loss(self, model: nn.Module, batch: dict[str, Batch]) -> tuple[Tensor, Terms]:
        """Weighted terms of :func:`person_terms`; with pairs, those of :func:`pair_terms` as well."""
        people = batch["labelled"]
        if self.joint is not None:
            for module in self.model.modules():
                if isinstance(module, BatchNorm):
                    module.eval()
        maps = model(_channels_last(people["inputs"]))
        terms = person_terms(maps, people, has_relief=self.name != "train_normal")
        total = weighted(terms, self.photo.weights)
        if self.name == "train_normal":  # every weight gets a gradient, which processes that train together expect
            total = total + 0 * maps.log_scale_b1.sum()
        if "pairs" not in batch or self.joint is None:
            return total, terms
        pairs = batch["pairs"]
        of_pairs = pair_terms(
            self._depths(model, pairs), pairs, self.joint, rule="exact", mean_pair_weight=self.mean_pair_weight
        )
        return with_pairs(total, of_pairs, self.joint.weights), {**terms, **of_pairs}

    def _depths(self, model: nn.Module, pairs: Batch) -> tuple[Tensor, Tensor]:
        """Depth of both frames in their own cameras, in one pass."""
        frames = [pairs["i"], pairs["j"]]
        scenes, masks, cameras = (torch.cat([frame[key] for frame in frames]) for key in ("scene", "mask", "camera"))
        maps = model(_channels_last(person_inputs(scenes, masks)))
        depth_i, depth_j = in_camera(maps, cameras).depth_b1hw.chunk(2)
        return depth_i, depth_j

    @torch.no_grad()
    def panels(self, model: nn.Module, batch: dict[str, Batch]) -> dict[str, np.ndarray]:  # noqa: ARG002
        """Picture, true and predicted normals, true and predicted relief, and mask of the first person.

        In evaluation mode and without what wraps the network: drawing must not move the running statistics, and is
        the first process's work alone.
        """
        people = batch["labelled"]
        self.model.eval()
        maps: PersonMaps = self.model(people["inputs"][:1].to(next(self.model.parameters()).dtype))
        self.model.train()
        mask = people["mask"][0, 0].cpu().numpy()
        normals = [people["normals"][:1], unit_normals(maps.normals_b3hw, people["mask"][:1])]
        relief = [people["relief"][0, 0], maps.relief_b1hw[0, 0]]
        columns = [hwc_picture(people["inputs"][:1, :3]).clip(0, 255).round().astype(np.uint8)]
        columns += [visualize.normal_picture(hwc_picture(one), mask) for one in normals]
        columns += [visualize.depth_picture(one.float().cpu().numpy(), mask) for one in relief]
        found = (255 * maps.mask_b1hw[0, 0].float().sigmoid()).byte().cpu().numpy()
        columns.append(np.repeat(found[..., None], 3, axis=2))
        return {"labelled_image_normals_relief_mask": np.hstack(columns)}


def size_of_step(sizes: tuple[int, ...], step: int, steps: int) -> int:
    """Return the picture size of a step: each size has an equal share of the steps, in order."""
    return sizes[min(len(sizes) - 1, step * len(sizes) // steps)]


def person_terms(maps: PersonMaps, people: Batch, *, has_relief: bool) -> Terms:
    """Return the unweighted losses on labelled people, by the names of :class:`hdnet.params.PhotoWeights`.

    Args:
        maps: The network's.
        people: A batch as :class:`hdnet.training.scenes.SceneAugmenter` makes it.
        has_relief: Relief and scale are learned as well.
    """
    mask, within, vui = people["mask"], people["within"], people["vui"]
    inside, found, log_kappa, true = person.select_pixels(
        mask, maps.normals_b3hw, maps.log_kappa_b1hw, people["normals"]
    )
    known = person.known_normals(true, inside).sum()
    labels = person.part_labels(vui, mask, (maps.parts_b25hw.shape[2], maps.parts_b25hw.shape[3]))
    terms = {
        "normal_cosine": (person.normal_cosine(found, true, inside), known),
        "normal_l1": (person.normal_l1(found, true, inside), known),
        # The normals do not learn from it: to be right is not to be weighed against being sure.
        "confidence": (person.normal_nll(found.detach(), log_kappa, true, inside), known),
        "parts": (person.parts_cross_entropy(maps.parts_b25hw, vui, mask), (labels != person.UNKNOWN).sum()),
        "uv": (person.uv_l1(maps.uv_b2hw, vui, mask), (labels > 0).sum()),
        "mask": (person.mask_bce(maps.mask_b1hw, mask, within), within.sum()),
        "dice": (person.mask_dice(maps.mask_b1hw, mask, within), len(mask)),
    }
    if has_relief:
        terms["relief"] = (person.relief_l1(maps.relief_b1hw, people["relief"], mask), mask.sum())
        terms["relief_gradient"] = (person.relief_gradient(maps.relief_b1hw, people["relief"], mask), mask.sum())
        sized = people["log_scale"].isfinite().sum()
        terms["scale"] = (person.scale_l1(maps.log_scale_b1, people["log_scale"]), sized)
    return {name: global_mean(value, items) for name, (value, items) in terms.items()}


def weighted(terms: Terms, weights: PhotoWeights) -> Tensor:
    """Return the weighted sum of the terms; one without weight costs nothing."""
    return torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()


def _channels_last(inputs_bchw: Tensor) -> Tensor:
    return inputs_bchw.contiguous(memory_format=torch.channels_last)
