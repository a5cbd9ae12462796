"""Measures the runtimes of `POST /depth` on this machine's processor and prints Markdown tables.

    python benchmarks/inference.py                # made-up weights: two hourglasses of width 64, and `lite`
    python benchmarks/inference.py --model models --data data/packed/heldout   # a model, its accuracy on real data

Runtimes take turns in one process. On a shared machine, trust the ratio of processor times. "A whole request" is all of
the service's work for one picture but HTTP: decoding, cropping, networks, mapping back, encoding. "torch" is the plain
float32 service.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from hdnet.data.store.batches import PreparedItems
from hdnet.data.store.datasets import LabelledDataset
from hdnet.data.store.packed import open_people
from hdnet.errors import ModelError, run_command
from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, LiteEstimator, NormalEstimator, PersonModel
from hdnet.models.estimates import person_inputs
from hdnet.pictures.checks import Pictures, check_pictures, decode_pictures
from hdnet.pictures.writing import encode_png
from hdnet.predict.inference import Predictor, PreparedPicture, load_source
from hdnet.predict.person import PreparedPhoto
from hdnet.predict.prediction import depth_millimetres
from hdnet.predict.runtime_names import Outputs
from hdnet.predict.runtimes import RUNTIMES, Difference, difference, make_runtime
from hdnet.predict.runtimes.agreement import Probes, probes_for
from hdnet.predict.runtimes.probes import probe_inputs
from hdnet.visualize import normal_picture

PLAIN = RUNTIMES[0]


class Milliseconds(NamedTuple):
    """Of one call."""

    processor: float
    wall: float


class Request(NamedTuple):
    """The bytes of a form's parts."""

    image: bytes
    mask: bytes
    iuv: bytes


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Time and accuracy of the runtimes, as tables.")
    parser.add_argument("--model", help="registry URI, folder or safetensors file (default: made-up weights)")
    parser.add_argument("--width", type=int, default=64, help="width of made-up networks")
    parser.add_argument("--data", type=Path, help="packed labelled people on whom accuracy is measured")
    parser.add_argument("--people", type=int, default=8, help="how many of them")
    parser.add_argument("--size", type=int, nargs=2, default=(1080, 1920), help="height and width of the photograph")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    run_command(lambda: measure(arguments))


def measure(arguments: argparse.Namespace) -> None:
    """Measures and prints everything."""
    torch.set_num_threads(arguments.threads)
    if arguments.model:
        measure_model(load_source(arguments.model)[0], arguments)
        return
    untrained: dict[str, HDNet | PersonModel] = {
        f"two hourglasses of width {arguments.width}": made_up(arguments.width),
        "lite, the network for photographs": lite(),
    }
    for title, model in untrained.items():
        print(f"\n## {title}", flush=True)
        measure_model(model, arguments)


def measure_model(model: HDNet | PersonModel, arguments: argparse.Namespace) -> None:
    """Measures and prints everything of one model."""
    runtimes: dict[str, Any] = {}
    for name in RUNTIMES:
        try:
            runtimes[name] = make_runtime(name, model, arguments.threads)
        except ModelError as error:
            print(f"- {error}")
    people = probes_for(model, arguments.people, seed=9)
    if arguments.data:
        people = read_people(model, arguments.data, arguments.people)
    accuracy = compare(runtimes, people)
    parts, prepared = request_parts(Predictor(model, threads=arguments.threads), arguments.size, arguments.repeats)
    inputs = (prepared.inputs_4hw if isinstance(prepared, PreparedPhoto) else prepared.inputs_7hw)[None]
    times = in_turns({name: lambda r=runtime: r(inputs) for name, runtime in runtimes.items()}, arguments.repeats)
    print_requests(times, sum(part.processor for part in parts.values()), accuracy)
    print_head("the rest of a request", "processor ms", "wall ms")
    for name, part in parts.items():
        print_row(name, f"{part.processor:.0f}", f"{part.wall:.0f}")


def made_up(width: int) -> HDNet:
    """Untrained networks: meaningless answers in the same time."""
    torch.manual_seed(0)
    depth_estimator = DepthEstimator(width, "unit", initial_depth_m=4.0)
    torch.nn.init.normal_(depth_estimator.head.weight, std=0.01)
    return HDNet(NormalEstimator(width, "unit"), depth_estimator, Camera.centred()).eval()


def lite() -> PersonModel:
    """The untrained network for photographs, its running statistics those of made-up pictures."""
    torch.manual_seed(0)
    model = PersonModel(LiteEstimator(), Camera.centred())
    with torch.no_grad():
        for seed in range(8):
            model(torch.from_numpy(probes_for(model, 4, seed).inputs_bchw))
    # Everything a person, so that there is one to prepare and to map back.
    torch.nn.init.constant_(model.estimator.pixel_head.bias[-4:].data, 10.0)
    return model.eval()


def read_people(model: HDNet | PersonModel, folder: Path, count: int) -> Probes:
    """People spread over a packed folder, as the model takes them; a hint of the mask for those that take one."""
    is_person = isinstance(model, PersonModel)
    items = PreparedItems(LabelledDataset(open_people(folder), scenes=is_person))
    spread = (items[k] for k in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int))
    chosen = [one for one in spread if one["mask"].any()]  # some pictures may show nobody
    masks = np.stack([one["mask"][0].numpy() for one in chosen])
    if is_person:
        inputs = [person_inputs(one["scene"][None], one["mask"][None])[0] for one in chosen]
    else:
        inputs = [
            torch.cat([torch.where(one["mask"], one["image"], 255.0), one["vui"].flip(0), one["mask"]])
            for one in chosen
        ]
    return Probes(torch.stack(inputs).numpy().astype(np.float32), masks)


def compare(runtimes: dict[str, Any], people: Probes) -> dict[str, list[Difference]]:
    """Each runtime's difference from "torch", person by person."""
    reference = runtimes[PLAIN](people.inputs_bchw)
    found: dict[str, list[Difference]] = {}
    for name, runtime in runtimes.items():
        outputs = runtime(people.inputs_bchw)
        found[name] = [
            difference(one_of(outputs, k), one_of(reference, k), mask[None]) for k, mask in enumerate(people.mask_bhw)
        ]
    return found


def one_of(outputs: Outputs, index: int) -> Outputs:
    """The outputs of one picture, as a batch."""
    if isinstance(outputs, tuple):
        return tuple(one[index : index + 1] for one in outputs)
    return outputs[index : index + 1]


def photograph(height: int, width: int, number: int = 0) -> Request:
    """Made-up figure ``number`` in a large picture, as the files of a request."""
    inputs_hw7 = probe_inputs(number + 1)[number].transpose(1, 2, 0).astype(np.uint8)
    side = min(height, width)
    large = [
        np.asarray(Image.fromarray(np.ascontiguousarray(part)).resize((side, side), kind))
        for part, kind in (
            (inputs_hw7[..., :3], Image.Resampling.BILINEAR),
            (inputs_hw7[..., 6] * 255, Image.Resampling.NEAREST),
            (inputs_hw7[..., 5:2:-1], Image.Resampling.NEAREST),
        )
    ]
    top, left = (height - side) // 2, (width - side) // 2
    wide = [np.zeros((height, width, *part.shape[2:]), np.uint8) for part in large]
    for whole, part in zip(wide, large, strict=True):
        whole[top : top + side, left : left + side] = part
    buffer = io.BytesIO()
    Image.fromarray(wide[0]).save(buffer, "JPEG", quality=90)
    return Request(buffer.getvalue(), encode_png(wide[1]), encode_png(wide[2]))


def request_parts(
    predictor: Predictor, size: Sequence[int], repeats: int
) -> tuple[dict[str, Milliseconds], PreparedPicture]:
    """Time of a request beside the networks, by part, and the prepared picture."""
    request = photograph(*size)
    pictures = decoded(request)
    prepared = predictor.prepare(pictures)
    outputs = predictor.run([prepared])[0]
    prediction = predictor.finish(prepared, outputs)

    def encode() -> None:
        encode_png(depth_millimetres(prediction.depth_m, prediction.mask))
        encode_png(normal_picture(prediction.normals, prediction.mask))

    calls: dict[str, Callable[[], object]] = {
        "decode (JPEG, two PNG)": lambda: decoded(request),
        "prepare": lambda: predictor.prepare(pictures),
        "finish": lambda: predictor.finish(prepared, outputs),
        "encode (PNG of depth and normals)": encode,
    }
    return in_turns(calls, repeats), prepared


def decoded(request: Request) -> Pictures:
    """The pictures, read and checked."""
    return check_pictures(*decode_pictures(request.image, request.mask, request.iuv))


def in_turns(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, Milliseconds]:
    """Median processor time and wall time of each, after one call that does not count."""
    found: dict[str, list[Milliseconds]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            processor, wall = time.process_time(), time.perf_counter()
            call()
            spent = Milliseconds(1e3 * (time.process_time() - processor), 1e3 * (time.perf_counter() - wall))
            if repeat:
                found[name].append(spent)
    return {
        name: Milliseconds(median(t.processor for t in spent), median(t.wall for t in spent))
        for name, spent in found.items()
    }


def print_requests(times: dict[str, Milliseconds], rest_ms: float, accuracy: dict[str, list[Difference]]) -> None:
    """The tables of the runtimes."""
    print_head(
        "runtime", "networks: processor ms", "wall ms", "against torch", "a whole request: processor ms", "ratio"
    )
    plain = times[PLAIN].processor
    for name, spent in times.items():
        whole, ratio = spent.processor + rest_ms, (plain + rest_ms) / (spent.processor + rest_ms)
        cells = f"{spent.processor:.0f}", f"{spent.wall:.0f}", f"{plain / spent.processor:.2f} x"
        print_row(name, *cells, f"{whole:.0f}", f"{ratio:.2f} x")
    print_head("runtime", "depth from float32, mm: mean, worst person", "normals, deg: mean, worst person")
    for name, found in accuracy.items():
        depth, angle = [one.depth_mm for one in found], [one.normal_deg for one in found]
        print_row(name, f"{np.mean(depth):.2f}, {max(depth):.2f}", f"{np.mean(angle):.2f}, {max(angle):.2f}")


def print_row(*cells: object) -> None:
    """A line of a Markdown table."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def print_head(*cells: str) -> None:
    """The first lines of a table: the first column is text, the others are numbers."""
    print()
    print_row(*cells)
    print(f"|---|{'---:|' * (len(cells) - 1)}")


if __name__ == "__main__":
    main()
