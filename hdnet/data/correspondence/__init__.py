"""Matches between frames along DensePose."""

from hdnet.data.correspondence.matching import match
from hdnet.data.layout.correspondences import Correspondences

__all__ = ["Correspondences", "match"]
