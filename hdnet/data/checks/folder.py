"""Checks of a whole folder: names, partner files, sequences, sizes, equal frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hdnet.data.checks.findings import Finding, Findings
from hdnet.data.layout.meta import FolderMeta, PredictedMaps
from hdnet.errors import DataError

_NETWORK_SIZE, _STRIDE = 256, 16
# DensePose uses nearly the whole of 0..255 in every picture of a person.
_MIN_LARGEST_UV = 200
_PARTNERS = {"color_WO_bg": ".png", "densepose": ".png", "mask": ".png"}
TANG_KINDS = _PARTNERS | {"depth": ".txt", "normal": "_1.txt"}
TIKTOK_KINDS = _PARTNERS


def frame_names(found: Findings, root: Path) -> list[str]:
    """Frame names of ``color_WO_bg`` in numeric order; other names and repeated numbers are an error each."""
    folder = root / "color_WO_bg"
    if not folder.is_dir():
        found.error(
            folder,
            "missing file",
            "folder is missing; expected pictures named by frame number, as 0000000.png; give the Tang_data "
            "or tiktok_data folder itself, with the person on white in color_WO_bg",
        )
        return []
    by_number: dict[int, str] = {}
    for file in sorted(folder.glob("*.png")):
        name = file.stem
        if name.startswith("."):
            continue
        if not (name.isascii() and name.isdigit()):
            found.error(
                file,
                "frame name",
                "the name is no number; expected names like 0000000.png; rename the frame in all folders",
            )
        elif int(name) in by_number:
            found.error(
                file,
                "frame name",
                f"same frame number as {by_number[int(name)]}.png; expected every number once; rename or remove "
                "one of the two in all folders",
            )
        else:
            by_number[int(name)] = name
    if not by_number:
        found.error(
            folder,
            "missing file",
            "no picture named by a number; expected PNG pictures as 0000000.png; convert and rename the "
            "pictures, or import them by `hdnet data import-frames`",
        )
    return [by_number[number] for number in sorted(by_number)]


def read_meta(found: Findings, root: Path) -> FolderMeta | None:
    """``hdnet.json``, or None after its error was added."""
    return found.attempt(root / "hdnet.json", lambda file: FolderMeta.read(file.parent))


def predicted_confidence(predicted: Mapping[str, PredictedMaps]) -> dict[str, dict[str, float | str] | float]:
    """Statistics of the frames whose mask or map a network made."""
    worst = min(predicted, key=lambda name: predicted[name].confidence)
    values = [maps.confidence for maps in predicted.values()]
    return {
        "predicted_confidence": {
            "mean": sum(values) / len(values), "min": min(values), "max": max(values), "worst": worst
        }
    }  # fmt: skip


def check_partners(found: Findings, root: Path, kinds: Mapping[str, str], names: Iterable[str]) -> None:
    """Frames of other folders that ``color_WO_bg`` lacks; reading the frames finds the reverse."""
    known = set(names)
    name_of = {int(name): name for name in known}
    for kind, ending in kinds.items():
        present = {file.name.removesuffix(ending) for file in (root / kind).glob(f"[0-9]*{ending}")}
        for name in sorted(present - known):
            # Another spelling of a frame whose own file is missing: the finding of that frame names this file.
            if name.isdigit() and int(name) in name_of and name_of[int(name)] not in present:
                continue
            found.error(
                root / "color_WO_bg" / f"{name}.png",
                "missing file",
                f"file is missing; expected a partner of {kind}/{name}{ending}; add it, or remove the other files "
                "of that frame",
            )
            known.add(name)


def with_hint(finding: Finding) -> Finding:
    """A missing file's finding, with a similar existing file in its remedy: another ending, or other leading zeros."""
    if finding.kind != "missing file":
        return finding
    file = Path(finding.file)
    stem, _, axis = file.stem.partition("_")
    if not (stem.isascii() and stem.isdigit() and file.parent.is_dir()):
        return finding
    ending = f"_{axis}" if axis else ""
    beside = file.parent.glob(f"{stem}{ending}.*")
    shorter = (file.with_name(f"{int(stem):0{digits}d}{ending}{file.suffix}") for digits in range(1, 9))
    there = next((path for path in (*beside, *shorter) if path.exists() and path != file), None)
    if there is None:
        return finding
    fix = f"{there.name} is there: " + (
        "rename it" if there.suffix == file.suffix else f"convert it to {file.suffix[1:].upper()}"
    )
    return Finding(finding.file, finding.found, finding.expected, fix, finding.kind)


def check_meta(found: Findings, meta: FolderMeta, names: Sequence[str], sequences: bool) -> None:
    """Frames of ``hdnet.json`` against those with a picture, both ways, and its sequences if ``sequences``."""
    known = set(names)
    for name in names:
        try:
            meta.camera_of(name)
        except DataError:
            found.error(
                meta.file,
                "camera missing",
                f"no camera for frame {name}; expected one in cameras, or a camera for all; add it",
            )
    unused = sorted(set(meta.cameras) - known)
    if unused:
        found.warning(
            meta.file,
            "camera of no frame",
            f"cameras of {len(unused)} frames without a picture, first {unused[0]}; expected cameras of "
            "frames that are there; remove them, or restore the pictures",
        )
    if sequences and meta.sequences:
        _check_sequences(found, meta, names)


def _check_sequences(found: Findings, meta: FolderMeta, names: Sequence[str]) -> None:
    known = set(names)
    for name in sorted(set(meta.sequence_of) - known):
        found.error(
            meta.file.parent / "color_WO_bg" / f"{name}.png",
            "missing file",
            f"file is missing; expected a picture, since {meta.file.name} lists that frame in sequence "
            f"{meta.sequence_of[name]}; add it, or remove the frame from its sequence",
        )
    for name in names:
        if name not in meta.sequence_of:
            found.error(
                meta.file,
                "sequences",
                f"frame {name} is in no sequence; expected every frame in one; add it to its video's sequence",
            )
    for sequence, frames in meta.sequences.items():
        if len(frames) < 2:
            found.warning(
                meta.file,
                "sequences",
                f"sequence {sequence} has {len(frames)} frames; expected two or more; no pair can be made of it; "
                "remove it, or add its neighbours",
            )
        numbers = [int(name) for name in frames if name.isdigit()]
        if numbers != sorted(numbers):
            found.warning(
                meta.file,
                "sequences",
                f"frames of sequence {sequence} are not in the order of their numbers; expected frames in order "
                "of time; sort them: partners are the next frames of the list",
            )


def check_one_size(found: Findings, root: Path, sizes: Mapping[str, tuple[int, int]]) -> tuple[int, int] | None:
    """Check that all frames have one size that the networks take; return the usual size, None without frames."""
    if not sizes:
        return None
    usual = Counter(sizes.values()).most_common(1)[0][0]
    for name, size in sizes.items():
        if size != usual:
            found.error(
                root / "mask" / f"{name}.png",
                "size",
                f"{size[1]} x {size[0]} pixels; expected {usual[1]} x {usual[0]} as in most of the folder; crop "
                "and resize all frames to one size",
            )
    if any(side % _STRIDE for side in usual) or min(usual) < 2 * _STRIDE:
        found.error(
            root / "mask",
            "network size",
            f"{usual[1]} x {usual[0]} pixels; expected {_NETWORK_SIZE} x {_NETWORK_SIZE}, or at least "
            f"multiples of {_STRIDE}, which the networks need; import the frames by `hdnet data "
            "import-frames`, which crops them around the person",
        )
    elif set(usual) != {_NETWORK_SIZE}:
        found.warning(
            root / "mask",
            "network size",
            f"{usual[1]} x {usual[0]} pixels; expected {_NETWORK_SIZE} x {_NETWORK_SIZE}, as the original's "
            "and all published weights; fine for a training of your own at this size",
        )
    return usual


def check_same_frames(found: Findings, root: Path, digests: Mapping[str, bytes]) -> None:
    """Identical pictures: a still, or a frame copied twice."""
    first: dict[bytes, str] = {}
    for name, digest in digests.items():
        if first.setdefault(digest, name) != name:
            found.warning(
                root / "color_WO_bg" / f"{name}.png",
                "same frame",
                f"the same picture as {first[digest]}.png; expected frames that differ; remove one: it weighs "
                "double, and a pair of both teaches nothing",
            )


def check_uv_range(found: Findings, root: Path, largest: tuple[int, int]) -> None:
    """Check that U and V use the scale 0..255 somewhere in the folder."""
    for name, value in zip("UV", largest, strict=True):
        if 1 < value < _MIN_LARGEST_UV:
            found.warning(
                root / "densepose",
                "IUV scale",
                f"{name} reaches only {value} in the whole folder; expected the scale 0..255; multiply {name} by "
                f"{255 / value:.3g}, unless so little of the body is seen",
            )
