"""Process that decodes damaged pictures; its parent sees which of them kills it."""

from __future__ import annotations

import io
import logging
import resource
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from fuzz_files import demanding_seeds, densepose_seeds, image_seeds, mask_seeds, mutate, sample_seeds
from PIL import Image

from hdnet.errors import InputError, ModelError
from hdnet.geometry import Camera
from hdnet.models.identity import ModelIdentity
from hdnet.pictures import faults
from hdnet.pictures.checks import Pictures, check_pictures
from hdnet.predict.prediction import Prediction
from serving.app import create_app
from serving.decoding import decode_parts
from serving.forms import CameraFields, Parts
from serving.responses import ENCODERS
from serving.settings import Settings

_PARTS = ("image", "mask", "densepose")
_SAMPLE_SHARE = 0.02  # of cases that damage the page's sample, which is large
_DEMANDING_SHARE = 0.1  # of damaged parts whose file asks for too much from the start


@dataclass(frozen=True)
class Answer:
    """Answer to a case at one of the two entries.

    Attributes:
        entry: "decode_parts" or "POST /depth".
        status: HTTP status; for decode_parts 200 where it returns, 422 for an InputError, 500 for other errors.
        code: The problem's; "ok" where there is none.
        detail: Text of an unexpected error.
    """

    entry: str
    status: int
    code: str
    detail: str = ""


@dataclass(frozen=True)
class Case:
    """One request."""

    name: str
    files: dict[str, bytes]
    accept: str


class Cases:
    """All cases of a seed, each of which depends on its number alone.

    Args:
        seed: Of the random numbers.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._seeds = {"image": image_seeds(), "mask": mask_seeds(), "densepose": densepose_seeds()}
        self._plain = {"image": "rgb.png", "mask": "grey.png", "densepose": "rgb.png"}
        self._demanding = demanding_seeds()
        self._sample = sample_seeds()

    def make(self, number: int) -> Case:
        """A request with one damaged part, every tenth time with several."""
        rng = np.random.default_rng([self._seed, number])
        damaged = [str(rng.choice(_PARTS, p=[0.5, 0.25, 0.25]))]
        if rng.random() < 0.1:
            damaged = list(_PARTS)
        accept = str(rng.choice(list(ENCODERS)))
        if rng.random() < _SAMPLE_SHARE:
            files = {part: mutate(rng, data) if part in damaged else data for part, data in self._sample.items()}
            return Case(f"sample {'+'.join(damaged)}", files, accept)
        chosen = {part: (name, self._seeds[part][name]) for part, name in self._plain.items()}
        chosen |= {part: self._choose(rng, part) for part in damaged}
        files = {part: mutate(rng, data) if part in damaged else data for part, (_, data) in chosen.items()}
        if rng.random() < 0.1:
            del files["mask"]  # the image's transparency counts then
        return Case("+".join(f"{part} {chosen[part][0]}" for part in damaged), files, accept)

    def _choose(self, rng: np.random.Generator, part: str) -> tuple[str, bytes]:
        seeds = self._demanding if rng.random() < _DEMANDING_SHARE else self._seeds[part]
        return list(seeds.items())[int(rng.integers(len(seeds)))]


class Plane:
    """A predictor whose depth is 4 m all over the mask: the tested code runs before it."""

    runtime = SimpleNamespace(name="plane")
    finds_people = False

    def check(self, image: np.ndarray, mask: np.ndarray | None, iuv: np.ndarray | None) -> Pictures:
        """Needs mask and map, as two hourglasses do."""
        if iuv is None:
            raise faults.MISSING_DENSEPOSE.error()
        return check_pictures(image, mask, iuv)

    def prepare(self, pictures: Pictures, camera: Camera | None = None, **_: object) -> SimpleNamespace:
        """The pictures themselves."""
        return SimpleNamespace(**vars(pictures), camera=camera or Camera.centred(314.0, len(pictures.image)))

    def run(self, prepared: list[SimpleNamespace]) -> list[np.ndarray]:
        """(H, W) depths."""
        return [np.where(one.mask, 4.0, 0.0).astype(np.float32) for one in prepared]

    def finish(self, prepared: SimpleNamespace, outputs: np.ndarray) -> Prediction:
        """With normals that face the camera."""
        normals = prepared.mask[..., None] * np.array([0, 0, -1], np.float32)
        return Prediction(outputs, normals, prepared.mask, prepared.image, prepared.camera, None)


class PlaneSource:
    """A source with the plane as its only model."""

    uri = name = "plane"
    origin, has_fallback, measures = "file", False, False

    def resolve(self) -> None:
        """No version."""

    def load(self) -> tuple[Any, None]:
        """The plane."""
        return Plane(), None

    def keep(self, identity: ModelIdentity) -> None:
        """Keeps nothing."""

    def load_last_good(self) -> None:
        """Has none."""

    def load_shipped(self, measured: bool = False) -> Any:  # noqa: ARG002 - as of the sources
        """Has none.

        Raises:
            ModelError: Always.
        """
        raise ModelError("the plane is the only model")


def work(connection: Connection, seed: int, first: int, end: int, memory_mb: int) -> None:
    """Send the number of each case before it, and its answers, peak memory in MB and seconds after it."""
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # Pillow warns of pictures that the service refuses afterwards
    cases = Cases(seed)
    with service() as client:
        _limit_memory(memory_mb)
        for number in range(first, end):
            connection.send(number)
            case = cases.make(number)
            started = time.perf_counter()
            answers = [decode(case, client.app.state.service.settings.max_pixels), post(client, case)]
            connection.send((case.name, answers, _peak_mb(), time.perf_counter() - started))
    connection.send(None)


@contextmanager
def service() -> Iterator[TestClient]:
    """The service in this process, ready."""
    app = create_app(Settings(model_uri="plane", queue_size=2, max_body_mb=64.0), PlaneSource())
    with TestClient(app, raise_server_exceptions=False) as client:
        while client.get("/health/ready").status_code != 200:
            time.sleep(0.01)
        yield client


def decode(case: Case, max_pixels: int) -> Answer:
    """The case at the decoding entry."""
    streams = {part: io.BytesIO(data) for part, data in case.files.items()}
    parts = Parts(streams["image"], streams.get("mask"), streams["densepose"], "vui", CameraFields())
    try:
        given = decode_parts(parts, max_pixels).pictures
        Plane().check(given.image, given.mask, given.iuv)
    except InputError as error:
        return Answer("decode_parts", 422, error.code)
    except Exception as error:  # noqa: BLE001 - unexpected errors are what is looked for
        return Answer("decode_parts", 500, "uncaught", f"{type(error).__name__}: {error}")
    return Answer("decode_parts", 200, "ok")


def post(client: TestClient, case: Case) -> Answer:
    """The case as a request."""
    files = {part: (part, data, "application/octet-stream") for part, data in case.files.items()}
    response = client.post("/depth", files=files, headers={"Accept": case.accept})
    code = response.headers.get("X-Problem-Code", "ok" if response.status_code == 200 else "none")
    detail = response.text if response.status_code >= 500 else ""
    return Answer("POST /depth", response.status_code, code, detail)


def _limit_memory(memory_mb: int) -> None:
    """Limit the process to twice the allowed memory, before the machine runs out of it."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * memory_mb * 1_000_000, resource.RLIM_INFINITY))


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


Image.init()  # the memory of Pillow's plugins belongs to no case
