"""Measures the effect of each correction of the original's rules and prints it as a Markdown table.

    python benchmarks/corrections.py                # analytic surfaces, the people in data/raw, two rendered dances
    python benchmarks/corrections.py --data none    # analytic surfaces alone: seconds, needs no data

"original" is the result of `rule: original` and `allow_reflection` and, for Adam, of PyTorch's own formula where the
original has TensorFlow's; "hdnet" is the default. Numbers: docs/parity.md. Every call prints the same table.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from surfaces import SIZE, People, angles_deg, normals_of, plane, read_people, sphere
from torch import Tensor
from torch.nn import functional as F

from hdnet import losses
from hdnet.data.correspondence.matching import FrameIndex, choose_pairs, match, match_indexed
from hdnet.data.layout.folders import TikTokFolder
from hdnet.errors import run_command
from hdnet.geometry import ORIGINAL_CLAMP, Camera, NormalRule, fit_rigid, unproject
from hdnet.models import DepthEstimator
from hdnet.models.hdnet import depth_inputs, unit_normals
from hdnet.params import CorrespondParams, LabelledWeights
from hdnet.training.optim import BETAS, make_adam, tensorflow_epsilon
from hdnet.training.tasks import labelled_loss, labelled_terms
from hdnet.workspace import Workspace

RULES: tuple[NormalRule, NormalRule] = ("original", "exact")
JOINT_EPS = 0.1  # the original's, in its joint stage


class Row(NamedTuple):
    """One line of the table."""

    number: int
    measured: str
    original: str
    ours: str


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Effect of each correction of the original's rules, as a table.")
    parser.add_argument("--data", default=str(Workspace().raw), help="folder with Tang_data and tiktok_data, or none")
    parser.add_argument("--people", type=int, default=40, help="number of labelled people")
    arguments = parser.parse_args()
    run_command(lambda: print_table(arguments.data, arguments.people))


def print_table(data: str, count: int) -> None:
    """Measures and prints everything."""
    torch.manual_seed(0)
    rows = [*adam_rows(), *full_mask_rows(), *plane_rows(), *normal_rows("sphere of 0.8 m", [sphere()]), *zero_rows()]
    if data != "none":
        people = read_people(Path(data) / "Tang_data", count)
        rows += [*adam_network_rows(people[0]), *scale_rows(people), *normal_rows(f"{len(people)} people", people)]
        rows += [*one_point_rows(TikTokFolder(Path(data) / "tiktok_data")), *reflection_rows()]
    print("| no. | measured | original | hdnet |\n|---:|---|---:|---:|")
    for row in sorted(rows, key=lambda row: row.number):
        print("| " + " | ".join(map(str, row)) + " |")


def texts(values: Iterable[Any], form: str = ".2f") -> list[str]:
    """Numbers for the last two columns."""
    return [format(float(value), form) for value in values]


def inner_edge(mask: Tensor) -> Tensor:
    """Pixels of the mask whose neighbour to the right or above is outside it, or outside the picture."""
    padded = F.pad(mask, (0, 1, 1, 0))
    return mask & ~(padded[..., 1:, 1:] & padded[..., :-1, :-1])


def gradient_free(one: People) -> Tensor:
    """Pixels of which the original replaces a component of the cross product, so that its gradient is 0."""
    points = torch.where(one["mask"], unproject(one["depth"].double(), one["camera"]), 0)
    product = torch.linalg.cross(points.roll(-1, -1) - points, points.roll(1, -2) - points, dim=1)
    replaced: Tensor = (product.abs() < ORIGINAL_CLAMP).any(1, keepdim=True) & one["mask"]
    return replaced


def plane_rows() -> Iterator[Row]:
    """Numbers 22 and 23 where the truth is simplest."""
    flipped = [(normals_of(plane(4.0), rule)[:, 2] > 0).sum() for rule in RULES]
    yield Row(22, "frontal plane that fills the picture: border pixels facing away", *texts(flipped, ".0f"))
    tilts = [" / ".join(texts([angles_deg(plane(m), rule).median() for m in (2.0, 4.0, 8.0)], ".1f")) for rule in RULES]
    yield Row(23, "frontal plane at 2 / 4 / 8 m: tilt of its normals, degrees", *tilts)


def normal_rows(name: str, people: list[People]) -> Iterator[Row]:
    """Numbers 23 and 24: angle to the true normals, and the angle loss of a perfect depth."""
    angles = [torch.cat([angles_deg(one, rule)[one["mask"]] for one in people]) for rule in RULES]
    edge = torch.cat([inner_edge(one["mask"])[one["mask"]] for one in people])
    dead = torch.cat([gradient_free(one)[one["mask"]] for one in people])
    floor = [np.mean([labelled_terms(p["depth"].double(), p, r)["normal_rad"].item() for p in people]) for r in RULES]
    share = f"{name}: inner edge ({edge.float().mean():.1%} of the pixels)"
    yield Row(
        23, f"{name}: mean angle to the true normals but for the edge, deg", *texts(a[~edge].mean() for a in angles)
    )
    yield Row(23, f"{name}: pixels with a component that has no gradient", *texts([dead.float().mean(), 0], ".1%"))
    yield Row(24, f"{share}: mean angle to the true normals, deg", *texts(a[edge].mean() for a in angles))
    yield Row(24, f"{share}: wrong by more than 30 deg", *texts(((a[edge] > 30).float().mean() for a in angles), ".1%"))
    yield Row(24, f"{name}: mean angle over all pixels, deg", *texts(a.mean() for a in angles))
    yield Row(24, f"{name}: angle loss of the true depth, rad", *texts(floor, ".3f"))


def scale_losses(pred: Tensor, target: Tensor, mask: Tensor) -> list[float]:
    """The scale-invariant loss by both rules, m^2."""
    return [losses.scale_invariant(pred.double(), target.double(), mask, rule).item() for rule in RULES]


def full_mask_rows() -> Iterator[Row]:
    """Number 16 where the person fills the picture: the middle of the sphere."""
    target = sphere()["depth"][..., 96:160, 96:160]
    noisy = target + 0.02 * torch.randn_like(target)
    values = scale_losses(noisy, target, target > 0)
    yield Row(16, "mask that fills the picture, 20 mm of noise: scale-invariant loss, m^2", *texts(values, ".4f"))


def scale_rows(people: list[People]) -> Iterator[Row]:
    """Number 16 on people: ordinary predictions, and ones around and below 0, as an untrained network's may be."""
    name = f"{len(people)} people, prediction"
    for what, factor, shift_m in (
        ("10 % too far, 50 mm of noise", 1.1, 0),
        ("4.5 m too near (partly below 0)", 1, -4.5),
        ("6 m too near (below 0)", 1, -6),
    ):
        values = []
        for one in people:
            noise_m = 0.05 * torch.randn_like(one["depth"])
            values.append(scale_losses(one["depth"] * factor + shift_m + noise_m, one["depth"], one["mask"]))
        yield Row(16, f"{name} {what}: scale-invariant loss, m^2", *texts(np.mean(values, axis=0), ".4f"))


def adam_ratios(gradient: Tensor, steps: int) -> tuple[list[float], list[float]]:
    """Movement relative to TensorFlow's formula under a constant gradient, step by step: PyTorch's Adam, ours."""
    ratios: tuple[list[float], list[float]] = ([], [])
    for is_ours, found in enumerate(ratios):
        weight = torch.nn.Parameter(torch.zeros_like(gradient))
        optimiser = make_adam([weight], 1e-3, JOINT_EPS)
        for step in range(steps):
            optimiser.param_groups[0]["eps"] = tensorflow_epsilon(JOINT_EPS, step) if is_ours else JOINT_EPS
            before, weight.grad = weight.detach().clone(), gradient
            optimiser.step()
            root = math.sqrt(1 - BETAS[1] ** (step + 1))  # docs/parity.md, 6, with m and v of a constant gradient
            expected = 1e-3 * root * gradient.abs() / (root * gradient.abs() + JOINT_EPS)
            found.append(((weight.detach() - before).abs() / expected).median().item())
    return ratios


def adam_rows() -> Iterator[Row]:
    """Number 6 for one weight with a small gradient."""
    small = adam_ratios(torch.tensor([1e-3], dtype=torch.float64), 1000)
    values = [" / ".join(texts((ratio[step - 1] for step in (1, 10, 100, 1000)), ".1f")) for ratio in small]
    yield Row(6, "Adam, eps 0.1, small gradient: step 1 / 10 / 100 / 1000 as multiple of TensorFlow's", *values)


def adam_network_rows(one: People) -> Iterator[Row]:
    """Number 6 with the gradients of the labelled loss in an untrained depth estimator."""
    network = DepthEstimator(16)
    weights = [parameter for name, parameter in network.named_parameters() if name.endswith("conv.weight")]
    terms = labelled_terms(network(one["inputs"]).double(), one, "original")
    loss = labelled_loss(terms, LabelledWeights(depth=2, scale_invariant=1, normal=1))
    ratios = adam_ratios(torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, weights)]).double(), 1)
    yield Row(6, "the same, first step of a depth estimator's weights, median", *texts((r[0] for r in ratios), ".1f"))


def zero_rows() -> Iterator[Row]:
    """Number 56: one predicted normal of length 0."""
    network, pictures = DepthEstimator(4).eval(), 255 * torch.rand(2, 1, 3, SIZE, SIZE)
    raw = torch.randn(1, 3, SIZE, SIZE)
    raw[..., 100, 100] = 0
    ways = raw / raw.norm(dim=1, keepdim=True), unit_normals(raw, torch.ones(1, 1, SIZE, SIZE))
    with torch.no_grad():
        depths = [network(depth_inputs(pictures[0], normals, pictures[1])) for normals in ways]
    lost = [(~depth.isfinite()).float().mean() for depth in depths]
    yield Row(56, "one predicted normal of length 0: share of the depth map that is NaN", *texts(lost, ".0%"))


def body_iuv(iuv: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """DensePose inside the mask."""
    return np.where(mask[..., None], iuv, np.uint8(0))


def one_point_rows(folder: TikTokFolder) -> Iterator[Row]:
    """Number 29: pairs whose gradient is NaN in the original, without and with the author's filter."""
    indexed = {name: FrameIndex(body_iuv(*folder.read_iuv_and_mask(name))) for name in folder.names()}
    pairs = [(indexed[i], indexed[j]) for i, others in choose_pairs(folder.sequences()).items() for j in others]
    for least in (1, 50):
        found = [match_indexed(i, j, CorrespondParams(min_matches=least)).rows for i, j in pairs]
        points = [sum(is_point(rows[rows[:, 0] == part]) for part in np.unique(rows[:, 0])) for rows in found]
        wrong = sum(not gradient_is_finite(rows) for rows in found)
        text = f"{len(pairs)} pairs, body parts of at least {least} matches: NaN gradients in pairs (in parts)"
        yield Row(29, text, f"{np.count_nonzero(points)} ({sum(points)})", str(wrong))


def is_point(rows: np.ndarray) -> bool:
    """Return whether all matches of a body part coincide in one of the frames."""
    return bool((rows[:, 1:3] == rows[0, 1:3]).all() or (rows[:, 3:] == rows[0, 3:]).all())


def gradient_is_finite(rows: np.ndarray) -> bool:
    """Our warp loss, for two depth maps with 30 mm of noise."""
    depths = (4 + 0.03 * torch.randn(2, 1, 1, SIZE, SIZE)).requires_grad_()
    loss, _ = losses.warp(depths[0], depths[1], F.pad(torch.from_numpy(rows), (1, 0)), Camera.centred())
    return bool(torch.autograd.grad(loss, depths)[0].isfinite().all())


def reflection_rows() -> Iterator[Row]:
    """Number 30: rigid fits that mirror a body part, on rendered dances whose depth is known."""
    pairs = list(rendered_pairs())
    for noise_mm in (0, 10, 30, 100, 300, 1000):
        mirrored, loss_mm = [], []
        for depths, rows, camera in pairs:
            noisy = depths + noise_mm / 1000 * torch.randn_like(depths)
            packed = F.pad(torch.from_numpy(rows), (1, 0))
            parts = [rows[rows[:, 0] == part] for part in np.unique(rows[:, 0])]
            mirrored += [[is_mirrored(noisy, part, camera, allow) for allow in (True, False)] for part in parts]
            loss_mm.append(
                [1000 * losses.warp(noisy[0], noisy[1], packed, camera, allow)[0].item() for allow in (True, False)]
            )
        text = f"{len(pairs)} pairs of two dances, true depth and {noise_mm} mm of noise: parts mirrored; warp loss, mm"
        shares, means = np.mean(mirrored, axis=0), np.mean(loss_mm, axis=0)
        yield Row(30, text, *(f"{share:.1%}; {mean:.1f}" for share, mean in zip(shares, means, strict=True)))


def is_mirrored(depths: Tensor, part: np.ndarray, camera: Camera, allow_reflection: bool) -> bool:
    """Return whether the rigid fit of one body part has det R = -1."""
    r1, c1, r2, c2 = torch.from_numpy(part[:, 1:] - 1).T
    points_i, points_j = unproject(depths.double().flatten(0, 1), camera)
    j_R_i, _ = fit_rigid(points_i[:, r1, c1].T[None], points_j[:, r2, c2].T[None], allow_reflection=allow_reflection)
    return bool(torch.linalg.det(j_R_i) < 0)


def rendered_pairs() -> Iterator[tuple[Tensor, np.ndarray, Camera]]:
    """(depths (2, 1, 1, h, w), rows, camera) of all pairs of two dances of five frames."""
    # Frames on disk have no depth and the generator drops it; only this measurement wants it.
    from hdnet.synthetic.motion import draw_dance
    from hdnet.synthetic.shot import Shot, SyntheticSpec

    spec = SyntheticSpec(people=0, sequences=2, frames_per_sequence=5, seed=7, focal_px=(300.0, 330.0))
    for index in range(spec.sequences):
        shot = Shot(spec, "sequence", index)
        _, frames = shot.render(lambda rng: draw_dance(rng, (spec.frames_per_sequence - 1) * spec.stride + 1))
        for i, j in combinations(frames, 2):
            depths = torch.from_numpy(np.stack([i.depth_m, j.depth_m]))[:, None, None]
            yield depths, match(body_iuv(i.iuv, i.mask), body_iuv(j.iuv, j.mask)).rows, shot.camera


if __name__ == "__main__":
    main()
