"""``hdnet``: the pipeline's verbs for people who do not want DVC, and prediction for one picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hdnet import __version__
from hdnet.commands import run_command
from hdnet.errors import InputError
from hdnet.params import Params, load_params
from hdnet.workspace import Workspace

# Imports of the rooms stand inside the commands: `hdnet --help` should not wait for torch.

Arguments = argparse.Namespace


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
    _add_data_verbs(data)

    train = verbs.add_parser("train", help="train one stage in a workspace").add_subparsers(
        required=True, metavar="STAGE"
    )
    for stage in ("normal", "depth", "hdnet"):
        verb = _add(train, stage, f"stage `train_{stage}`", _train)
        _add_workspace(verb)
        _add_tracking(verb)
        verb.set_defaults(stage=f"train_{stage}")

    verb = _add(verbs, "predict-normals", "pseudo-normals of the unlabelled frames", _predict_normals)
    _add_workspace(verb)
    _add_tracking(verb)
    verb = _add(verbs, "evaluate", "the complete model and two baselines on held-out people", _evaluate)
    _add_workspace(verb)
    _add_tracking(verb)
    verb = _add(verbs, "register", "the evaluated model as a version of the MLflow registry", _register)
    _add_workspace(verb)

    verb = _add(verbs, "plot-convergence", "loss curves of one or more runs as a picture", _plot_convergence)
    verb.add_argument("curves", type=Path, nargs="+", help="curves.csv of a stage")
    verb.add_argument("--out", type=Path, required=True, help="PNG to write")

    verb = _add(verbs, "predict", "depth, normals and mesh of one picture", _predict)
    verb.add_argument("image", type=Path)
    verb.add_argument("--mask", type=Path, help="person mask, white on black (default: the picture's alpha channel)")
    verb.add_argument("--densepose", type=Path, required=True, help="DensePose IUV as PNG, channels V, U, I")
    verb.add_argument("--out", type=Path, required=True, help="folder for the results")
    verb.add_argument("--model", default="models:/hdnet@champion", help="registry URI, folder or safetensors file")

    verb = _add(verbs, "serve", "POST /depth over HTTP", _serve)
    verb.add_argument("--host")
    verb.add_argument("--port", type=int)
    verb.add_argument("--model", help="registry URI, folder or safetensors file")
    return parser


def _add_data_verbs(data: Any) -> None:
    verb = _add(data, "synthesize", "make synthetic dressed people in the real layout", _synthesize)
    verb.add_argument("--people", type=int, required=True)
    verb.add_argument("--sequences", type=int, default=0)
    verb.add_argument("--frames", type=int, default=12, help="frames a sequence")
    verb.add_argument("--camera", choices=("centred", "reference"), default="centred")
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--jobs", type=int, default=1)

    verb = _add(data, "validate", "check a Tang_data or tiktok_data folder", _validate)
    verb.add_argument("folder", type=Path)
    verb.add_argument("--json", type=Path, help="also write all findings here")
    verb.add_argument("--jobs", type=int, default=1)

    verb = _add(data, "pack", "parse a Tang_data or tiktok_data folder into memory-mapped arrays", _pack)
    verb.add_argument("folder", type=Path)
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--jobs", type=int, default=1)

    verb = _add(data, "correspond", "match the frames of a tiktok_data folder along DensePose", _correspond)
    verb.add_argument("folder", type=Path)
    verb.add_argument("--out", type=Path, required=True)
    verb.add_argument("--partners", type=int, default=4)
    verb.add_argument("--max-distance", type=float, default=7.0)
    verb.add_argument("--min-matches", type=int, default=50)
    verb.add_argument("--min-parts", type=int, default=5)
    verb.add_argument("--jobs", type=int, default=1)


def _add(verbs: Any, name: str, text: str, command: Callable[[Arguments], None]) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    verb.set_defaults(command=command)
    return verb


def _add_workspace(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--root", type=Path, default=Path(), help="folder that holds data/, models/, reports/")
    verb.add_argument("--params", type=Path, default=Path("params.yaml"))


def _add_tracking(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--no-mlflow", action="store_true", help="write files only")


def _workspace(arguments: Arguments) -> tuple[Workspace, Params]:
    return Workspace(arguments.root), load_params(arguments.params)


def _open_run(arguments: Arguments) -> Any:
    if arguments.no_mlflow:
        return None
    from hdnet import registry

    return registry.run


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _synthesize(arguments: Arguments) -> None:
    from hdnet.data.acquire import progress_bar
    from hdnet.data.synthetic import SyntheticSpec, synthesize

    spec = SyntheticSpec(
        people=arguments.people,
        sequences=arguments.sequences,
        frames_per_sequence=arguments.frames,
        seed=arguments.seed,
        camera=arguments.camera,
    )
    with progress_bar("synthesize", spec.people + spec.sequences) as progress:
        counts = synthesize(arguments.out, spec, arguments.jobs, progress)
    _say(json.dumps(asdict(counts)))


def _is_tang(folder: Path) -> bool:
    return (folder / "depth").is_dir()


def _validate(arguments: Arguments) -> None:
    from hdnet.data.files import write_json
    from hdnet.data.validate import validate_tang, validate_tiktok

    check = validate_tang if _is_tang(arguments.folder) else validate_tiktok
    report = check(arguments.folder, jobs=arguments.jobs, progress=True)
    if arguments.json:
        write_json(arguments.json, report.to_dict())
    for finding in report.warnings:
        _say(f"warning: {finding}")
    for finding in report.errors[1:]:
        _say(f"error: {finding}")
    report.raise_if_errors()
    _say(f"{arguments.folder}: {report.samples} samples, no errors, {len(report.warnings)} warnings")


def _pack(arguments: Arguments) -> None:
    from hdnet.data.packed import pack_tang, pack_tiktok

    pack = pack_tang if _is_tang(arguments.folder) else pack_tiktok
    pack(arguments.folder, arguments.out, progress=True, jobs=arguments.jobs)


def _correspond(arguments: Arguments) -> None:
    from hdnet.data.correspondence import match_folder
    from hdnet.data.layout import TikTokFolder

    report = match_folder(
        TikTokFolder(arguments.folder),
        arguments.out,
        arguments.partners,
        arguments.max_distance,
        arguments.min_matches,
        arguments.min_parts,
        jobs=arguments.jobs,
        progress=True,
    )
    _say(json.dumps(report))


def _train(arguments: Arguments) -> None:
    from hdnet import stages

    getattr(stages, arguments.stage)(*_workspace(arguments), _open_run(arguments))


def _predict_normals(arguments: Arguments) -> None:
    from hdnet import stages

    stages.predict_normals(*_workspace(arguments), _open_run(arguments))


def _evaluate(arguments: Arguments) -> None:
    from hdnet import stages

    work, params = _workspace(arguments)
    stages.evaluate(work, params, _open_run(arguments))
    _say((work.report("evaluate") / "table.md").read_text())


def _register(arguments: Arguments) -> None:
    from hdnet import stages

    work, params = _workspace(arguments)
    stages.register(work, params)
    _say((work.report("register") / "version.json").read_text())


def _plot_convergence(arguments: Arguments) -> None:
    from hdnet.visualize import plot_convergence

    plot_convergence(arguments.curves, arguments.out)
    _say(str(arguments.out))


def _predict(arguments: Arguments) -> None:
    from hdnet.inference import Predictor, save_prediction
    from hdnet.pictures import read_alpha, read_image, read_iuv, read_mask

    image = read_image(arguments.image)
    mask = read_mask(arguments.mask) if arguments.mask else read_alpha(arguments.image)
    if mask is None:
        raise InputError(f"{arguments.image}: has no alpha channel to tell the person apart; pass --mask")
    prediction = Predictor.load(arguments.model).infer(image, mask, read_iuv(arguments.densepose))
    for path in save_prediction(prediction, arguments.out).values():
        _say(str(path))


def _serve(arguments: Arguments) -> None:
    from serving.app import run
    from serving.settings import Settings

    given = {"host": arguments.host, "port": arguments.port, "model_uri": arguments.model}
    run(Settings(**{key: value for key, value in given.items() if value is not None}))
