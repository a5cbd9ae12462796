"""A made-up model and registry, and pictures to send."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import httpx2
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from PIL import Image

from hdnet.errors import ModelError
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator
from hdnet.models.identity import ModelIdentity
from hdnet.models.weights import save_hdnet
from hdnet.pictures import faults
from hdnet.pictures.checks import Pictures, check_pictures
from hdnet.predict.prediction import Box, Prediction

URI = "models:/hdnet@champion"
Parts = dict[str, tuple[str, bytes, str]]


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def person(height: int = 60, width: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(image, mask, iuv) of an ellipse, with a gradient as its clothes."""
    y, x = np.mgrid[:height, :width]
    mask = ((x - width / 2) / (0.3 * width)) ** 2 + ((y - height / 2) / (0.4 * height)) ** 2 < 1
    image = np.stack([x * 4 % 256, y * 4 % 256, x + y], axis=-1).astype(np.uint8)
    iuv = np.where(mask[..., None], np.stack([1 + 24 * y // height, x % 256, y % 256], axis=-1), 0).astype(np.uint8)
    return image, mask, iuv


def upload(image: bytes | None = None, mask: bytes | None = None, densepose: bytes | None = None) -> Parts:
    """The form of the parts given."""
    parts = {"image": image, "mask": mask, "densepose": densepose}
    return {name: (f"{name}.png", data, "image/png") for name, data in parts.items() if data is not None}


def good_upload(height: int = 60, width: int = 40) -> Parts:
    image, mask, iuv = person(height, width)
    return upload(png(image), png(mask.astype(np.uint8) * 255), png(iuv[..., ::-1]))


@dataclass
class FakePredictor:
    """Depth and normals by formula; its networks wait for ``gate``."""

    identity: ModelIdentity | None = None
    offset_m: float = 4.0
    gate: threading.Event | None = None
    delay_s: float = 0.0
    error: Exception | None = None
    finite: bool = True
    threads: set[str] = field(default_factory=set)
    batches: list[int] = field(default_factory=list)
    runtime: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(name="fake"))
    finds_people: bool = False
    overlapping: int = 0
    running: int = 0

    def check(self, image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray | None) -> Pictures:
        """Needs mask and map, as two hourglasses do."""
        if iuv is None:
            raise faults.MISSING_DENSEPOSE.error()
        return check_pictures(image, mask, iuv)

    def prepare(
        self,
        pictures: Pictures,
        camera: Camera | None = None,
        crop: bool = True,  # noqa: ARG002 - as of the predictor
        box: Box | None = None,
        height_m: float | None = None,
    ) -> SimpleNamespace:
        if box is not None or height_m is not None:
            raise faults.FOR_PHOTOGRAPHS.error("box" if height_m is None else "height_m")
        return SimpleNamespace(**vars(pictures), camera=camera)

    def run(self, prepared: list[SimpleNamespace]) -> list[np.ndarray]:
        """Depths of the pictures' own sizes."""
        if prepared[0].image.shape != (96, 64, 3):  # not the self-check
            self.threads.add(threading.current_thread().name)
            self.running += 1
            self.overlapping = max(self.overlapping, self.running)
            self.batches.append(len(prepared))
            if self.gate is not None:
                assert self.gate.wait(10)
            time.sleep(self.delay_s)
            self.running -= 1
            if self.error is not None:
                raise self.error
        return [np.where(one.mask, self.offset_m + one.image[..., 0] / 1000.0, 0) for one in prepared]

    def finish(self, prepared: SimpleNamespace, outputs: np.ndarray) -> Prediction:
        image, mask, iuv = prepared.image, prepared.mask, prepared.iuv
        depth_m = outputs.astype(np.float32)
        if not self.finite:
            depth_m[mask] = np.nan
        angle = iuv[..., 0] / 24.0
        normals = np.stack([np.sin(angle), np.zeros_like(angle), -np.cos(angle)], axis=-1) * mask[..., None]
        camera = prepared.camera or Camera.centred(314.0, image.shape[0])
        return Prediction(depth_m, normals.astype(np.float32), mask, image, camera, self.identity)

    def infer(self, image: np.ndarray, mask: np.ndarray, iuv: np.ndarray) -> Prediction:
        prepared = self.prepare(Pictures(image, mask, iuv))
        return self.finish(prepared, self.run([prepared])[0])


class FakeRegistry:
    """An alias that points to versions of fake predictors, or to none; a source of models."""

    uri, name, origin = URI, "hdnet", "registry"

    def __init__(self) -> None:
        self.shipped: FakePredictor | None = None
        self.has_fallback = self.measures = False
        self.measured: FakePredictor | None = None
        self.versions: dict[str, FakePredictor] = {}
        self.champion: str | None = None
        self.down: Exception | None = None
        self.loads = 0
        self.kept: str | None = None  # version on disk
        self.silence = threading.Event()  # until it is set, the registry keeps its callers waiting
        self.silence.set()

    def add(self, version: str, **options: object) -> FakePredictor:
        identity = ModelIdentity("hdnet", version, "champion", f"run{version}")
        self.versions[version] = FakePredictor(identity, **options)  # type: ignore[arg-type]
        return self.versions[version]

    def resolve(self) -> ModelIdentity:
        assert self.silence.wait(10)
        if self.down is not None:
            raise self.down
        if self.champion is None:
            raise ModelError(f"{URI}: the registry has no such alias")
        return ModelIdentity("hdnet", self.champion, "champion", f"run{self.champion}")

    def load(self) -> tuple[FakePredictor, ModelIdentity]:
        self.loads += 1
        identity = self.resolve()
        return self.versions[identity.version], identity

    def keep(self, identity: ModelIdentity) -> None:
        self.kept = identity.version

    def load_last_good(self) -> tuple[FakePredictor, ModelIdentity] | None:
        if self.kept is None:
            return None
        return self.versions[self.kept], ModelIdentity("hdnet", self.kept, "champion", f"run{self.kept}")

    def list_versions(self) -> list[ModelIdentity]:
        assert self.silence.wait(10)
        if self.down is not None:
            raise self.down
        return [
            ModelIdentity("hdnet", version, "champion" if version == self.champion else None, f"run{version}")
            for version in sorted(self.versions, key=int, reverse=True)
        ]

    def load_version(self, identity: ModelIdentity) -> FakePredictor:
        self.loads += 1
        return self.versions[identity.version]

    def load_shipped(self, measured: bool = False) -> FakePredictor:
        if measured:
            assert self.measured is not None
            return self.measured
        if self.shipped is None:
            raise ModelError("the package has no model")
        return self.shipped


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.005)


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The address of a server that serves the app on a real socket, ready."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            wait_until(lambda: server.started)
            wait_until(lambda: httpx2.get(f"{url}/health/ready").status_code == 200, timeout_s=30)
            yield url
        finally:
            server.should_exit = True
            thread.join()


def save_tiny_model(path: Path, depth_m: float = 4.0) -> None:
    """A real model file: untrained networks of width 2 whose depths lie around ``depth_m``."""
    torch.manual_seed(0)
    depth_estimator = DepthEstimator(2, "unit", initial_depth_m=depth_m)
    with torch.no_grad():
        depth_estimator.head.weight.mul_(0.01)  # untrained output scatters by metres
    save_hdnet(path, HDNet(NormalEstimator(2, "unit"), depth_estimator, Camera.centred()), {})
