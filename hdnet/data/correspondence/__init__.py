"""Matches between frames along DensePose."""

from hdnet.data.correspondence.matching import Correspondences, match

__all__ = ["Correspondences", "match"]
