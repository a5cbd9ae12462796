"""The canonical body: one shape in the rest pose, on which cuts, charts and textures are defined."""

from __future__ import annotations

from functools import lru_cache

from hdnet.synthetic.body import Phenotype, body_model
from hdnet.synthetic.iuv import CanonicalBody, SurfaceCoordinates, canonical_body, surface_coordinates

CANONICAL_SHAPE = Phenotype(0.5, 0.8, 0.5, 0.5, 0.5, 0.5, (1 / 3, 1 / 3, 1 / 3))


@lru_cache(maxsize=1)
def canonical() -> tuple[CanonicalBody, SurfaceCoordinates]:
    """The canonical body and its charts, once a process."""
    model = body_model()
    body = canonical_body(model, model.shape(CANONICAL_SHAPE))
    return body, surface_coordinates(body, model.triangles["skin"])
