"""``hdnet data synthesize``: synthetic dressed people of a named size, or of any."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdnet.cli.commands import Arguments, add_jobs, add_verb, say

if TYPE_CHECKING:
    from hdnet.synthetic import SyntheticSpec

_HELP = """make synthetic dressed people in the real layout; an interrupted run goes on when it is started again"""


def add_synthesize_verb(data: Any) -> None:
    """Adds the verb to the subparsers of ``hdnet data``."""
    verb = add_verb(data, "synthesize", _HELP, _synthesize)
    verb.add_argument("--out", type=Path, required=True, help="gets Tang_data and tiktok_data")
    verb.add_argument("--size", choices=("demo", "standard", "large"), help="how much, as the presets of that name")
    verb.add_argument("--people", type=int, help="labelled pictures, instead of the size's")
    verb.add_argument("--sequences", type=int, help="unlabelled sequences, instead of the size's")
    verb.add_argument("--frames", dest="frames_per_sequence", type=int, help="frames a sequence")
    verb.add_argument("--stride", type=int, help="thirtieths of a second from one frame to the next (default: 4)")
    verb.add_argument("--camera", choices=("centred", "reference"), default="centred")
    verb.add_argument("--focal-px", type=float, nargs=2, metavar=("LOW", "HIGH"), help="at 256 x 256 pixels")
    verb.add_argument("--masks", choices=("exact", "segmenter"), default="exact")
    verb.add_argument("--iuv", choices=("exact", "densepose"), default="exact")
    verb.add_argument("--truncated", type=float, metavar="SHARE", help="pictures that the border cuts (0..1)")
    verb.add_argument("--occluded", type=float, metavar="SHARE", help="pictures with furniture in front (0..1)")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument(
        "--contact-sheet", type=Path, metavar="FILE", help="PNG of the first people; film strips beside it"
    )
    add_jobs(verb)


def _synthesize(arguments: Arguments) -> None:
    from hdnet.synthetic import synthesize
    from hdnet.synthetic.raw import contact_sheets, progress_bar

    with progress_bar("synthesize") as progress:
        counts = synthesize(arguments.out, _spec(arguments), arguments.jobs, progress)
    if arguments.contact_sheet:
        _save_sheets(contact_sheets(arguments.out), arguments.contact_sheet)
    say(json.dumps(asdict(counts)))


def _spec(arguments: Arguments) -> SyntheticSpec:
    """The size's amounts; without a size those that are given, and the demo's if none is."""
    from hdnet.params import parse_section
    from hdnet.params.overlay import preset_params
    from hdnet.synthetic import SyntheticSpec

    size = preset_params(arguments.size or "demo").data
    values = size.model_dump(include=set(SyntheticSpec.model_fields))
    # Whatever the size, people are cut and hidden as often as in `standard`; the demo's short trainings see fewer such.
    values |= preset_params("standard").data.model_dump(include={"truncated", "occluded"})
    if not arguments.size and (arguments.people is not None or arguments.sequences is not None):
        values |= {"people": 0, "sequences": 0}
    given = {name: getattr(arguments, name) for name in SyntheticSpec.model_fields}
    values |= {name: value for name, value in given.items() if value is not None}
    return parse_section(SyntheticSpec, values, "synthesize")


def _save_sheets(sheets: dict[str, Any], file: Path) -> None:
    """The people's sheet as ``file``, the film strips as ``NAME-sequences.png``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    for name, sheet in sheets.items():
        sheet.save(file if name == "contact_sheet.png" else file.with_name(f"{file.stem}-sequences.png"), format="PNG")
