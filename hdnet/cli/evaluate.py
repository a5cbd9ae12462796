"""``hdnet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hdnet.cli.commands import Arguments, add_tracking, add_verb, add_workspace, open_run, say, workspace
from hdnet.errors import InputError
from hdnet.workspace import Workspace

_OPTIONS = "--model, --data and --sequences"


def add_evaluation_verbs(verbs: Any) -> None:
    """Declares them among the subparsers ``verbs``."""
    text = "a model and three baselines on labelled people; without options the workspace's own (stage `evaluate`)"
    verb = add_verb(verbs, "evaluate", text, _evaluate)
    verb.add_argument("--model", metavar="SOURCE", help="registry URI, runs:/ID, folder or safetensors file")
    verb.add_argument("--data", type=Path, help="labelled people: a Tang_data folder, or one that `data pack` wrote")
    verb.add_argument("--out", type=Path, help="folder for the results of --model, --data, --sequences")
    verb.add_argument("--sequences", type=Path, help="dances to measure on as well: tiktok_data, or packed frames")
    verb.add_argument("--pairs", type=Path, help="their matches (default: those in --sequences, or new ones)")
    verb.add_argument("--device", default="cpu", help="PyTorch device for these (default: cpu)")
    add_workspace(verb)
    add_tracking(verb)


def _evaluate(arguments: Arguments) -> None:
    if arguments.pairs is not None and arguments.sequences is None:
        raise InputError("--pairs belongs to --sequences: they are matches between its frames")
    if arguments.model is None and arguments.data is None and arguments.sequences is None:
        if arguments.out is not None:
            raise InputError(f"--out belongs to {_OPTIONS}; the workspace's own goes to reports/evaluate")
        say(_stage(arguments))
    else:
        say(_anything(arguments))


def _stage(arguments: Arguments) -> str:
    from pipelines.evaluate import evaluate

    work, params = workspace(arguments)
    evaluate(work, params, open_run(arguments))
    return _tables(work.report("evaluate"), with_sequences=True)


def _anything(arguments: Arguments) -> str:
    from hdnet.evaluation.run import evaluate_to_folder

    if arguments.out is None:
        raise InputError(f"{_OPTIONS} need --out, a folder for the results: reports/evaluate is the stage's own")
    work = Workspace(arguments.root)
    source, data = arguments.model or str(work.hdnet_model), arguments.data or work.heldout
    dances = {"sequences": arguments.sequences, "pairs": arguments.pairs}
    evaluate_to_folder(source, data, arguments.out, open_run(arguments), arguments.device, progress=True, **dances)
    return _tables(arguments.out, with_sequences=arguments.sequences is not None)


def _tables(folder: Path, with_sequences: bool) -> str:
    from hdnet.evaluation.writing import SEQUENCES_TABLE_FILE
    from hdnet.tracking.tracker import TABLE_FILE

    files = (TABLE_FILE, SEQUENCES_TABLE_FILE) if with_sequences else (TABLE_FILE,)
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in files)
