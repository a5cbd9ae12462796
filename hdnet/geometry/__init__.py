"""Camera, unprojection, normals from depth, rigid motion of body parts, relief.

Conventions (they are API):

* Axes: camera frame in OpenCV order, x right, y down, z forward. Depth is z in metres.
* Pixels: x = column, y = row, 0-based, integer values at pixel centres.
* Normals: unit vectors in the camera frame, the sign of ``cross(p[x+1] - p, p[y-1] - p)``: a surface that faces
  the camera has n = (0, 0, -1).
* Shape suffixes: b batch, c channel, h w, n points, digits a fixed size; frames as ``j_R_i`` (from i to j).
"""

from hdnet.geometry.camera import MEDIAN_DEPTH_M, Camera, CameraLike, camera_columns, pixel_rays, project, unproject
from hdnet.geometry.normals import (
    ORIGINAL_CLAMP,
    NormalRule,
    depth_to_normals,
    expected_angle_deg,
    original_normalise,
    unit_vectors,
)
from hdnet.geometry.relief import (
    RELIEF_UNIT_PX,
    View,
    depth_from_relief,
    masked_median,
    relief_from_depth,
    turn_normals,
    view_of,
)
from hdnet.geometry.rigid import fit_rigid, rotation_from_covariance

__all__ = [
    "MEDIAN_DEPTH_M",
    "ORIGINAL_CLAMP",
    "RELIEF_UNIT_PX",
    "Camera",
    "CameraLike",
    "NormalRule",
    "View",
    "camera_columns",
    "depth_from_relief",
    "depth_to_normals",
    "expected_angle_deg",
    "fit_rigid",
    "masked_median",
    "original_normalise",
    "pixel_rays",
    "project",
    "relief_from_depth",
    "rotation_from_covariance",
    "turn_normals",
    "unit_vectors",
    "unproject",
    "view_of",
]
