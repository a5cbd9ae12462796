"""The verb ``predict``: photographs to depth, normals and mesh."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

from PIL import Image
from tqdm import tqdm

from hdnet.cli.commands import CHAMPION, MODEL_HELP, Arguments, Command, Parser, say
from hdnet.cli.photographs import Photograph, find_photographs, partner
from hdnet.errors import HDNetError, InputError, NotRegisteredError
from hdnet.models.identity import has_registry
from hdnet.pictures.cameras import caller_camera
from hdnet.pictures.reading import MAX_PIXELS, IuvOrder, read_given
from hdnet.predict.formats import FORMATS, save_formats
from hdnet.predict.inference import Predictor
from hdnet.predict.mesh import Axes
from hdnet.predict.original_outputs import save_original
from hdnet.predict.prediction import Box, Prediction, save_prediction
from hdnet.workspace import SHIPPED_SOURCE

logger = logging.getLogger(__name__)

_METRIC, _ORIGINAL = "metric", "original"
_MOST_MEGAPIXELS = 10_000


def predict(verb: Parser) -> Command:
    """``predict``."""
    verb.add_argument(
        "image",
        nargs="+",
        help="photograph: PNG, JPEG, WebP, AVIF, HEIC, BMP or GIF; or several, folders, patterns such as 'trip/*.jpg'",
    )
    verb.add_argument(
        "--out", type=Path, required=True, help="folder for the results; of several pictures one for each"
    )
    verb.add_argument("--model", help=f"{MODEL_HELP} (default: {CHAMPION}, while there is none shipped)")
    _add_person_options(verb)
    _add_camera_options(verb)
    verb.add_argument(
        "--format",
        type=_formats,
        action="extend",
        metavar="FORMAT",
        help="metric (default): depth, normals, mesh and camera as npy, png, obj, glb, json; png, npz, glb, obj, ply, "
        "exr: those alone, several as in `--format npz,glb`; original: the original's six files, 256 x 256 only",
    )
    verb.add_argument(
        "--axes",
        choices=get_args(Axes),
        default="y-down",
        help="axes of OBJ and PLY. y-down (default): camera frame, x right, y down, z forward; y-up: x right, y up, z "
        "backward, upright in Blender and MeshLab, as every GLB",
    )
    verb.add_argument(
        "--max-megapixels",
        type=_megapixels,
        default=MAX_PIXELS / 1e6,
        help="larger pictures are refused, larger JPEGs shrunk while they are read (default: %(default)g)",
    )
    return _predict


def _add_person_options(verb: Parser) -> None:
    verb.add_argument(
        "--mask",
        type=Path,
        help="person mask, white on black (default: the picture's alpha channel, or what the model finds); for several "
        "pictures a folder with one of each name",
    )
    verb.add_argument(
        "--densepose",
        type=Path,
        help="DensePose IUV as PNG, or a folder as of --mask; models for photographs need none",
    )
    verb.add_argument(
        "--densepose-order",
        choices=get_args(IuvOrder),
        default="vui",
        help="what red, green and blue of the DensePose map are (default: vui)",
    )
    verb.add_argument(
        "--box",
        type=float,
        nargs=4,
        metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"),
        help="the person meant, in pixels of the upright picture; models for photographs",
    )
    verb.add_argument(
        "--people",
        choices=("one", "all"),
        default="one",
        help="one (default): the person that the picture is most likely about; all: a folder of results for each",
    )
    verb.add_argument(
        "--height-m", type=float, help="height of the person, who stands and is seen from head to feet: metric distance"
    )
    verb.add_argument(
        "--detail",
        action="store_true",
        help="look again, mirrored and at 384 pixels where the photograph has them: better normals, slower",
    )


def _add_camera_options(verb: Parser) -> None:
    camera = verb.add_argument_group("camera", "default: EXIF's focal length, else the model's")
    camera.add_argument("--fov-deg", type=float, help="vertical field of view of the upright picture in degrees")
    camera.add_argument("--fx", type=float, help="focal length in pixels of the upright picture")
    camera.add_argument("--fy", type=float, help="focal length along y (default: fx)")
    camera.add_argument(
        "--cx", type=float, help="x of the principal point, 0 at the first pixel's centre (default: middle)"
    )
    camera.add_argument("--cy", type=float, help="y of the principal point, likewise")


def _megapixels(text: str) -> float:
    value = float(text)
    if not 0 < value <= _MOST_MEGAPIXELS:
        raise argparse.ArgumentTypeError(f"found {text}, expected above 0, at most {_MOST_MEGAPIXELS}")
    return value


def _formats(text: str) -> list[str]:
    """Formats between commas."""
    formats = [word.strip().lower() for word in text.split(",") if word.strip()]
    unknown = [word for word in formats if word not in (_METRIC, _ORIGINAL, *FORMATS)]
    if unknown or not formats:
        known = ", ".join((_METRIC, *FORMATS, _ORIGINAL))
        raise argparse.ArgumentTypeError(f"found {', '.join(unknown) or 'none'}, expected some of {known}")
    return formats


def _predict(arguments: Arguments) -> None:
    formats = arguments.format or [_METRIC]
    if _ORIGINAL in formats and formats != [_ORIGINAL]:
        raise InputError(f"--format {','.join(formats)}: the original's format cannot be combined with others")
    photographs = find_photographs(arguments.image, arguments.out)
    if len(photographs) > 1:
        _check_several(arguments, len(photographs))
    if arguments.people == "all" and arguments.height_m is not None:
        raise InputError("found --height-m and --people all; expected the height of one person, whom --box may name")
    predictor = Predictor.load(arguments.model) if arguments.model else _usual_model()
    if photographs[0].out == arguments.out:
        for path in _predict_one(predictor, photographs[0], arguments, formats, _note):
            say(str(path))
        return
    _predict_several(predictor, photographs, arguments, formats)


def _check_several(arguments: Arguments, count: int) -> None:
    """Check that what is said of one picture is not said of several."""
    for option, value in (("--mask", arguments.mask), ("--densepose", arguments.densepose)):
        if value is not None and not value.is_dir():
            raise InputError(
                f"{option} {value}: one file for {count} pictures; expected a folder with one of each picture's name"
            )
    for option, value in (("--box", arguments.box), ("--height-m", arguments.height_m)):
        if value is not None:
            raise InputError(f"{option}: found {count} pictures; expected one, whose person it describes")


def _predict_several(
    predictor: Predictor, photographs: Sequence[Photograph], arguments: Arguments, formats: Sequence[str]
) -> None:
    """Predict picture by picture; one that cannot be used is one line and does not end the others."""
    failed = 0
    for photo in tqdm(photographs, desc="predict", unit="picture", file=sys.stderr, disable=not sys.stderr.isatty()):
        name = photo.image.name

        def note(text: str, name: str = name) -> None:
            _note(f"{name}: {text}")

        try:
            _predict_one(predictor, photo, arguments, formats, note)
        except HDNetError as error:
            failed += 1
            line = str(error)
            _note(f"error: {line if str(photo.image) in line else f'{photo.image}: {line}'}")
    count = len(photographs)
    say(f"{count} pictures: {count - failed} done, {failed} failed; results in {arguments.out}")
    if failed:
        sys.exit(1)


def _predict_one(
    predictor: Predictor,
    photo: Photograph,
    arguments: Arguments,
    formats: Sequence[str],
    note: Callable[[str], None],
) -> list[Path]:
    """Predict the person of one picture, or all its people, and write the results."""
    mask = partner(arguments.mask, photo.image, "--mask")
    densepose = partner(arguments.densepose, photo.image, "--densepose")
    max_pixels = round(arguments.max_megapixels * 1e6)
    if max_pixels > MAX_PIXELS:
        Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow's own limit, of this process
    given, content = read_given(photo.image, mask, densepose, arguments.densepose_order, max_pixels)
    height, width = given.image.shape[:2]
    if given.shrink > 1:
        note(f"read at 1/{given.shrink} of its size: results have {width} x {height} pixels")
    if formats == [_ORIGINAL]:
        # The original takes NAME_img.png and calls its results NAME.
        maps = predictor.original_maps(given.image, given.mask, given.iuv)
        return list(save_original(maps, photo.out, photo.image.stem.removesuffix("_img")).values())
    values = {name: getattr(arguments, name) for name in ("fx", "fy", "cx", "cy", "fov_deg")}
    camera = caller_camera(content, width, height, **values)
    pictures = predictor.check(given.image, given.mask, given.iuv)
    for line in pictures.notes:
        note(line)

    def look(box: Box | None) -> Prediction:
        prepared = predictor.prepare(pictures, camera.camera, box=box, height_m=arguments.height_m)
        return predictor.answer(prepared, arguments.detail)

    first = look(None if arguments.box is None else tuple(arguments.box))
    note(f"camera {camera.source}, distance {first.scale.distance_m:.2f} m ({first.scale.source})")
    count = len(first.people)
    if arguments.people == "one":
        if count > 1:
            note(f"{count} people found, one taken: --people all takes each, --box or --mask another one")
        return _save(first, photo.out, formats, arguments.axes)
    files = _save(first, photo.out / "person_1", formats, arguments.axes)
    # Searched more thoroughly than for one person.
    everybody = predictor.find(given.image) if count and arguments.box is None else first.people
    for number, box in enumerate((box for box in everybody if box != first.people[0]), start=2):
        try:
            files += _save(look(box), photo.out / f"person_{number}", formats, arguments.axes)
        except InputError as error:
            note(f"person {number} of {len(everybody)} left out: {error}")
    return files


def _save(prediction: Prediction, out: Path, formats: Sequence[str], axes: Axes) -> list[Path]:
    chosen = [form for form in FORMATS if form in formats]
    files: dict[str, Path] = {}
    if _METRIC in formats:
        files |= save_prediction(prediction, out)
    if chosen or axes != "y-down":
        files |= save_formats(prediction, out, chosen or ["obj"], axes)
    return list(files.values())


def _note(text: str) -> None:
    """Write a line on standard error, above a progress bar."""
    tqdm.write(text, file=sys.stderr)


def _usual_model() -> Predictor:
    """The champion of the registry that is named or lies in this folder; the shipped model if there never was one."""
    predictor, source = None, SHIPPED_SOURCE
    if has_registry():
        with suppress(NotRegisteredError):
            predictor, source = Predictor.load(CHAMPION), CHAMPION
    logger.info("model: %s", source)
    return predictor or Predictor.load(SHIPPED_SOURCE)
