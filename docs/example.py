"""docs/example.png: two held-out people and the depth, normals and mesh that the workspace's model predicts.

Run after `make demo`: python docs/example.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hdnet import Predictor, visualize
from hdnet.data.layout.folders import TangFolder
from hdnet.predict.mesh_picture import mesh_picture
from hdnet.workspace import Workspace


def main() -> None:
    """Write the picture."""
    work = Workspace()
    folder, predictor = TangFolder(work.raw_heldout), Predictor.load(work.hdnet_model)
    rows = []
    for name in folder.names()[:2]:
        sample = folder.read(name)
        result = predictor.infer(sample.image, sample.mask, sample.iuv, camera=sample.camera)
        mesh = result.mesh()
        rows.append(
            [
                sample.image,
                visualize.depth_picture(result.depth_m, result.mask),
                visualize.normal_picture(result.normals, result.mask),
                mesh_picture(mesh, 256, yaw_deg=35),
                mesh_picture(mesh, 256, yaw_deg=35, textured=True),
            ]
        )
    Image.fromarray(np.asarray(visualize.contact_sheet(rows))).save(Path(__file__).with_name("example.png"))


if __name__ == "__main__":
    main()
