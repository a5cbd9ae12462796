"""Training losses: those of the paper, and :mod:`hdnet.losses.person` of the network for photographs."""

from hdnet.losses.paper import (
    CorrespondencesLike,
    depth_mse,
    normal_angle,
    pack_correspondences,
    pairs_with_matches,
    scale_invariant,
    warp,
)

__all__ = [
    "CorrespondencesLike",
    "depth_mse",
    "normal_angle",
    "pack_correspondences",
    "pairs_with_matches",
    "scale_invariant",
    "warp",
]
