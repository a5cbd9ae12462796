"""``hdnet evaluate`` and ``compare``."""

from __future__ import annotations

from pathlib import Path

from hdnet.cli.commands import Arguments, Command, Parser, add_tracking, add_workspace, open_run, say, workspace
from hdnet.errors import InputError
from hdnet.evaluation.comparison import compare as compare_sources
from hdnet.evaluation.run import evaluate_to_folder
from hdnet.evaluation.writing import SEQUENCES_TABLE_FILE
from hdnet.tracking.tracker import TABLE_FILE
from hdnet.workspace import Workspace
from pipelines.evaluate import evaluate as evaluate_workspace

_OPTIONS = "--model, --data and --sequences"


def evaluate(verb: Parser) -> Command:
    """``evaluate``."""
    verb.add_argument("--model", metavar="SOURCE", help="registry URI, runs:/ID, folder or safetensors file")
    verb.add_argument("--data", type=Path, help="labelled people: a Tang_data folder, or one that `data pack` wrote")
    verb.add_argument("--out", type=Path, help="folder for the results of --model, --data, --sequences")
    verb.add_argument("--sequences", type=Path, help="dances to measure on as well: tiktok_data, or packed frames")
    verb.add_argument("--pairs", type=Path, help="their matches (default: those in --sequences, or new ones)")
    verb.add_argument("--device", default="cpu", help="PyTorch device for these (default: cpu)")
    add_workspace(verb)
    add_tracking(verb)
    return _evaluate


def compare(verb: Parser) -> Command:
    """``compare``."""
    verb.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="a model (file, folder or registry URI), a run of MLflow (its id or runs:/ID), or a report folder; the "
        "first is what the others are compared with",
    )
    verb.add_argument("--data", type=Path, help="labelled people for models (default: the workspace's held-out ones)")
    verb.add_argument("--metric", action="append", help="only this metric; may be repeated")
    verb.add_argument("--level", type=float, default=0.95, help="of the confidence intervals (default: 0.95)")
    verb.add_argument("--out", type=Path, help="folder for the table and picture (default: reports/compare)")
    verb.add_argument("--device", default="cpu", help="for models: cpu (default) or cuda")
    verb.add_argument("--root", type=Path, default=Path(), help="folder that holds data/, models/, reports/")
    add_tracking(verb)
    return _compare


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
    work, params = workspace(arguments)
    evaluate_workspace(work, params, open_run(arguments))
    return _tables(work.report("evaluate"), with_sequences=True)


def _anything(arguments: Arguments) -> str:
    if arguments.out is None:
        raise InputError(f"{_OPTIONS} need --out, a folder for the results: reports/evaluate is the stage's own")
    work = Workspace(arguments.root)
    source, data = arguments.model or str(work.hdnet_model), arguments.data or work.heldout
    dances = {"sequences": arguments.sequences, "pairs": arguments.pairs}
    evaluate_to_folder(source, data, arguments.out, open_run(arguments), arguments.device, progress=True, **dances)
    return _tables(arguments.out, with_sequences=arguments.sequences is not None)


def _tables(folder: Path, with_sequences: bool) -> str:
    files = (TABLE_FILE, SEQUENCES_TABLE_FILE) if with_sequences else (TABLE_FILE,)
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in files)


def _compare(arguments: Arguments) -> None:
    work = Workspace(arguments.root)
    out = arguments.out or work.report("compare")
    comparison = compare_sources(
        arguments.sources,
        arguments.data or work.heldout,
        out,
        arguments.metric,
        arguments.level,
        arguments.device,
        open_run(arguments),
        progress=True,
    )
    say(comparison.to_markdown())
    say(str(out / "comparison.png"))
