"""docs/example.png: photographs of held-out synthetic people, and what the model that serves makes of them alone.

Run after `make demo`: python docs/example.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hdnet import Predictor, visualize
from hdnet.data.store.people import PackedPeople
from hdnet.predict.mesh_picture import mesh_picture
from hdnet.predict.prediction import confidence_levels
from hdnet.workspace import Workspace

CHAMPION = "models:/hdnet@champion"
# One picture of each: how much of the person is in the frame.
FRAMINGS = ("near", "half", "whole")
# Of the picture, that the person covers: smaller ones show little at this size.
LEAST_SHARE = 0.12


def main() -> None:
    """Write the picture."""
    people, predictor = PackedPeople(Workspace().heldout), Predictor.load(CHAMPION)
    large = [k for k in range(len(people)) if people.record(k, ("mask",))["mask"].mean() > LEAST_SHARE]
    framings = [str(people.facts[k]["framing"]) for k in large]
    rows = []
    for k in (large[framings.index(framing)] for framing in FRAMINGS if framing in framings):
        scene = np.ascontiguousarray(people.record(k, ("scene",))["scene"].transpose(1, 2, 0))
        result = predictor.predict(scene, camera=people.camera(k))
        mesh, confidence = result.mesh(), np.where(result.mask, confidence_levels(result), np.uint8(255))
        rows.append(
            [
                scene,
                visualize.depth_picture(result.depth_m, result.mask),
                visualize.normal_picture(result.normals, result.mask),
                np.stack([confidence] * 3, axis=-1),
                mesh_picture(mesh, 256, yaw_deg=35),
                mesh_picture(mesh, 256, yaw_deg=35, textured=True),
            ]
        )
    Image.fromarray(np.asarray(visualize.contact_sheet(rows))).save(Path(__file__).with_name("example.png"))


if __name__ == "__main__":
    main()
