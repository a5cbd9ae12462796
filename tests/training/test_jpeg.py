"""Compression on the device against Pillow's."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn

from hdnet.training import jpeg as module
from hdnet.training.jpeg import jpeg, lower_resolution


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Soft colours with hard edges and some noise, as photographs have."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x * a + y * b + c) for a, b, c in rng.uniform(0.02, 0.1, (3, 3))]
    values = np.stack(waves) + rng.normal(0, 4, (3, height, width))
    values[:, height // 3 :, : width // 2] = rng.uniform(0, 255, (3, 1, 1))
    return torch.from_numpy(values.clip(0, 255).astype(np.uint8)).float()[None]


def pillow(image: torch.Tensor, quality: int) -> torch.Tensor:
    stream = io.BytesIO()
    Image.fromarray(image[0].permute(1, 2, 0).to(torch.uint8).numpy()).save(stream, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(stream))).permute(2, 0, 1).float()[None]


@pytest.mark.parametrize("quality", [1, 25, 49, 50, 75, 90, 100])
@pytest.mark.parametrize("size", [(64, 96), (50, 37)], ids=["blocks", "rest"])
def test_a_picture_loses_what_pillow_takes(quality, size):
    image = picture(*size)
    ours, theirs = jpeg(image, [quality]), pillow(image, quality)
    lost = (theirs - image).abs().mean()
    assert (ours - theirs).abs().mean() < max(0.3 * lost, 0.7)
    assert torch.equal(ours, ours.round())
    assert ours.min() >= 0
    assert ours.max() <= 255


def test_each_picture_has_its_own_quality():
    images = torch.cat([picture(32, 32, seed) for seed in range(3)])
    together = jpeg(images, [30, 60, 90])
    for k, quality in enumerate((30, 60, 90)):
        assert torch.equal(together[k : k + 1], jpeg(images[k : k + 1], [quality]))


def test_the_transform_is_the_cosine_transform():
    block = np.random.default_rng(0).normal(size=(8, 8))
    found = torch.tensor(module._cosine_transform(), dtype=torch.float64) @ torch.from_numpy(block).flatten()
    np.testing.assert_allclose(found.view(8, 8), dctn(block, norm="ortho"), atol=1e-12)


def test_a_smaller_picture_has_lost_its_detail_but_not_its_colours():
    image = picture(64, 64)
    low = lower_resolution(image, 24, None)
    assert low.shape == image.shape
    assert (low.mean((2, 3)) - image.mean((2, 3))).abs().max() < 1.5
    assert low.diff(dim=3).abs().mean() < 0.7 * image.diff(dim=3).abs().mean()
    assert not torch.equal(lower_resolution(image, 24, 30), low)
