"""The body map of a picture, from the network's at a quarter of its size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hdnet.geometry import Camera
from hdnet.models.estimates import body_map, in_camera
from hdnet.models.lite import PersonMaps


def maps_of(logits_25hw: torch.Tensor, uv_2hw: torch.Tensor) -> PersonMaps:
    none = torch.zeros(1, 1, 1, 1)
    return PersonMaps(none, none, none, none, logits_25hw[None], uv_2hw[None], torch.zeros(1, 1))


def one_hot(parts_hw: list[list[int]]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(parts_hw), 25).permute(2, 0, 1).float()


def by_hand(logits_25hw: np.ndarray, uv_2hw: np.ndarray, row: int, column: int) -> tuple[int, float, float]:
    """Part, U and V of a pixel whose four neighbours are asked one after the other."""
    height, width = logits_25hw.shape[1:]
    neighbours = []
    for y, share_y in ((row // 4, 1 - row % 4 / 4), (row // 4 + 1, row % 4 / 4)):
        for x, share_x in ((column // 4, 1 - column % 4 / 4), (column // 4 + 1, column % 4 / 4)):
            if share_y * share_x > 0:
                y_in, x_in = min(y, height - 1), min(x, width - 1)
                neighbours.append((share_y * share_x, logits_25hw[:, y_in, x_in], uv_2hw[:, y_in, x_in]))
    mixed = sum(share * logits for share, logits, _ in neighbours)
    part = max((int(logits.argmax()) for _, logits, _ in neighbours), key=lambda k: mixed[k])
    if part == 0:
        return 0, 0.0, 0.0
    own = [(share, uv) for share, logits, uv in neighbours if logits.argmax() == part]
    u, v = sum(share * uv for share, uv in own) / sum(share for share, _ in own)
    return part, 255 * float(u), 255 * float(v)


@pytest.mark.parametrize("strength", [1.0, 6.0])
def test_it_is_what_the_neighbours_say(strength):
    generator = torch.Generator().manual_seed(5)
    parts = torch.randint(0, 4, (6, 5), generator=generator)
    logits = torch.randn(25, 6, 5, generator=generator) + strength * one_hot(parts.tolist())
    logits[4:] -= 9
    uv = torch.rand(2, 6, 5, generator=generator)
    found = body_map(maps_of(logits, uv))
    assert found.shape == (24, 20, 3)
    for row in range(24):
        for column in range(20):
            expected = by_hand(logits.numpy(), uv.numpy(), row, column)
            assert found[row, column, 0] == expected[0]
            np.testing.assert_allclose(found[row, column, 1:], expected[1:], atol=0.501)


def test_a_border_lies_where_the_logits_say_and_uv_are_not_mixed_across_it():
    logits = one_hot([[2, 2, 9, 9]])
    logits[2, 0, 1] = 3.0  # surer than its neighbour: the border lies nearer to that
    uv = torch.tensor([[[0.2, 0.2, 0.8, 0.8]], [[0.4, 0.4, 0.4, 0.4]]])
    found = body_map(maps_of(logits, uv))[0]
    assert found[:, 0].tolist() == [2] * 8 + [9] * 8
    assert found[:, 1].tolist() == [51] * 8 + [204] * 8


def test_where_nobody_is_it_is_empty():
    assert not body_map(maps_of(one_hot([[0, 0], [0, 0]]), torch.ones(2, 2, 2))).any()


def test_normals_are_of_unit_length_and_a_zero_vector_harms_nobody():
    generator = torch.Generator().manual_seed(7)
    raw = torch.randn(1, 3, 32, 32, generator=generator)
    raw[..., 3, 5] = 0
    raw.requires_grad_()
    flat, small = torch.zeros(1, 1, 32, 32), torch.zeros(1, 25, 8, 8)
    maps = PersonMaps(raw, flat, flat, flat, small, torch.zeros(1, 2, 8, 8), torch.zeros(1, 1))
    found = in_camera(maps, Camera.centred(30.0, 32)).normals_b3hw
    length = found.norm(dim=1)
    assert length[..., 3, 5].item() == 0
    length[..., 3, 5] += 1
    torch.testing.assert_close(length, torch.ones_like(length))
    found.sum().backward()
    assert raw.grad is not None
    assert bool(raw.grad.isfinite().all())
    # The person's middle ray is the camera's: nothing is turned, and F.normalize says the same.
    expected = torch.nn.functional.normalize(raw.detach().double(), dim=1)
    torch.testing.assert_close(found.detach(), expected)
