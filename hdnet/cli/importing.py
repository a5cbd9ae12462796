"""``hdnet data import-*``: archives, published data sets and own videos into a raw folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, get_args

import numpy as np

from hdnet.cli.commands import Arguments, Command, Parser, say, with_jobs
from hdnet.data.importing.authors import import_authors
from hdnet.data.importing.frames import FrameOptions
from hdnet.data.importing.intrinsics import DEFAULT_FOV_DEG, Intrinsics
from hdnet.data.importing.own_frames import OwnFrames, own_frames_source
from hdnet.data.importing.pairing import How
from hdnet.data.importing.predicted import Finder, FoundPerson
from hdnet.data.importing.sequence_import import SequenceSource, import_sequences
from hdnet.data.importing.tang_raw import import_tang as import_depth
from hdnet.data.importing.tiktok_dataset import dataset_source, is_authors_form
from hdnet.data.importing.video import Selection
from hdnet.data.layout.folders import TIKTOK
from hdnet.errors import DataError
from hdnet.files import sha256_of
from hdnet.workspace import SHIPPED_SOURCE


def import_archive(verb: Parser) -> Command:
    """``data import-archive``."""
    _add_source(verb)
    keep = argparse.BooleanOptionalAction
    verb.add_argument("--keep-correspondences", action=keep, default=True, help="take the stored correspondences")
    verb.add_argument("--keep-normals", action=keep, default=True, help="take the stored pred_normals")
    return with_jobs(verb, _import_archive)


def import_tang(verb: Parser) -> Command:
    """``data import-tang``."""
    _add_source(verb)
    verb.add_argument(
        "--registration", type=Path, help="JSON or YAML of the raw release (default: registration.json in SOURCE)"
    )
    return with_jobs(verb, _import_tang)


def import_tiktok(verb: Parser) -> Command:
    """``data import-tiktok``."""
    verb.add_argument("source", type=Path, help="the dataset's folder")
    verb.add_argument("--only", nargs="+", default=[], metavar="NAME", help="sequences wanted, as 00001 or '0000*'")
    _add_frame_options(verb)
    return with_jobs(verb, _import_tiktok)


def import_frames(verb: Parser) -> Command:
    """``data import-frames``."""
    verb.add_argument("--images", type=Path, required=True, help="folder of pictures, or a video file")
    verb.add_argument(
        "--masks",
        type=Path,
        help="folder or video of masks (default: the pictures' alpha channel, or what --model finds)",
    )
    verb.add_argument(
        "--densepose", type=Path, help="folder of DensePose IUV, or a lossless video (default: what --model finds)"
    )
    verb.add_argument(
        "--model",
        default=SHIPPED_SOURCE,
        help="model for photographs that finds the masks and maps that are not given (default: the package's)",
    )
    verb.add_argument("--name", default="", help="name of the sequence (default: that of the folder or video)")
    verb.add_argument("--every", type=int, default=1, help="take every n-th frame")
    verb.add_argument("--start", type=float, metavar="SECONDS", help="of a video")
    verb.add_argument("--end", type=float, metavar="SECONDS", help="of a video")
    verb.add_argument(
        "--first-number",
        type=int,
        choices=(0, 1),
        help="number of a video's first frame in the names of masks and DensePose (default: found out)",
    )
    verb.add_argument(
        "--pairing",
        choices=get_args(How),
        help="how masks and DensePose find their pictures (default: by name, then by number; what stays in doubt is "
        "judged by the pictures or refused)",
    )
    _add_frame_options(verb)
    return with_jobs(verb, _import_frames)


def _add_source(verb: Parser) -> None:
    verb.add_argument("source", type=Path, help="zip, tar or folder")
    verb.add_argument("--out", type=Path, required=True, help="raw folder; other parts that lie there stay")
    verb.add_argument("--heldout", type=int, metavar="N", help="labelled people to hold out (default: a tenth)")
    verb.add_argument("--seed", type=int, default=0, help="of the choice of held-out people")
    verb.add_argument("--max-gb", type=float, default=200.0, help="largest size of SOURCE, unpacked")


def _add_frame_options(verb: Parser) -> None:
    verb.add_argument("--out", type=Path, required=True, help="raw folder; sequences are added to OUT/tiktok_data")
    verb.add_argument("--replace", action="store_true", help="drop what OUT/tiktok_data holds")
    verb.add_argument("--intrinsics", type=Path, help='JSON with fx, fy, cx, cy, or {"sequences": {NAME: {...}}}')
    verb.add_argument("--fov-deg", type=float, help="vertical field of view where intrinsics are not known (51.8)")
    verb.add_argument("--margin", type=float, default=0.1, help="room around the person in parts of its size (0.1)")
    verb.add_argument(
        "--iuv-order",
        choices=("auto", "vui", "iuv"),
        default="auto",
        help="what red, green and blue of the DensePose pictures hold (default: found out for each sequence)",
    )
    verb.add_argument("--keep-largest", action="store_true", help="of several people in a mask take the largest")
    verb.add_argument("--no-cut-detection", action="store_true", help="do not look for changes of shot")
    verb.add_argument(
        "--no-pairing-check", action="store_true", help="do not look for masks and DensePose of other frames"
    )
    verb.add_argument("--max-gap", type=int, default=0, help="missing frame numbers that do not end a shot (0)")


def _common(arguments: Arguments) -> dict[str, Any]:
    return {
        "heldout": arguments.heldout,
        "seed": arguments.seed,
        "max_bytes": round(arguments.max_gb * 1e9),
        "jobs": arguments.jobs,
        "progress": True,
    }


def _import_archive(arguments: Arguments) -> None:
    report = import_authors(
        arguments.source,
        arguments.out,
        keep_correspondences=arguments.keep_correspondences,
        keep_normals=arguments.keep_normals,
        **_common(arguments),
    )
    say(report.to_table())


def _import_tang(arguments: Arguments) -> None:
    report = import_depth(arguments.source, arguments.out, registration=arguments.registration, **_common(arguments))
    say(report.to_table())


def _options(arguments: Arguments) -> FrameOptions:
    fov_deg = DEFAULT_FOV_DEG if arguments.fov_deg is None else arguments.fov_deg
    return FrameOptions(
        Intrinsics.read(arguments.intrinsics, fov_deg) if arguments.intrinsics else Intrinsics(fov_deg),
        arguments.margin,
        None if arguments.iuv_order == "auto" else arguments.iuv_order,
        arguments.keep_largest,
        not arguments.no_cut_detection,
        not arguments.no_pairing_check,
    )


def _import_tiktok(arguments: Arguments) -> None:
    if is_authors_form(arguments.source):
        _import_authors_frames(arguments)
        return
    _import_sequences(dataset_source(arguments.source, arguments.only), arguments)


def _import_authors_frames(arguments: Arguments) -> None:
    """The authors' own form, 256 x 256 already: nothing is cut, and it cannot be added to other frames."""
    if arguments.only:
        raise DataError(f"{arguments.source}: is the authors' form, in which --only has no meaning; leave it out")
    if (arguments.out / TIKTOK).exists() and not arguments.replace:
        raise DataError(
            f"{arguments.out / TIKTOK}: exists already, and the authors' form keeps its own frame numbers; import it "
            "first and add other sequences then, or pass --replace"
        )
    report = import_authors(arguments.source, arguments.out, only=(TIKTOK,), jobs=arguments.jobs, progress=True)
    say(report.to_table())


def _import_frames(arguments: Arguments) -> None:
    own = OwnFrames(
        arguments.images,
        arguments.masks,
        arguments.densepose,
        arguments.name,
        Selection(arguments.every, arguments.start, arguments.end),
        arguments.first_number,
        arguments.pairing,
    )
    needs_finder = own.densepose is None or own.masks is None
    finder = _finder(arguments.model, arguments.densepose is None) if needs_finder else None
    if own.densepose is None:
        arguments.iuv_order = "vui"  # as predicted maps are stored
    _import_sequences(own_frames_source(own, progress=True, finder=finder), arguments)


def _finder(source: str, needs_maps: bool) -> Finder | None:
    """Load the network that finds people; None for hourglasses where the pictures may have transparency instead.

    Raises:
        ModelError: There is no such model.
        DataError: It cannot find people, and maps are not given.
    """
    from hdnet.predict.inference import Predictor, model_file  # torch

    predictor = Predictor.load(source, runtime="auto", candidates=("openvino",))
    if not predictor.finds_people:
        if needs_maps:
            raise DataError(f"--model {source}: finds no people; expected a model for photographs, or --densepose")
        return None

    def find(image: np.ndarray, mask: np.ndarray | None) -> FoundPerson:
        found = predictor.infer(image, mask)
        body, confidence = found.body, found.confidence
        assert body is not None
        assert confidence is not None
        return FoundPerson(found.mask, body, float(confidence[found.mask].mean()))

    return Finder(f"{source} ({sha256_of(model_file(source)[0])[:12]})", find)


def _import_sequences(source: SequenceSource, arguments: Arguments) -> None:
    report = import_sequences(
        source,
        arguments.out,
        _options(arguments),
        arguments.max_gap,
        arguments.replace,
        arguments.jobs,
        progress=True,
    )
    say(report.to_table())
