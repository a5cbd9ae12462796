import numpy as np
import pytest
import torch
from scipy import ndimage

from hdnet.training import augment_faults as faults

SIZE = 40


@pytest.fixture
def mask():
    mask = torch.zeros(2, 1, SIZE, SIZE, dtype=torch.bool)
    mask[0, :, 6:33, 10:28] = True
    mask[1, :, 14:, 5:35] = True
    return mask


def chances(seed: int, width: int, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, width, generator=torch.Generator().manual_seed(seed))


def test_rectangles_agree_with_a_loop(mask):
    chance = chances(0, faults.RECTANGLE_NUMBERS)
    found = faults.rectangles(chance, 5, faults.person_box(mask), (0.02, 0.2), mask)
    y, x = np.mgrid[:SIZE, :SIZE]
    boxes = [(10, 6, 27, 32), (5, 14, 34, 39)]
    for b, (left, top, right, bottom) in enumerate(boxes):
        expected = np.zeros((SIZE, SIZE), bool)
        u, v, w, h = chance[b, 1:].view(4, -1).double().numpy()
        for k in range(int(chance[b, 0] * 6)):
            half_w, half_h = ((0.02 + 0.18 * value[k]) * SIZE for value in (w, h))
            expected |= (abs(x - left - u[k] * (right - left)) <= half_w) & (
                abs(y - top - v[k] * (bottom - top)) <= half_h
            )
        assert (found[b, 0].numpy() == expected).all()
    assert found.any()


def test_an_outline_moves_in_and_out_but_no_farther(mask):
    found = faults.noisy_outline(mask, chances(1, faults.FIELD_CELLS**2), 3)
    square = np.ones((7, 7), bool)
    for b in range(2):
        true, noisy = mask[b, 0].numpy(), found[b, 0].numpy()
        most, least = ndimage.binary_dilation(true, square), ndimage.binary_erosion(true, square, border_value=1)
        assert (noisy <= most).all()
        assert (noisy >= least).all()
        assert (noisy & ~true).any()
        assert (true & ~noisy).any()
    everywhere = torch.zeros(2, faults.FIELD_CELLS**2)
    for b in range(2):
        in_, out = (faults.noisy_outline(mask, everywhere + value, 3)[b, 0].numpy() for value in (0, 1))
        assert (in_ == ndimage.binary_erosion(mask[b, 0].numpy(), square, border_value=1)).all()
        assert (out == ndimage.binary_dilation(mask[b, 0].numpy(), square)).all()
    assert torch.equal(faults.noisy_outline(mask, chances(1, faults.FIELD_CELLS**2), 0), mask)


def test_another_mask_leaves_what_both_agree_on(mask):
    found = mask.roll((3, -2), (2, 3))
    frame = {
        "image": torch.where(mask, 50.0, 255.0).expand(2, 3, SIZE, SIZE),
        "vui": torch.ones(2, 3, SIZE, SIZE),
        "mask": mask,
        "depth": 4.0 * mask,
        "normals": mask * torch.tensor([0.0, 0.0, -1.0]).view(1, 3, 1, 1),
        "camera": torch.zeros(2, 7),
    }
    seen = faults.with_found_mask(frame, found, torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    both = mask & found
    assert torch.equal(seen["mask"], both)
    assert torch.equal(seen["depth"], 4.0 * both)
    assert torch.equal(seen["normals"].abs().sum(1, keepdim=True) > 0, both)
    for b, colour in enumerate(([1, 2, 3], [4, 5, 6])):
        image = seen["image"][b].movedim(0, -1)
        assert (image[both[b, 0]] == 50).all()
        assert (image[(found & ~mask)[b, 0]] == torch.tensor(colour)).all()
        assert (image[~found[b, 0]] == 255).all()
    assert seen["vui"] is frame["vui"]


def test_parts_are_dropped_one_by_one_or_all_together():
    vui = torch.zeros(2, 3, 5, 25)
    vui[:, 2] = torch.arange(25.0)
    part_chance = torch.full((2, 24), 0.9)
    part_chance[0, 6] = 0.1  # part 7
    found = faults.dropped_parts(vui, torch.tensor([[0.9], [0.05]]), part_chance, 0.1, 0.2)
    assert found[0, 0, 0].nonzero().flatten().tolist() == [7]
    assert found[1, 0, 0].nonzero().flatten().tolist() == list(range(1, 25))
