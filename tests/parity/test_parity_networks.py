"""Both networks against the original's, with weights that both sides generate; see ``parity_figures``."""

import numpy as np
import pytest
import torch
from parity_figures import assert_close, load
from parity_recipe import network
from torch import Tensor

FIGURES = load("networks")


def network_input(name: str, dtype: torch.dtype) -> Tensor:
    normals = FIGURES["normals_times127"].astype(np.float32) / np.float32(127)
    channels = np.concatenate([FIGURES["image"], normals, FIGURES["densepose_vui"]], axis=-1, dtype=np.float32)
    inputs_19hw = torch.from_numpy(channels).permute(2, 0, 1)[None].to(dtype)
    return inputs_19hw[:, :3] if name == "normal" else inputs_19hw


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [
        ("depth", torch.float64, 1e-10),
        # The original's own float32 output is up to 6e-3 away from these float64 figures.
        ("depth", torch.float32, 1e-4),
        ("normal", torch.float64, 1e-10),
        ("normal", torch.float32, 1e-4),
    ],
    ids=["depth-float64", "depth-float32", "normal-float64", "normal-float32"],
)
def test_network_output(name, dtype, tolerance):
    with torch.inference_mode():
        output_hwc = network(name, dtype)(network_input(name, dtype))[0].permute(1, 2, 0).double()
    rows, columns = (torch.from_numpy(FIGURES[f"{name}/{axis}"]).long() for axis in ("rows", "columns"))
    assert_close(output_hwc[rows, columns], FIGURES[f"{name}/output"], tolerance)
    summary = [output_hwc.mean(), output_hwc.std(correction=0), output_hwc.norm()]
    assert [value.item() for value in summary] == pytest.approx(FIGURES[f"{name}/mean_std_norm"], rel=tolerance)
