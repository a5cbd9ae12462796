"""What the services of the benchmarks serve and are asked: models, and pictures of made-up figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from inference import made_up, photograph
from service_clients import Upload, upload

from hdnet.models.weights import save_hdnet
from hdnet.predict.inference import load_source


def add_model(verb: argparse.ArgumentParser, width: int) -> None:
    """``--model`` and ``--width``; :func:`model_file` reads them."""
    verb.add_argument("--model", help="registry URI, folder or safetensors file (default: made-up weights)")
    verb.add_argument("--width", type=int, default=width, help=f"of made-up networks (default: {width})")


def add_size(verb: argparse.ArgumentParser, size: Sequence[int]) -> None:
    """``--size`` of the photographs."""
    text = f"height and width of the photographs (default: {size[0]} {size[1]})"
    verb.add_argument("--size", type=int, nargs=2, default=tuple(size), help=text)


def model_file(arguments: argparse.Namespace, folder: Path) -> Path:
    """The model as a file of ``folder``."""
    model = load_source(arguments.model)[0] if arguments.model else made_up(arguments.width)
    path = folder / "model" / "hdnet.safetensors"
    save_hdnet(path, model, {})
    return path


def model_name(arguments: argparse.Namespace) -> str:
    """For titles."""
    return str(arguments.model or f"made-up weights of width {arguments.width}")


def figures(count: int, size: Sequence[int], accept: str = "application/json") -> list[Upload]:
    """Requests with different figures."""
    height, width = size
    return [upload(f"figure-{number}", *photograph(height, width, number), accept=accept) for number in range(count)]


def print_row(*cells: object) -> None:
    """A line of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_head(*cells: str) -> None:
    """The first lines of a table: the first column is text, the others are numbers."""
    print()
    print_row(*cells)
    print(f"|---|{'---:|' * (len(cells) - 1)}")
