"""``hdnet``: the pipeline's verbs for people who do not want DVC, and prediction for one picture."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from hdnet import __version__
from hdnet.errors import run_command

# Help text, module below hdnet.cli, function that adds the options and returns the command. A verb's module is imported
# when the verb is chosen: `hdnet --help` does not wait for torch.
Verb = tuple[str, str, str]
Group = tuple[str, Mapping[str, Verb]]

_DATA: dict[str, Verb] = {
    "import-archive": (
        "the authors' training_data.zip, or Tang_data and tiktok_data like it",
        "importing",
        "import_archive",
    ),
    "import-tang": ("Tang et al.'s depth: the authors' Tang_data, or the raw release", "importing", "import_tang"),
    "import-tiktok": (
        "the published TikTok dataset (00001/{images,masks,densepose}/0001.png), or the authors' tiktok_data",
        "importing",
        "import_tiktok",
    ),
    "import-frames": (
        "own frames or a video with masks and DensePose maps, as one sequence",
        "importing",
        "import_frames",
    ),
    "synthesize": (
        "make synthetic dressed people in the real layout; an interrupted run goes on when it is started again",
        "data",
        "synthesize",
    ),
    "validate": ("check a Tang_data or tiktok_data folder, or the folder above them", "data", "validate"),
    "pack": ("parse a Tang_data or tiktok_data folder into memory-mapped arrays", "data", "pack"),
    "verify": ("compare a packed folder with its checksums", "data", "verify"),
    "correspond": ("match the frames of a tiktok_data folder along DensePose", "data", "correspond"),
}
_PARAMS: dict[str, Verb] = {
    "list": ("the presets that come with the package", "parameters", "list_presets"),
    "show": ("params.yaml, or what it would be with a preset or overlay", "parameters", "show"),
    "apply": ("merge a preset or overlay into params.yaml", "parameters", "apply"),
}
_TRAIN: dict[str, Verb] = {
    "normal": ("stage `train_normal`", "training", "train_normal"),
    "depth": ("stage `train_depth`", "training", "train_depth"),
    "hdnet": ("stage `train_hdnet`", "training", "train_hdnet"),
}
VERBS: dict[str, Verb | Group] = {
    "data": ("make, check, pack and match data", _DATA),
    "params": ("presets and overlays of params.yaml", _PARAMS),
    "train": ("train one stage in a workspace", _TRAIN),
    "predict-normals": ("pseudo-normals of the unlabelled frames", "training", "predict_normals"),
    "tune": ("search for better training parameters: an Optuna study", "tuning", "tune"),
    "evaluate": (
        "a model and three baselines on labelled people; without options the workspace's own (stage `evaluate`)",
        "evaluation",
        "evaluate",
    ),
    "compare": ("models or runs on the same people: differences and their confidence", "evaluation", "compare"),
    "register": ("the evaluated model as a version of the MLflow registry", "registry", "register"),
    "promote": ("the challenger becomes the champion, if it is better", "registry", "promote"),
    "rollback": ("the champion before serves again", "registry", "rollback"),
    "lineage": (
        "what a version was made from, or which versions were made from something",
        "registry",
        "lineage",
    ),
    "deliver": ("to MLflow what waits because it could not be reached", "registry", "deliver"),
    "import-tf": ("the original's TensorFlow 1 checkpoints as a model file", "prediction", "import_tf"),
    "plot-convergence": ("loss curves of one or more runs as a picture", "prediction", "plot_convergence"),
    "predict": ("depth, normals and mesh of photographs", "predict", "predict"),
    "video": ("depth, normals and meshes of one person in a video, stable over time", "video", "video"),
    "serve": ("POST /depth over HTTP", "prediction", "serve"),
    "export": ("a model for other programs, compared with ours before it is kept", "prediction", "export"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the ``hdnet`` command."""
    words = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="hdnet", description=__doc__)
    parser.add_argument("--version", action="version", version=f"hdnet {__version__}")
    _add_verbs(parser, "VERB", VERBS, words)
    arguments = parser.parse_args(words)
    run_command(lambda: arguments.command(arguments))


def _add_verbs(parser: argparse.ArgumentParser, metavar: str, verbs: Mapping[str, Any], words: Sequence[str]) -> None:
    """Declare all verbs, and the options of the chosen one: the first word, or None."""
    subparsers = parser.add_subparsers(required=True, metavar=metavar)
    for name, (text, *place) in verbs.items():
        rest = words[1:] if words[:1] == [name] else None
        if len(place) == 1:
            group = subparsers.add_parser(name, help=text)
            _add_verbs(group, "STAGE" if name == "train" else "VERB", place[0], rest or [])
            continue
        verb = subparsers.add_parser(name, help=text, description=text)
        if rest is not None:
            module, function = place
            verb.set_defaults(command=getattr(import_module(f"hdnet.cli.{module}"), function)(verb))
