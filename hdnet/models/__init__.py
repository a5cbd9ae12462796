"""Networks and model files."""

from hdnet.models.hdnet import HDNet
from hdnet.models.hourglass import DepthEstimator, NormalEstimator
from hdnet.models.identity import ModelIdentity

__all__ = ["DepthEstimator", "HDNet", "ModelIdentity", "NormalEstimator"]
