"""Verbs that need no workspace: ``export``, ``import-tf``, ``plot-convergence``, ``serve``."""

from __future__ import annotations

import json
from pathlib import Path

from hdnet.cli.commands import CHAMPION, MODEL_HELP, Arguments, Command, Parser, say
from hdnet.errors import ModelError
from hdnet.models.tensorflow import import_checkpoints
from hdnet.predict.export import export_halved, export_model
from hdnet.predict.inference import load_source, model_file
from hdnet.visualize import plot_convergence as plot_curves


def export(verb: Parser) -> Command:
    """``export``."""
    verb.add_argument(
        "--format",
        choices=("onnx", "openvino", "safetensors"),
        default="onnx",
        help="default: onnx; safetensors: our own, with weights in half precision",
    )
    verb.add_argument("--model", default=CHAMPION, help=MODEL_HELP)
    verb.add_argument(
        "--out", type=Path, required=True, help="file to write: .onnx, .xml for openvino, or .safetensors"
    )
    verb.add_argument("--mean-with", metavar="MODEL", help="with safetensors: the mean of the weights of both models")
    return _export


def import_tf(verb: Parser) -> Command:
    """``import-tf``."""
    verb.add_argument("checkpoint", type=Path, nargs="+", help="normal or depth network, or one of each")
    verb.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    return lambda arguments: say(json.dumps(import_checkpoints(arguments.checkpoint, arguments.out)))


def plot_convergence(verb: Parser) -> Command:
    """``plot-convergence``."""
    verb.add_argument("curves", type=Path, nargs="+", help="curves.csv of a stage")
    verb.add_argument("--out", type=Path, required=True, help="PNG to write")
    return _plot_convergence


def serve(verb: Parser) -> Command:
    """``serve``."""
    verb.add_argument("--host")
    verb.add_argument("--port", type=int)
    verb.add_argument("--model", dest="model_uri", metavar="MODEL", help=MODEL_HELP)
    return _serve


def _export(arguments: Arguments) -> None:
    if arguments.format == "safetensors":
        other = arguments.mean_with and model_file(arguments.mean_with)[0]
        files, worst = [arguments.out], export_halved(model_file(arguments.model)[0], arguments.out, other)
    elif arguments.mean_with:
        raise ModelError(f"--mean-with goes with --format safetensors, found {arguments.format}")
    else:
        files, worst = export_model(*load_source(arguments.model), arguments.format, arguments.out)
    for path in files:
        say(str(path))
    say(f"differs from PyTorch by {worst.depth_mm:.2g} mm and {worst.normal_deg:.2g} deg at most")


def _plot_convergence(arguments: Arguments) -> None:
    plot_curves(arguments.curves, arguments.out)
    say(str(arguments.out))


def _serve(arguments: Arguments) -> None:
    # The service's packages are optional.
    from serving.app import run
    from serving.settings import read_settings

    given = {name: getattr(arguments, name) for name in ("host", "port", "model_uri")}
    run(read_settings(**{name: value for name, value in given.items() if value is not None}))
