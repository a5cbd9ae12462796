"""The first five steps of each training against the original's, in float64; see ``parity_figures``.

The same weights, the same frames, the original's rules and its Adam, through our own engine. What a step of training
amplifies is rounding: 2e-8 before the first step, up to 4e-4 in the fifth loss. The engine takes four steps; the fifth
loss is that of the weights they lead to.
"""

from dataclasses import astuple, dataclass, field
from functools import cache
from types import SimpleNamespace

import fast_convolution
import numpy as np
import pytest
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from parity_figures import load, original_camera
from parity_recipe import as_variables, network
from torch import Tensor
from torch.nn import functional as F

from hdnet.data.layout.correspondences import read_correspondences
from hdnet.data.layout.folders import TangFolder, TikTokFolder, shift_to_median
from hdnet.data.store.datasets import collate
from hdnet.params import DepthStageParams, HDNetStageParams, OptimiserParams, RuntimeParams
from hdnet.training.checkpoint import CheckpointFolder
from hdnet.training.engine import Engine
from hdnet.training.tasks import DepthTask, HDNetTask, NormalTask, Stream

# Minutes a stage: the full width in float64.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

FIGURES = load("training")
STEPS = 4
PAIR = ("0017634", "0017640")
WEIGHTS = {"depth": 2, "scale_invariant": 1, "normal": 1}
# Our names of the original's terms.
TERMS = {
    "normal": {"total_loss_n": "normal_rad"},
    "depth": {"total_loss1_d": "depth_m2", "total_loss2_d": "scale_invariant_m2", "total_loss_n": "normal_rad"},
}
TERMS["joint"] = TERMS["depth"] | {"total_loss_n_tk": "unlabelled_normal_rad", "loss3d": "warp_m"}


@dataclass
class Recorder:
    """A tracker that keeps the loss terms, the first gradient, and the weights before and after steps."""

    model: torch.nn.Module
    metrics: list[dict[str, float]] = field(default_factory=list)
    gradient: dict[torch.nn.Parameter, Tensor] = field(default_factory=dict)
    weights: dict[int, dict[torch.nn.Parameter, Tensor]] = field(default_factory=dict)

    def __post_init__(self):
        self.keep_weights(0)
        for parameter in self.model.parameters():
            parameter.register_post_accumulate_grad_hook(self.keep_first_gradient)

    def keep_first_gradient(self, parameter):
        self.gradient.setdefault(parameter, parameter.grad.clone())

    def keep_weights(self, step):
        self.weights[step] = {p: p.detach().double().clone() for p in self.model.parameters()}

    def log_metrics(self, values, step):
        self.metrics.append(values)
        if step in (1, STEPS):
            self.keep_weights(step)

    def resume(self, step):
        pass

    def log_image(self, *_):
        pass

    log_checkpoint = set_tags = log_image


def chw(picture):
    return torch.from_numpy(np.array(picture)).movedim(-1, 0).float()


def item(sample, **more):
    # The texts' own normals: what packing and data set do to them is test_parity_data's.
    camera = torch.tensor(astuple(original_camera()), dtype=torch.float64)
    vui = chw(sample.iuv[..., ::-1])
    pictures = {"image": chw(sample.white_image), "vui": vui, "mask": torch.from_numpy(sample.mask)[None]}
    return pictures | {"camera": camera} | more


def person(folder, name):
    sample = TangFolder(folder / "Tang_data").read(name)
    depth = torch.from_numpy(shift_to_median(sample.depth_m, sample.mask))[None]
    return item(sample, depth=depth, normals=chw(sample.normals))


def pair(folder):
    tiktok = TikTokFolder(folder / "tiktok_data")
    frames = {
        side: item(tiktok.read(name), normals=chw(tiktok.read_pred_normals(name)))
        for side, name in zip("ij", PAIR, strict=True)
    }
    rows = read_correspondences(tiktok.root / "correspondences", *PAIR, (256, 256)).rows
    return {**frames, "rows": torch.from_numpy(rows.astype(np.int64))}


def make_task(stage, norm, folder):
    model = network("normal" if stage == "normal" else "depth", torch.float64, norm)
    people = [person(folder, name) for name in ("0000000", "0000001")]
    if stage == "normal":
        return NormalTask(model, Stream(people, 2, collate))
    if stage == "depth":
        return DepthTask(model, Stream(people, 2, collate), DepthStageParams(weights=WEIGHTS, rule="original"))
    pairs = Stream([pair(folder)], 1, collate)
    settings = HDNetStageParams(weights={**WEIGHTS, "unlabelled_normal": 1, "warp": 5}, rule="original")
    return HDNetTask(model, Stream(people[:1], 1, collate), pairs, settings)


def loss_of(task):
    """The loss of a task's whole data, as in training."""
    task.model.train()
    batch = {name: stream.collate(list(stream.dataset)) for name, stream in task.streams.items()}
    batch = apply_to_collection(batch, Tensor, lambda values: values.double() if values.is_floating_point() else values)
    with torch.inference_mode():
        return task.loss(task.model, batch)[0].item()


@pytest.fixture(scope="module")
def trained(training_data, tmp_path_factory):
    """What the steps of a stage recorded, and the loss after them; computed once a stage."""

    @cache
    def train(stage):
        task = make_task(stage, "batch", training_data)
        task.panels = lambda *_: {}  # another pass through the network, for pictures
        recorder = Recorder(task.model)
        eps = 0.1 if stage == "joint" else 1e-8  # docs/parity.md, 6 and 7
        settings = OptimiserParams(
            steps=STEPS, learning_rate=1e-3, adam_eps=eps, tf_epsilon=True, schedule="constant", grad_clip=None
        )
        every = dict.fromkeys(("panel_every", "checkpoint_every", "weights_every"), STEPS)
        runtime = RuntimeParams(device="cpu", precision="64", log_every=1, **every)
        folder = CheckpointFolder(tmp_path_factory.mktemp("checkpoints"), keep=1)
        with pytest.MonkeyPatch.context() as patch:
            fast_convolution.use(patch)
            Engine(task, settings, runtime, folder, recorder, seed=0).run()
            losses = [values["loss"] for values in recorder.metrics] + [loss_of(task)]
        return SimpleNamespace(model=task.model, recorder=recorder, losses=losses)

    return train


STAGES = pytest.mark.parametrize("stage", ["normal", "depth", "joint"])


def relative_l2(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def named(trained_stage, values):
    return {name: value.numpy() for name, value in as_variables(trained_stage.model, values).items()}


@STAGES
def test_losses_of_five_steps(trained, stage):
    losses = trained(stage).losses
    assert len(trained(stage).recorder.metrics) == STEPS
    assert losses == pytest.approx(FIGURES[f"{stage}/losses"], rel=1e-3)
    assert losses[:2] == pytest.approx(FIGURES[f"{stage}/losses"][:2], rel=1e-5)


@STAGES
def test_terms_of_the_first_step(trained, stage):
    found = trained(stage).recorder.metrics[0]
    for original, ours in TERMS[stage].items():
        assert found[ours] == pytest.approx(FIGURES[f"{stage}/terms/{original}"].item(), rel=1e-6), ours


@STAGES
def test_first_gradient(trained, stage):
    gradient = named(trained(stage), trained(stage).recorder.gradient)
    for k, name in enumerate(FIGURES[f"{stage}/variables"]):
        index = FIGURES[f"{stage}/index"][k]
        assert relative_l2(gradient[name][index], FIGURES[f"{stage}/gradient"][k]) < 1e-5, name
        assert np.linalg.norm(gradient[name]) == pytest.approx(FIGURES[f"{stage}/gradient_norm"][k], rel=1e-5), name


@STAGES
def test_change_of_the_weights(trained, stage):
    """Every variable but the biases in front of a norm, whose gradient is 0 but for rounding (docs/parity.md, 3)."""
    weights = {step: named(trained(stage), values) for step, values in trained(stage).recorder.weights.items()}
    for k, name in enumerate(FIGURES[f"{stage}/variables"]):
        first = weights[1][name] - weights[0][name]
        index = FIGURES[f"{stage}/index"][k]
        assert relative_l2(first[index], FIGURES[f"{stage}/first_change"][k]) < 1e-4, name
        assert np.linalg.norm(first) == pytest.approx(FIGURES[f"{stage}/first_change_norm"][k], rel=1e-4), name
        later = np.linalg.norm(weights[STEPS][name] - weights[0][name])
        assert later == pytest.approx(FIGURES[f"{stage}/change_norm_after_4"][k], rel=2e-3), name


def test_two_pictures_need_the_originals_statistics_of_both(training_data):
    """What ``norm="batch"`` is for: normalised each by its own statistics, two pictures give another loss."""
    expected = FIGURES["normal/losses"][0]
    found = {norm: loss_of(make_task("normal", norm, training_data)) for norm in ("batch", "image")}
    assert found["batch"] == pytest.approx(expected, rel=1e-8)
    assert found["image"] != pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("channels", "outputs", "height", "width"), [(3, 5, 64, 68), (6, 2, 8, 4)])
def test_fast_convolution_is_a_convolution(channels, outputs, height, width):
    inputs = (torch.randn(2, channels, height, width), torch.randn(outputs, channels, 3, 3), torch.randn(outputs))
    inputs = tuple(values.double().requires_grad_() for values in inputs)
    gradient = torch.randn(2, outputs, height, width, dtype=torch.float64)
    expected, found = F.conv2d(*inputs, padding=1), fast_convolution.convolve(*inputs)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for ours, plain in zip(*(torch.autograd.grad(y, inputs, gradient) for y in (found, expected)), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-11)
