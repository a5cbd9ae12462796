"""Synchronous client of the HTTP service; needs only the extra ``client``, no torch and no model.

Example::

    with Client("http://127.0.0.1:8000") as service:
        result = service.depth("photo.jpg")
        result.depth_m, result.normals, result.confidence, result.camera, result.model
"""

from hdnet.client.answers import DepthResult, Intrinsics, Model, Offer, Scale, ServiceError, Version
from hdnet.client.service import Client

__all__ = ["Client", "DepthResult", "Intrinsics", "Model", "Offer", "Scale", "ServiceError", "Version"]
