"""Times the steps of `POST /depth` around the networks, one thread, and prints a Markdown table.

    python benchmarks/request.py                          # a made-up JPEG of 1080 x 1920
    python benchmarks/request.py --against v1.2           # beside an earlier commit of git's history, in turns
    python benchmarks/request.py --image a.jpg --mask a_mask.png --densepose a_iuv.png

The networks are replaced by fixed outputs. Indented steps are parts of the step above them. "Over HTTP" is the whole
request on loopback, client included. Figures are processor time, which other programs hardly change.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

# Before torch is imported, which reads them once. One thread: a service on one core.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

import httpx2
import numpy as np
import uvicorn
from inference import Request, made_up, print_head, print_row
from PIL import Image
from prometheus_client import CollectorRegistry
from scipy import ndimage
from service_clients import upload

from hdnet.errors import HDNetError, run_command
from hdnet.pictures.cameras import caller_camera
from hdnet.pictures.checks import check_pictures
from hdnet.pictures.crop import NETWORK_SIZE
from hdnet.pictures.reading import decode_image, decode_iuv, decode_mask
from hdnet.predict.inference import Predictor
from hdnet.predict.runtimes.probes import probe_inputs
from serving.app import create_app
from serving.drift import Drift
from serving.responses import ENCODERS, GLB, JSON, NPZ, PNG, Answer, depth_png, normals_png
from serving.schemas import InputsBody
from serving.settings import Settings

REPOSITORY = Path(__file__).parents[1]
_GRAIN = 3.0  # standard deviation of a photograph's noise, in grey levels
_UNEVEN = 0.3  # of the fixed normals

Calls = dict[str, Callable[[], object]]
Times = dict[str, list[float]]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Steps of a request around the networks, as a table.")
    parser.add_argument("--image", type=Path, help="photograph (default: made up)")
    parser.add_argument("--mask", type=Path, help="its mask")
    parser.add_argument("--densepose", type=Path, help="its DensePose map, V, U, I")
    parser.add_argument("--size", type=int, nargs=2, default=(1920, 1080), help="height and width if it is made up")
    parser.add_argument("--repeats", type=int, default=10, help="of each turn")
    parser.add_argument("--turns", type=int, default=3, help="processes for each commit")
    parser.add_argument("--against", metavar="COMMIT", help="also measure this commit's code, in turns")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)  # what a turn prints
    arguments = parser.parse_args()
    run_command(lambda: one_turn(arguments) if arguments.json else compare(arguments))


def compare(arguments: argparse.Namespace) -> None:
    """Measure turns of the code here and, if asked, of another commit's, and print the table."""
    with tempfile.TemporaryDirectory(prefix="hdnet-request-") as folder:
        trees = {"ms": REPOSITORY}
        if arguments.against:
            trees[f"ms at {arguments.against}"] = extracted(arguments.against, Path(folder))
        times: dict[str, Times] = {name: {} for name in trees}
        for _ in range(arguments.turns):
            for name, tree in trees.items():
                for step, found in turn_in(tree).items():
                    times[name].setdefault(step, []).extend(found)
    now, *before = times.values()
    print_head("step", *reversed(times), *(["ratio"] if before else []))
    for step in now:
        cells = [median(other.get(step, [float("nan")])) for other in (*before, now)]
        ratio = [f"{cells[0] / cells[1]:.1f} x"] if before else []
        print_row(step, *(f"{cell:.1f}" for cell in cells), *ratio)
    print(f"\nLoad of the machine at the end (its other programs included): {os.getloadavg()[0]:.1f}")


def extracted(commit: str, folder: Path) -> Path:
    """The files of a commit.

    Raises:
        HDNetError: If git does not know it.
    """
    archive = subprocess.run(["git", "-C", str(REPOSITORY), "archive", commit], capture_output=True, check=False)
    if archive.returncode:
        raise HDNetError(f"git archive {commit}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def turn_in(tree: Path) -> Times:
    """One turn in a process of its own, with the packages and other benchmarks of that tree, but this file."""
    command = [sys.executable, "-P", "-c", "import request; request.main()", *sys.argv[1:], "--json"]
    path = os.pathsep.join(map(str, (tree, tree / "benchmarks", Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise HDNetError(f"the turn in {tree} ended with status {done.returncode}")
    times: Times = json.loads(done.stdout)
    return times


def one_turn(arguments: argparse.Namespace) -> None:
    """Print the milliseconds of every step as JSON."""
    logging.disable(logging.INFO)
    given = (arguments.image, arguments.mask, arguments.densepose)
    request = Request(*(file.read_bytes() for file in given)) if all(given) else portrait(*arguments.size)
    predictor = Predictor(made_up(2))
    calls = steps(request, predictor)
    with running(predictor) as url, httpx2.Client() as http:
        sent = upload("figure", *request)

        def ask() -> None:
            http.post(f"{url}/depth", content=sent.body, headers=sent.headers).raise_for_status()

        calls["over HTTP, JSON"] = ask
        times: Times = {name: [] for name in calls}
        for repeat in range(arguments.repeats + 1):
            for name, call in calls.items():
                began = time.process_time()
                call()
                if repeat:
                    times[name].append(1e3 * (time.process_time() - began))
    print(json.dumps(times))


def steps(request: Request, predictor: Predictor) -> Calls:
    """The steps of a request, in their order; the predictor's networks are replaced by fixed outputs."""
    pictures = check_pictures(
        decode_image(request.image, "image"), decode_mask(request.mask, "mask"), decode_iuv(request.iuv, "iuv")
    )
    height, width = pictures.mask.shape
    prepared = predictor.prepare(pictures)
    predictor.runtime = FixedRuntime()
    (outputs,) = predictor.run([prepared])
    prediction = predictor.finish(prepared, outputs)
    model: Any = SimpleNamespace(identity=None, name="fixed", headers=dict)
    answer = Answer(prediction, model, "assumed", "figure", InputsBody(mask="given", densepose="given"))
    drift, mesh = Drift(CollectorRegistry()), prediction.mesh()
    return {
        "decode the JPEG": lambda: decode_image(request.image, "image"),
        "decode the mask": lambda: decode_mask(request.mask, "mask"),
        "decode the DensePose map": lambda: decode_iuv(request.iuv, "iuv"),
        "check": lambda: check_pictures(pictures.image, pictures.mask, pictures.iuv),
        "camera of EXIF": lambda: caller_camera(request.image, width, height),
        "drift": lambda: drift.observe(pictures.image, pictures.mask, pictures.iuv),
        "cut out": lambda: predictor.prepare(pictures),
        "map back": lambda: predictor.finish(prepared, outputs),
        "answer as JSON": lambda: ENCODERS[JSON](answer),
        "- PNG of the depth": lambda: depth_png(prediction),
        "- PNG of the normals": lambda: normals_png(prediction),
        "answer as PNG": lambda: ENCODERS[PNG](answer),
        "answer as NPZ": lambda: ENCODERS[NPZ](answer),
        "answer as GLB": lambda: ENCODERS[GLB](answer),
        "- file of the mesh": mesh.to_glb,
    }


class FixedRuntime:
    """Outputs of a network that needs no time: an uneven surface."""

    name = "fixed"

    def __init__(self) -> None:
        y, x = np.mgrid[:NETWORK_SIZE, :NETWORK_SIZE] / NETWORK_SIZE - 0.5
        grain = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(3, *x.shape)), (0, 2, 2))
        normals = np.stack([x, y, -np.sqrt(1 - x**2 - y**2)]) + _UNEVEN * grain
        depth_m = 4 + 0.15 * np.cos(12 * x) + 0.1 * np.sin(9 * y)
        outputs_4hw = np.concatenate([depth_m[None], normals / np.linalg.norm(normals, axis=0)])
        self._outputs_14hw = outputs_4hw[None].astype(np.float32)

    def __call__(self, inputs_b7hw: np.ndarray) -> np.ndarray:
        """See :class:`hdnet.predict.runtimes.Runtime`."""
        return np.repeat(self._outputs_14hw, len(inputs_b7hw), axis=0)


class FixedSource:
    """A model source of one predictor."""

    uri = name = "fixed"
    origin, has_fallback = "file", False

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def resolve(self) -> None:
        """No version."""

    def load(self) -> tuple[Predictor, None]:
        """The predictor."""
        return self._predictor, None

    def keep(self, identity: object) -> None:
        """Nothing is kept."""

    def list_versions(self) -> list[Any]:
        """None."""
        return []

    def load_last_good(self) -> None:
        """Nothing was kept."""


@contextmanager
def running(predictor: Predictor) -> Iterator[str]:
    """The address of a service on loopback, in a thread of this process."""
    source: Any = FixedSource(predictor)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(Settings(model_uri="fixed"), source), log_config=None))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            while not server.started or httpx2.get(f"{url}/health/ready").status_code != 200:
                time.sleep(0.05)
            yield url
        finally:
            server.should_exit = True
            thread.join()


def portrait(height: int, width: int) -> Request:
    """A made-up person of 0.8 of the height before a grainy wall, as the files of a request."""
    inputs_hw7 = probe_inputs(1)[0].transpose(1, 2, 0).astype(np.uint8)
    left = (height - width) // 2

    def enlarged(part: np.ndarray, kind: Image.Resampling) -> np.ndarray:
        whole = Image.fromarray(np.ascontiguousarray(part)).resize((height, height), kind)
        return np.asarray(whole.crop((left, 0, left + width, height)))

    nearest = Image.Resampling.NEAREST
    mask, iuv = enlarged(inputs_hw7[..., 6] * 255, nearest), enlarged(inputs_hw7[..., 5:2:-1], nearest)
    wall = np.linspace(60, 180, width)[None, :, None] * [1.0, 0.9, 0.8]
    image = np.where(mask[..., None] > 0, enlarged(inputs_hw7[..., :3], Image.Resampling.BILINEAR), wall)
    image += np.random.default_rng(0).normal(0, _GRAIN, image.shape)
    shown = image.clip(0, 255).astype(np.uint8)
    return Request(file_of(shown, "JPEG", quality=90), file_of(mask, "PNG"), file_of(iuv, "PNG"))


def file_of(pixels: np.ndarray, kind: str, **options: int) -> bytes:
    """A file as a client's program may write it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
