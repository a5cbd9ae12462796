"""People found by a model for photographs, counted in made-up scenes of 0 to 4, of 64 pixels to larger than the frame.

    python benchmarks/finding.py --people data/packed/heldout [--model shipped] [--scenes 20]

People are cut out of labelled pictures and put side by side before a blurred picture, 640 x 480. Prints, by the number
of people: the share of scenes in which as many were found (`Predictor.find`), of people whose box was met (overlap of
at least a half), boxes on nobody a scene, the mean IoU of the mask of the person taken by default, the time of both.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

from hdnet.data.store.packed import open_people
from hdnet.data.store.reading import WithCameras
from hdnet.errors import InputError
from hdnet.pictures.crop import bounds
from hdnet.predict.inference import Predictor
from hdnet.workspace import SHIPPED_SOURCE

_WIDTH, _HEIGHT = 640, 480
_SMALLEST_PX, _LARGEST_PX = 64, 600


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, required=True, help="packed labelled people with their pictures")
    parser.add_argument("--model", default=SHIPPED_SOURCE)
    parser.add_argument("--scenes", type=int, default=20, help="of each number of people")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    people, predictor = open_people(arguments.people), Predictor.load(arguments.model)
    people.check_scenes()
    rng = np.random.default_rng(0)
    print("people   as many   met   on nobody   IoU    s")
    for count in range(5):
        rows = [_measured(predictor, *_scene(rng, people, count)) for _ in range(arguments.scenes)]
        means = [np.nanmean(column) if np.isfinite(column).any() else np.nan for column in np.array(rows).T]
        equal, met, false, iou, seconds = means
        print(f"{count:6}  {100 * equal:6.0f} %  {100 * met:3.0f} %  {false:9.2f}  {iou:5.2f}  {seconds:4.1f}")


def _scene(rng: np.random.Generator, people: WithCameras, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a picture and the mask of each person in it."""
    behind = Image.fromarray(_picture(people, int(rng.integers(len(people.names))))[0]).resize((_WIDTH, _HEIGHT))
    picture = np.array(behind.filter(ImageFilter.GaussianBlur(25)))
    masks: list[np.ndarray] = []
    for place in range(count):
        image, mask = _picture(people, int(rng.integers(len(people.names))))
        (top, bottom), (left, right) = bounds(mask)
        most = _LARGEST_PX if count == 1 else 1.2 * _WIDTH / count * (bottom - top) / (right - left)
        height = float(np.exp(rng.uniform(np.log(_SMALLEST_PX), np.log(max(min(most, _LARGEST_PX), 80)))))
        size = max(round((right - left) * height / (bottom - top)), 8), round(height)
        cut = Image.fromarray(image[top:bottom, left:right]).resize(size, Image.Resampling.LANCZOS)
        shape = np.asarray(Image.fromarray(mask[top:bottom, left:right]).resize(size)) > 0
        x = round(_WIDTH * (place + 0.5) / count - size[0] / 2 + rng.uniform(-0.1, 0.1) * _WIDTH / count)
        y = _HEIGHT - size[1] + round(rng.uniform(-0.15, 0.05) * _HEIGHT) if height < _HEIGHT else _HEIGHT // 20
        whole = np.zeros((_HEIGHT, _WIDTH), bool)
        rows, columns = np.nonzero(shape)
        kept = (rows + y >= 0) & (rows + y < _HEIGHT) & (columns + x >= 0) & (columns + x < _WIDTH)
        rows, columns = rows[kept], columns[kept]
        whole[rows + y, columns + x] = True
        picture[rows + y, columns + x] = np.asarray(cut)[rows, columns]
        masks = [one & ~whole for one in masks] + [whole]
    return picture, masks


def _picture(people: WithCameras, number: int) -> tuple[np.ndarray, np.ndarray]:
    record = people.record(number, ("scene", "mask"))
    return record["scene"].transpose(1, 2, 0), record["mask"][0]


def _measured(predictor: Predictor, picture: np.ndarray, masks: list[np.ndarray]) -> list[float]:
    start = time.perf_counter()
    try:
        found = predictor.infer(picture)
        boxes = [np.array(box) for box in predictor.find(picture)]
        iou = max((float((found.mask & mask).sum() / (found.mask | mask).sum()) for mask in masks), default=np.nan)
    except InputError:
        boxes, iou = [], 0.0 if masks else np.nan
    seconds = time.perf_counter() - start
    true = []
    for mask in masks:
        if mask.any():
            (top, bottom), (left, right) = bounds(mask)
            true.append(np.array([left, top, right - 1, bottom - 1]))
    met = [max((_overlap(box, one) for box in boxes), default=0.0) >= 0.5 for one in true]
    false = sum(max((_overlap(box, one) for one in true), default=0.0) < 0.2 for box in boxes)
    return [float(len(boxes) == len(true)), float(np.mean(met)) if true else np.nan, float(false), iou, seconds]


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return intersection over union of two boxes."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    areas = sum(float(np.prod(box[2:] - box[:2])) for box in (one, other))
    return common / max(areas - common, 1e-9)


if __name__ == "__main__":
    main()
