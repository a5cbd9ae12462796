"""Cost and gain of what depth and normals learn of each other, on labelled people.

    python benchmarks/joining.py --people data/packed/heldout [--model shipped]

Prints the mean angle of the normals to the true ones, before and after they are averaged with the depth's own; without
and with joining depth and normals to one surface, the mean error of the depth at the median of the truth, and the mean
angle between the depth's own normals and the true ones; the milliseconds of either for a map of 256 x 256.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from hdnet.evaluation.sources import open_labelled
from hdnet.geometry import depth_to_normals
from hdnet.metrics.depth import depth_metrics
from hdnet.metrics.normals import normal_metrics
from hdnet.metrics.samples import camera_of, predict_sample, truth_of
from hdnet.models import PersonModel
from hdnet.predict.inference import load_source
from hdnet.predict.surface import agreed_normals, joined_depth
from hdnet.workspace import SHIPPED_SOURCE


def main() -> None:
    """Measure all people."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=Path, required=True, help="labelled people, raw or packed")
    parser.add_argument("--model", default=SHIPPED_SOURCE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = load_source(arguments.model)
    people = open_labelled(arguments.people, scenes=isinstance(model, PersonModel)).samples
    rows, seconds, angles_deg = [], [], []
    for number in range(len(people)):
        sample = people[number]
        mask, true_m, true_normals = truth_of(sample)
        camera = camera_of(sample["camera"])
        depth_m, normals = predict_sample(model, sample)
        start = time.perf_counter()
        agreed = agreed_normals(depth_m, normals, mask, camera)
        middle = time.perf_counter()
        joined_m = joined_depth(depth_m, agreed, mask, camera)
        seconds.append((middle - start, time.perf_counter() - middle))
        angles_deg.append([normal_metrics(one, true_normals, mask)["normal_mean_deg"] for one in (normals, agreed)])
        row = []
        for one_m in (depth_m, joined_m):
            own = depth_to_normals(
                torch.from_numpy(one_m).double()[None, None], torch.from_numpy(mask)[None, None], camera
            )
            row.append(depth_metrics(one_m, true_m, mask)["depth_mae_mm"])
            row.append(normal_metrics(own[0].permute(1, 2, 0).numpy(), true_normals, mask)["normal_mean_deg"])
        rows.append(row)
    before_mm, before_deg, after_mm, after_deg = np.mean(rows, axis=0)
    given_deg, agreed_deg = np.mean(angles_deg, axis=0)
    agreeing_ms, joining_ms = 1000 * np.median(seconds, axis=0)
    print(f"{len(rows)} people, {arguments.model}")
    print(f"normals        {given_deg:6.2f} deg  agreed {agreed_deg:6.2f} deg  {agreed_deg - given_deg:+.2f} degrees")
    print(f"depth          {before_mm:6.1f} mm   joined {after_mm:6.1f} mm   {100 * (after_mm / before_mm - 1):+.1f} %")
    print(f"its normals    {before_deg:6.2f} deg  joined {after_deg:6.2f} deg  {after_deg - before_deg:+.2f} degrees")
    print(f"time: normals {agreeing_ms:.0f} ms, joining {joining_ms:.0f} ms")


if __name__ == "__main__":
    main()
