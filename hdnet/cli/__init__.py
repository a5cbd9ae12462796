"""``hdnet``: the pipeline's verbs for people who do not want DVC, and prediction for one picture."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdnet import __version__
from hdnet.cli.commands import Arguments, add_tracking, add_workspace, open_run, workspace
from hdnet.cli.commands import add_verb as _add
from hdnet.cli.commands import say as _say
from hdnet.cli.compare import add_comparison_verbs
from hdnet.cli.data import add_data_verbs
from hdnet.cli.evaluate import add_evaluation_verbs
from hdnet.cli.registry import add_registry_verbs
from hdnet.cli.serving import add_serving_verbs
from hdnet.cli.tune import add_tuning_verbs
from hdnet.errors import run_command

# Imports of the rooms stand inside the commands: `hdnet --help` should not wait for torch.


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the ``hdnet`` command."""
    arguments = _parser().parse_args(argv)
    run_command(lambda: arguments.command(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hdnet", description=__doc__)
    parser.add_argument("--version", action="version", version=f"hdnet {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    data = verbs.add_parser("data", help="make, check, pack and match data").add_subparsers(
        required=True, metavar="VERB"
    )
    add_data_verbs(data)
    params = verbs.add_parser("params", help="presets and overlays of params.yaml").add_subparsers(
        required=True, metavar="VERB"
    )
    _add_params_verbs(params)

    train = verbs.add_parser("train", help="train one stage in a workspace").add_subparsers(
        required=True, metavar="STAGE"
    )
    for stage in ("normal", "depth", "hdnet"):
        verb = _add(train, stage, f"stage `train_{stage}`", _train)
        add_workspace(verb)
        add_tracking(verb)
        _add_runtime(verb)
        verb.set_defaults(stage=f"train_{stage}")

    verb = _add(verbs, "predict-normals", "pseudo-normals of the unlabelled frames", _predict_normals)
    add_workspace(verb)
    add_tracking(verb)
    add_tuning_verbs(verbs)
    add_evaluation_verbs(verbs)
    add_comparison_verbs(verbs)
    add_registry_verbs(verbs)

    verb = _add(verbs, "import-tf", "the original's TensorFlow 1 checkpoints as a model file", _import_tf)
    verb.add_argument("checkpoint", type=Path, nargs="+", help="normal or depth network, or one of each")
    verb.add_argument("--out", type=Path, required=True, help="safetensors file to write")

    verb = _add(verbs, "plot-convergence", "loss curves of one or more runs as a picture", _plot_convergence)
    verb.add_argument("curves", type=Path, nargs="+", help="curves.csv of a stage")
    verb.add_argument("--out", type=Path, required=True, help="PNG to write")

    verb = _add(verbs, "predict", "depth, normals and mesh of one picture", _predict)
    verb.add_argument("image", type=Path)
    verb.add_argument("--mask", type=Path, help="person mask, white on black (default: the picture's alpha channel)")
    verb.add_argument("--densepose", type=Path, required=True, help="DensePose IUV as PNG, channels V, U, I")
    verb.add_argument("--out", type=Path, required=True, help="folder for the results")
    verb.add_argument("--model", default="models:/hdnet@champion", help="registry URI, folder or safetensors file")
    verb.add_argument(
        "--format",
        choices=("metric", "original"),
        default="metric",
        help="metric (default): in metres, in the picture's camera; original: the original's six files, 256 x 256 only",
    )

    add_serving_verbs(verbs)
    return parser


def _add_params_verbs(params: Any) -> None:
    _add(params, "list", "the presets that come with the package", _params_list)
    verb = _add(params, "show", "params.yaml, or what it would be with a preset or overlay", _params_show)
    verb.add_argument("overlay", nargs="?", help="preset, or a YAML file with the keys that differ")
    verb.add_argument("--params", type=Path, default=Path("params.yaml"))
    verb = _add(params, "apply", "merge a preset or overlay into params.yaml", _params_apply)
    verb.add_argument("overlay", help="preset, or a YAML file with the keys that differ")
    verb.add_argument("--params", type=Path, default=Path("params.yaml"))


def _params_list(_: Arguments) -> None:
    from hdnet.params.overlay import presets

    described = presets()
    width = max(map(len, described))
    for name, description in described.items():
        _say(f"{name:<{width}}  {description}")


def _params_show(arguments: Arguments) -> None:
    from hdnet.params.overlay import merge_overlay, read_overlay

    overlay = read_overlay(arguments.overlay) if arguments.overlay else {}
    _say(merge_overlay(arguments.params, overlay, str(arguments.overlay))[0].rstrip("\n"))


def _params_apply(arguments: Arguments) -> None:
    from hdnet.params.overlay import apply_overlay, change_table, read_overlay

    changes = apply_overlay(arguments.params, read_overlay(arguments.overlay), arguments.overlay)
    if not changes:
        _say(f"{arguments.params}: is already as {arguments.overlay} says")
        return
    keys = "1 key" if len(changes) == 1 else f"{len(changes)} keys"
    _say(f"{arguments.params}: {keys} changed by {arguments.overlay}\n{change_table(changes)}")


def _add_runtime(verb: argparse.ArgumentParser) -> None:
    """Flags for what differs from machine to machine; without them params.yaml says it."""
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), help="instead of runtime.device")
    verb.add_argument("--devices", type=_count_or_auto, metavar="N", help="instead of runtime.devices; or `auto`")
    verb.add_argument("--nodes", type=int, metavar="N", help="instead of runtime.nodes")
    verb.add_argument("--precision", choices=("auto", "32", "bf16", "64"), help="instead of runtime.precision")


def _count_or_auto(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


def _train(arguments: Arguments) -> None:
    from hdnet.params import with_runtime
    from pipelines.train_depth import train_depth
    from pipelines.train_hdnet import train_hdnet
    from pipelines.train_normal import train_normal

    work, params = workspace(arguments)
    given = {key: getattr(arguments, key) for key in ("device", "devices", "nodes", "precision")}
    params = with_runtime(params, {key: value for key, value in given.items() if value is not None})
    stages = {"train_normal": train_normal, "train_depth": train_depth, "train_hdnet": train_hdnet}
    stages[arguments.stage](work, params, open_run(arguments))


def _predict_normals(arguments: Arguments) -> None:
    from pipelines.predict_normals import predict_normals

    predict_normals(*workspace(arguments), open_run(arguments))


def _import_tf(arguments: Arguments) -> None:
    from hdnet.models.tensorflow import import_checkpoints

    _say(json.dumps(import_checkpoints(arguments.checkpoint, arguments.out)))


def _plot_convergence(arguments: Arguments) -> None:
    from hdnet.visualize import plot_convergence

    plot_convergence(arguments.curves, arguments.out)
    _say(str(arguments.out))


def _predict(arguments: Arguments) -> None:
    from hdnet.pictures.checks import read_pictures
    from hdnet.predict.inference import Predictor
    from hdnet.predict.original_outputs import save_original
    from hdnet.predict.prediction import save_prediction

    image, mask, iuv = read_pictures(arguments.image, arguments.mask, arguments.densepose)
    predictor = Predictor.load(arguments.model)
    if arguments.format == "original":
        # The original takes NAME_img.png and calls its results NAME.
        maps, name = predictor.original_maps(image, mask, iuv), arguments.image.stem.removesuffix("_img")
        files = save_original(maps, arguments.out, name)
    else:
        files = save_prediction(predictor.infer(image, mask, iuv), arguments.out)
    for path in files.values():
        _say(str(path))
