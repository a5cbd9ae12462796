import colorsys

import numpy as np
import pytest
import torch
from scipy import ndimage

from hdnet.training.augment_colour import NoiseBank, blurred, gamma_corrected, recoloured

LUMINANCE = np.array([0.299, 0.587, 0.114])


@pytest.fixture
def picture():
    generator = torch.Generator().manual_seed(0)
    image = 40 + 120 * torch.rand(2, 3, 24, 20, generator=generator)
    mask = torch.zeros(2, 1, 24, 20, dtype=torch.bool)
    mask[0, :, 3:20, 4:18] = True
    mask[1, :, 8:, :11] = True
    return torch.where(mask, image, 255.0), mask


def changed(image, mask, gain=(1.0, 1.0, 1.0), contrast=1.0, saturation=1.0, hue=0.0):
    values = [torch.tensor([value] * len(image)) for value in (contrast, saturation, hue)]
    return recoloured(image, mask, torch.tensor([gain] * len(image), dtype=torch.float32), *values)


def test_nothing_changed_is_nothing_changed(picture):
    image, mask = picture
    torch.testing.assert_close(changed(image, mask), image, rtol=0, atol=1e-3)
    torch.testing.assert_close(gamma_corrected(image, torch.ones(2)), image, rtol=0, atol=1e-3)
    torch.testing.assert_close(blurred(image, mask, torch.zeros(2)), image, rtol=0, atol=1e-3)


def test_colours_agree_with_one_change_after_the_other_in_numpy(picture):
    image, mask = picture
    gain = np.array([1.1, 0.9, 0.8])
    found = changed(image, mask, tuple(gain), contrast=1.3, saturation=0.4, hue=0.3).double().numpy()
    for b in range(2):
        pixels, where = image[b].movedim(0, -1).double().numpy(), mask[b, 0].numpy()
        axis = np.full(3, 3**-0.5)
        x = pixels * gain
        x = x * np.cos(0.3) + np.cross(axis, x) * np.sin(0.3) + axis * (x @ axis)[..., None] * (1 - np.cos(0.3))
        x = 0.4 * x + 0.6 * (x @ LUMINANCE)[..., None]
        mean = (x[where] @ LUMINANCE).mean()
        x = 1.3 * x + (1 - 1.3) * mean
        np.testing.assert_allclose(found[b][:, where], x[where].T, atol=2e-3)


def test_a_turn_of_the_hue_is_one_to_the_standard_librarys_eye(picture):
    image, mask = picture
    third = changed(image, mask, hue=2 * np.pi / 3)
    torch.testing.assert_close(third, image.roll(1, 1), rtol=0, atol=1e-3)  # red becomes green
    before = colorsys.rgb_to_hsv(*(image[0, :, 5, 5] / 255).tolist())[0]
    after = colorsys.rgb_to_hsv(*(third[0, :, 5, 5] / 255).tolist())[0]
    assert (after - before) % 1 == pytest.approx(1 / 3, abs=1e-4)


def test_gamma_agrees_with_numpy_and_keeps_black_and_white():
    values = torch.tensor([0.0, 12.0, 100.0, 255.0]).expand(2, 3, 1, 4).contiguous()
    found = gamma_corrected(values, torch.tensor([0.8, 1.4]))
    for b, exponent in enumerate((0.8, 1.4)):
        np.testing.assert_allclose(found[b, 0, 0], 255 * (values[b, 0, 0].numpy() / 255) ** exponent, rtol=1e-5)


def test_blur_is_scipys_gaussian_of_the_person_alone(picture):
    image, mask = picture
    sigmas = (0.5, 1.0)
    found = blurred(image, mask, torch.tensor(sigmas))
    for b, sigma in enumerate(sigmas):
        weight = mask[b, 0].double().numpy()

        def gauss(values, sigma=sigma):
            return ndimage.gaussian_filter(values, sigma, mode="constant", radius=3)

        inside = mask[b, 0].numpy()
        for channel in range(3):
            expected = gauss(image[b, channel].double().numpy() * weight) / np.maximum(gauss(weight), 1e-12)
            np.testing.assert_allclose(found[b, channel].numpy()[inside], expected[inside], rtol=1e-4)
            assert (found[b, channel].numpy()[~inside] == 255).all()


def test_noise_is_standard_normal_and_differs_from_place_to_place():
    bank, like = NoiseBank(), torch.zeros(2, 3, 64, 48)
    noise = bank.pictures(torch.tensor([[0.1, 0.2], [0.7, 0.99]]), like)
    assert noise.shape == like.shape
    assert abs(noise.mean().item()) < 0.03
    assert noise.std().item() == pytest.approx(1, abs=0.03)
    assert abs(torch.corrcoef(noise.flatten(1))[0, 1].item()) < 0.05
    again = NoiseBank().pictures(torch.tensor([[0.1, 0.2]]), like)
    assert torch.equal(again[0], noise[0])


def test_noise_added_in_place_is_a_window_of_the_bank():
    bank = NoiseBank(40)
    image = torch.zeros(2, 3, 24, 32)
    deviation = torch.tensor([2.0, 0.5]).view(2, 1, 1, 1)
    added = bank.added(image, [(0.0, 0.999), (0.5, 0.0)], deviation)
    assert added is image
    whole = bank.pictures(torch.zeros(1, 2), torch.empty(1, 3, 40, 40))[0]
    torch.testing.assert_close(added[0], 2 * whole[:, :24, 8:40])
    torch.testing.assert_close(added[1], 0.5 * whole[:, 8:32, :32])
