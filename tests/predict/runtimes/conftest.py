import pytest
import torch

from hdnet.geometry import Camera
from hdnet.models import DepthEstimator, HDNet, NormalEstimator


@pytest.fixture(scope="session")
def model() -> HDNet:
    """Narrow untrained networks that nevertheless give depths around 4 m, with a relief of some millimetres."""
    torch.manual_seed(0)
    depth_estimator = DepthEstimator(4, "unit", initial_depth_m=4.0)
    with torch.no_grad():
        depth_estimator.head.weight.normal_(std=0.01)
        for network in (normal_estimator := NormalEstimator(4, "unit"), depth_estimator):
            for block in network.blocks:
                block.shift.normal_(std=0.3)
    return HDNet(normal_estimator, depth_estimator, Camera.centred()).eval()
