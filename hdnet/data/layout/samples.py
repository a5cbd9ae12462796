"""Labelled samples and unlabelled frames as arrays in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdnet.geometry import Camera


@dataclass(frozen=True, eq=False)
class LabelledSample:
    """One person with known depth and normals (Tang folder layout).

    Attributes:
        name: Frame name as in the file names, digits only, for example "0000012".
        image: (H, W, 3) uint8 RGB, the picture with background; equals ``white_image`` where there is none.
        white_image: (H, W, 3) uint8 RGB, 255 outside the mask.
        iuv: (H, W, 3) uint8 DensePose in the order I (part 0..24), U, V (0..255).
        mask: (H, W) bool, True on the person where the depth is valid.
        depth_m: (H, W) float32 z in metres, 0 outside the mask.
        normals: (H, W, 3) float32 unit vectors in the camera frame, 0 outside the mask.
        camera: Camera of the picture.
    """

    name: str
    image: np.ndarray
    white_image: np.ndarray
    iuv: np.ndarray
    mask: np.ndarray
    depth_m: np.ndarray
    normals: np.ndarray
    camera: Camera


@dataclass(frozen=True, eq=False)
class UnlabelledFrame:
    """One frame of a video without depth (TikTok folder layout).

    Attributes:
        name: Frame name as in the file names, digits only, for example "0017634".
        sequence: Video (or shot) that the frame belongs to; correspondences never cross sequences.
        image: (H, W, 3) uint8 RGB, the picture with background; equals ``white_image`` where there is none.
        white_image: (H, W, 3) uint8 RGB, 255 outside the mask.
        iuv: (H, W, 3) uint8 DensePose in the order I (part 0..24), U, V (0..255).
        mask: (H, W) bool, True on the person.
        camera: Camera of the picture.
    """

    name: str
    sequence: str
    image: np.ndarray
    white_image: np.ndarray
    iuv: np.ndarray
    mask: np.ndarray
    camera: Camera
