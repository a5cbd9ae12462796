"""Distributions of the requests' pictures as metrics, to detect drift of the inputs; see ``docs/operations.md``."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram

from hdnet.pictures.reading import LAST_PART

_SHARES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
_LEVELS = tuple(round(0.1 * step, 1) for step in range(1, 11))
_PART_COUNTS = (2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24)
_SAMPLED_PIXELS = 62_500
# Rec. 601 luma of R, G, B.
_LUMA = np.array([0.299, 0.587, 0.114])


class Drift:
    """Distributions of the requests' pictures.

    Args:
        registry: Registry of the metrics.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._mask_share = Histogram(
            "hdnet_input_mask_share", "Share of the picture that the mask covers.", buckets=_SHARES, registry=registry
        )
        self._brightness = Histogram(
            "hdnet_input_brightness", "Mean luma of the person, 0 black .. 1 white.", buckets=_LEVELS, registry=registry
        )
        self._contrast = Histogram(
            "hdnet_input_contrast",
            "Standard deviation of the person's luma.",
            buckets=tuple(level / 2 for level in _LEVELS),
            registry=registry,
        )
        self._part_count = Histogram(
            "hdnet_input_parts", "DensePose body parts inside the mask, of 24.", buckets=_PART_COUNTS, registry=registry
        )
        self._parts = Counter(
            "hdnet_input_part", "Pictures in which a DensePose body part is seen.", ["part"], registry=registry
        )
        self._coverage = Histogram(
            "hdnet_input_densepose_share",
            "Share of the mask that has a DensePose body part.",
            buckets=_LEVELS,
            registry=registry,
        )
        for part in range(1, LAST_PART + 1):
            self._parts.labels(str(part))

    def observe(self, image: np.ndarray, mask: np.ndarray, iuv: np.ndarray | None) -> None:
        """Count one picture; large ones are sampled. May be called from any thread.

        Args:
            image: (H, W, 3) uint8 RGB.
            mask: (H, W) bool; an empty one is not counted.
            iuv: (H, W, 3) uint8 in the order I, U, V; None where the model needs none: its parts are not counted.
        """
        step = max(1, round((mask.size / _SAMPLED_PIXELS) ** 0.5))
        inside = mask[::step, ::step]
        if not inside.any():
            return
        luma = image[::step, ::step][inside] @ _LUMA / 255
        self._mask_share.observe(float(inside.mean()))
        self._brightness.observe(float(luma.mean()))
        self._contrast.observe(float(luma.std()))
        if iuv is None:
            return
        counts = np.bincount(iuv[::step, ::step, 0][inside], minlength=LAST_PART + 1)[: LAST_PART + 1]
        seen = np.flatnonzero(counts[1:]) + 1
        self._part_count.observe(len(seen))
        self._coverage.observe(float(counts[1:].sum() / inside.sum()))
        for part in seen:
            self._parts.labels(str(part)).inc()
