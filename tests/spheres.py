"""A packed workspace of tiny spheres: 32 x 32 pictures, seconds to train on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.geometry import Camera
from hdnet.params import Params, parse_section
from hdnet.workspace import Workspace

SIZE = 32
CAMERA = Camera.centred(40.0, SIZE)


def sphere(name: str, seed: int) -> LabelledSample:
    """A ball at 4 m, shaded by its normals, with body parts in stripes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    rays = np.stack([(x - 15.5) / 40, (y - 15.5) / 40, np.ones((SIZE, SIZE))], axis=-1)
    centre, radius = np.array([*rng.uniform(-0.15, 0.15, 2), 4.0]), rng.uniform(0.9, 1.1)
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius**2
    mask = b**2 - a * c > 0.02
    depth = np.where(mask, (b - np.sqrt(np.maximum(b**2 - a * c, 0))) / a, 0)
    depth = np.where(mask, depth * 4 / np.median(depth[mask]), 0).astype(np.float32)
    normals = np.where(mask[..., None], (rays * depth[..., None] - centre) / radius, 0)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)
    shade = 128 + 100 * normals @ np.array([0.5, -0.5, -0.7])
    image = np.clip(shade[..., None] + rng.normal(0, 4, (SIZE, SIZE, 3)), 0, 254).astype(np.uint8)
    white = np.where(mask[..., None], image, np.uint8(255))
    iuv = np.stack([1 + y * 9 // SIZE, np.clip(x * 7 + 10, 0, 255), y * 7], axis=-1)
    iuv = np.where(mask[..., None], iuv, 0).astype(np.uint8)
    return LabelledSample(name, white, white, iuv, mask, depth, normals.astype(np.float32), CAMERA)


def write_raw(work: Workspace) -> None:
    """Eight labelled spheres, three held out, one sequence of four frames."""
    for root, count, first_seed in ((work.raw_labelled, 8, 0), (work.raw_heldout, 3, 100)):
        tang = TangFolder(root)
        for index in range(count):
            tang.write(sphere(f"{index:07d}", first_seed + index))
        tang.write_meta({f"{index:07d}": CAMERA for index in range(count)})
    tiktok, names = TikTokFolder(work.raw_frames), [f"{index:07d}" for index in range(4)]
    for index, name in enumerate(names):
        values = {
            field.name: getattr(sphere(name, 50 + index), field.name)
            for field in dataclasses.fields(UnlabelledFrame)
            if field.name != "sequence"
        }
        tiktok.write(UnlabelledFrame(**values, sequence="ball"))
    tiktok.write_meta(dict.fromkeys(names, CAMERA), {"ball": names})


def tiny_values() -> dict:
    """The hourglasses' parameters, shrunk."""
    values = Params().model_dump(mode="json", by_alias=True)
    values["model"]["width"] = 2
    for stage in ("train_normal", "train_depth", "train_hdnet"):
        values[stage] |= {"steps": 6, "batch_size": 2}
    values["train_hdnet"]["pairs_per_step"] = 1
    values["correspond"] |= {"partners": 2, "min_matches": 8, "min_parts": 3}
    values["runtime"] |= {"precision": "32", "log_every": 1, "panel_every": 3, "checkpoint_every": 2, "device": "cpu"}
    return values


@pytest.fixture(scope="session")
def raw_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    work = Workspace(tmp_path_factory.mktemp("workspace"))
    write_raw(work)
    return work


@pytest.fixture(scope="session")
def trained_data(raw_workspace: Workspace) -> Workspace:
    """Everything that the training stages read: packed data, a normal estimator's predictions, correspondences."""
    from pipelines.correspond import correspond
    from pipelines.pack import pack
    from pipelines.predict_normals import predict_normals
    from pipelines.train_depth import train_depth
    from pipelines.train_normal import train_normal

    params = parse_section(Params, tiny_values(), "tiny")
    pack(raw_workspace, params)
    train_normal(raw_workspace, params)
    predict_normals(raw_workspace, params)
    correspond(raw_workspace, params)
    train_depth(raw_workspace, params)
    return raw_workspace
