"""Networks and model files."""

from hdnet.models.hdnet import HDNet
from hdnet.models.hourglass import DepthEstimator, NormalEstimator
from hdnet.models.identity import ModelIdentity
from hdnet.models.lite import LiteEstimator, PersonMaps, PersonModel

__all__ = [
    "DepthEstimator",
    "HDNet",
    "LiteEstimator",
    "ModelIdentity",
    "NormalEstimator",
    "PersonMaps",
    "PersonModel",
]
