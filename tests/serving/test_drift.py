from __future__ import annotations

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from serving_fakes import good_upload, person

from serving.drift import Drift


def observed(image: np.ndarray, mask: np.ndarray, iuv: np.ndarray) -> CollectorRegistry:
    registry = CollectorRegistry()
    Drift(registry).observe(image, mask, iuv)
    return registry


def pictures(height: int = 20, width: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The left half is the person: upper half white and part 1, lower half black and part 24, but one row nobody's."""
    image = np.full((height, width, 3), 77, np.uint8)
    mask = np.zeros((height, width), bool)
    mask[:, : width // 2] = True
    image[: height // 2, : width // 2], image[height // 2 :, : width // 2] = 255, 0
    iuv = np.zeros((height, width, 3), np.uint8)
    iuv[: height // 2, :, 0], iuv[height // 2 :, :, 0] = 1, 24
    iuv[-height // 20 :, :, 0] = 0
    return image, mask, iuv


@pytest.mark.parametrize("size", [(20, 10), (2000, 1000)])
def test_values_by_hand(size: tuple[int, int]) -> None:
    registry = observed(*pictures(*size))
    assert registry.get_sample_value("hdnet_input_mask_share_sum") == pytest.approx(0.5, abs=0.01)
    assert registry.get_sample_value("hdnet_input_brightness_sum") == pytest.approx(0.5, abs=0.01)
    assert registry.get_sample_value("hdnet_input_contrast_sum") == pytest.approx(0.5, abs=0.01)
    assert registry.get_sample_value("hdnet_input_parts_sum") == 2
    assert registry.get_sample_value("hdnet_input_densepose_share_sum") == pytest.approx(0.95, abs=0.01)
    seen = {part: registry.get_sample_value("hdnet_input_part_total", {"part": str(part)}) for part in range(1, 25)}
    assert seen == {part: float(part in (1, 24)) for part in range(1, 25)}


def test_green_is_brighter_than_blue() -> None:
    image, mask, iuv = pictures()
    image[:] = (0, 255, 0)
    assert observed(image, mask, iuv).get_sample_value("hdnet_input_brightness_sum") == pytest.approx(0.587)
    image[:] = (0, 0, 255)
    assert observed(image, mask, iuv).get_sample_value("hdnet_input_brightness_sum") == pytest.approx(0.114)


def test_an_empty_mask_is_not_counted() -> None:
    image, mask, iuv = pictures()
    registry = observed(image, np.zeros_like(mask), iuv)
    assert registry.get_sample_value("hdnet_input_brightness_count") == 0


def test_requests_are_observed(client: TestClient) -> None:
    assert client.post("/depth", files=good_upload()).status_code == 200
    text = client.get("/metrics").text
    _, mask, iuv = person()
    assert f"hdnet_input_mask_share_sum {mask.mean()}" in text
    assert f"hdnet_input_parts_sum {len(np.unique(iuv[..., 0][mask]))}.0" in text
    assert "hdnet_input_brightness_count 1.0" in text
