"""Verbs that need no workspace: ``predict``, ``export``, ``import-tf``, ``plot-convergence``, ``serve``."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from hdnet.cli.commands import Arguments, Command, Parser, say
from hdnet.models.identity import SHIPPED_SOURCE
from hdnet.models.tensorflow import import_checkpoints
from hdnet.pictures import faults
from hdnet.pictures.checks import read_photo, read_pictures
from hdnet.predict.export import export_halved, export_model
from hdnet.predict.inference import Predictor, load_source, model_file
from hdnet.predict.original_outputs import save_original
from hdnet.predict.prediction import save_prediction
from hdnet.visualize import plot_convergence as plot_curves

logger = logging.getLogger(__name__)

_CHAMPION = "models:/hdnet@champion"
_SOURCE = "registry URI, folder, safetensors file, or `shipped`, the model for photographs of the package"


def predict(verb: Parser) -> Command:
    """``predict``."""
    verb.add_argument("image", type=Path)
    verb.add_argument(
        "--mask",
        type=Path,
        help="person mask, white on black (default: the picture's alpha channel, or what the model finds)",
    )
    verb.add_argument(
        "--densepose", type=Path, help="DensePose IUV as PNG, channels V, U, I; models for photographs need none"
    )
    verb.add_argument("--out", type=Path, required=True, help="folder for the results")
    verb.add_argument("--model", help=f"{_SOURCE} (default: {_CHAMPION} where there is a registry, else shipped)")
    verb.add_argument(
        "--format",
        choices=("metric", "original"),
        default="metric",
        help="metric (default): in metres, in the picture's camera; original: the original's six files, 256 x 256 only",
    )
    return _predict


def export(verb: Parser) -> Command:
    """``export``."""
    verb.add_argument(
        "--format",
        choices=("onnx", "openvino", "safetensors"),
        default="onnx",
        help="default: onnx; safetensors: our own, with weights in half precision",
    )
    verb.add_argument("--model", default=_CHAMPION, help=_SOURCE)
    verb.add_argument(
        "--out", type=Path, required=True, help="file to write: .onnx, .xml for openvino, or .safetensors"
    )
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
    verb.add_argument("--model", dest="model_uri", metavar="MODEL", help=_SOURCE)
    return _serve


def _predict(arguments: Arguments) -> None:
    predictor = Predictor.load(arguments.model or _usual_source())
    iuv = None
    if predictor.finds_people:
        image, mask = read_photo(arguments.image, arguments.mask)
    elif arguments.densepose is None:
        raise faults.MISSING_DENSEPOSE.error()
    else:
        image, mask, iuv = read_pictures(arguments.image, arguments.mask, arguments.densepose)
    if arguments.format == "original":
        # The original takes NAME_img.png and calls its results NAME.
        maps, name = predictor.original_maps(image, mask, iuv), arguments.image.stem.removesuffix("_img")
        files = save_original(maps, arguments.out, name)
    else:
        files = save_prediction(predictor.infer(image, mask, iuv), arguments.out)
    for path in files.values():
        say(str(path))


def _usual_source() -> str:
    """The champion where a registry is named or lies in this folder; the shipped model needs neither."""
    has_registry = "MLFLOW_TRACKING_URI" in os.environ or Path("mlflow.db").exists()
    source = _CHAMPION if has_registry else SHIPPED_SOURCE
    logger.info("model: %s", source)
    return source


def _export(arguments: Arguments) -> None:
    if arguments.format == "safetensors":
        files, worst = [arguments.out], export_halved(model_file(arguments.model)[0], arguments.out)
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
