"""A sheet of samples to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from hdnet.data.samples import LabelledSample
from hdnet.data.synthetic.surface import FloatArray


def contact_sheet(samples: Sequence[LabelledSample], columns: int = 8) -> Image.Image:
    """Picture, picture on white, IUV, depth and normals of the first samples, one sample a column.

    Args:
        samples: Anything labelled.
        columns: How many at most.
    """
    tiles = [np.concatenate(_panels(sample), axis=0) for sample in samples[:columns]]
    return Image.fromarray(np.concatenate(tiles, axis=1))


def _panels(sample: LabelledSample) -> list[FloatArray]:
    inside = sample.mask[..., None]
    part = sample.iuv[..., :1].astype(np.float64) * (255 / 24)
    iuv = np.concatenate([part, sample.iuv[..., 1:]], axis=-1)
    values = sample.depth_m[sample.mask]
    near, far = values.min(), values.max()
    grey = 235 - 215 * (sample.depth_m - near) / max(float(far - near), 1e-6)
    nx, ny, nz = np.moveaxis(sample.normals, -1, 0)
    normal = np.stack([(1 - nx) / 2, (1 - ny) / 2, -nz], axis=-1).clip(0, 1) * 255
    panels = [sample.image, sample.white_image, iuv]
    panels += [np.where(inside, np.repeat(grey[..., None], 3, axis=-1), 255), np.where(inside, normal, 255)]
    return [np.clip(panel, 0, 255).astype(np.uint8) for panel in panels]
