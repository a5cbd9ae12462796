"""Camera, unprojection, normals from depth, rigid motion of body parts.

Conventions (they are API):

* Axes: camera frame in OpenCV order, x right, y down, z forward. Depth is z in metres.
* Pixels: x = column, y = row, 0-based, integer values at pixel centres.
* Normals: unit vectors in the camera frame, the sign of ``cross(p[x+1] - p, p[y-1] - p)``: a surface that faces
  the camera has n = (0, 0, -1).
* Shape suffixes: b batch, c channel, h w, n points, digits a fixed size; frames as ``j_R_i`` (from i to j).
"""

from __future__ import annotations

import math
from dataclasses import asdict, astuple, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hdnet.errors import DataError
from hdnet.svd import handedness, svd_3x3

NormalRule = Literal["exact", "original"]

# The original replaces components below this magnitude by it (docs/parity.md, 17 and 23).
ORIGINAL_CLAMP = 1e-5


@dataclass(frozen=True)
class Camera:
    """Pinhole camera of a crop that was cut out of a larger frame.

    ``frame_x = scale * x + origin_x`` maps crop pixels to frame pixels, in which the intrinsics are given.

    Attributes:
        fx: Focal length in frame pixels, along x.
        fy: Focal length in frame pixels, along y.
        cx: Principal point in frame pixels, x.
        cy: Principal point in frame pixels, y.
        origin_x: Frame x of the crop's pixel (0, 0).
        origin_y: Frame y of the crop's pixel (0, 0).
        scale: Frame pixels per crop pixel.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    origin_x: float = 0.0
    origin_y: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in astuple(self)):
            raise DataError(f"camera has a value that is not finite: {self}; expected seven finite numbers")
        if self.fx <= 0 or self.fy <= 0 or self.scale <= 0:
            raise DataError(f"camera needs fx, fy and scale above 0, found {self.fx}, {self.fy}, {self.scale}")

    @classmethod
    def reference(cls) -> Camera:
        """The original's fixed camera (docs/parity.md, 21), off axis: its principal point is crop pixel (34.5, 139)."""
        return cls(1111.6, 1111.6, 960.0, 540.0, 838.0, 48.0, 3.5390625)

    @classmethod
    def centred(cls, focal_px: float = 314.09, size: int = 256) -> Camera:
        """A camera whose axis passes through the middle of a square picture of ``size`` pixels.

        The default focal length is the reference camera's, in crop pixels.
        """
        centre = (size - 1) / 2
        return cls(focal_px, focal_px, centre, centre)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Camera:
        """Read what :meth:`to_dict` gives; missing crop values mean "no crop"."""
        try:
            return cls(**{key: float(value) for key, value in values.items()})
        except (TypeError, ValueError) as error:
            expected = "expected fx, fy, cx, cy, origin_x, origin_y, scale"
            raise DataError(f"not a camera: {values!r} ({error}); {expected}") from error

    def to_dict(self) -> dict[str, float]:
        """Return the seven numbers by name, for JSON."""
        return asdict(self)

    def crop(self, left: float, top: float, zoom: float) -> Camera:
        """Return the camera of a crop of this picture.

        Args:
            left: x in this picture of the crop's pixel 0.
            top: y in this picture of the crop's pixel 0.
            zoom: Pixels of this picture per pixel of the crop.
        """
        return Camera(
            self.fx,
            self.fy,
            self.cx,
            self.cy,
            self.origin_x + self.scale * left,
            self.origin_y + self.scale * top,
            self.scale * zoom,
        )

    def pixel_intrinsics(self) -> tuple[float, float, float, float]:
        """Return (fx, fy, cx, cy) in the crop's own pixels."""
        return (
            self.fx / self.scale,
            self.fy / self.scale,
            (self.cx - self.origin_x) / self.scale,
            (self.cy - self.origin_y) / self.scale,
        )

    def as_tensor(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the seven numbers in field order, shape (7,); a stack of them is a batch ``camera_b7``."""
        return torch.tensor(astuple(self), dtype=dtype)


# One camera for the whole batch, or a row of Camera.as_tensor() per item.
CameraLike = Camera | Tensor


def camera_columns(camera: CameraLike, like: Tensor) -> tuple[Tensor, ...]:
    """Return (fx, fy, cx, cy, origin_x, origin_y, scale), each (B,) or (1,), with device and dtype of ``like``."""
    camera_b7 = camera.as_tensor(torch.float64)[None] if isinstance(camera, Camera) else camera
    if camera_b7.ndim != 2 or camera_b7.shape[1] != 7:
        raise ValueError(f"expected a camera batch of shape (B, 7), got {tuple(camera_b7.shape)}")
    return camera_b7.to(like).unbind(1)


def pixel_rays(height: int, width: int, camera: CameraLike, like: Tensor) -> Tensor:
    """Return directions K^-1 (x, y, 1) of all pixels: z is 1, so that ray times depth is the point.

    Returns:
        (B, 3, H, W), or (1, 3, H, W) for a single camera.
    """
    fx, fy, cx, cy, origin_x, origin_y, scale = (c[:, None, None] for c in camera_columns(camera, like))
    y_h1 = torch.arange(height, device=like.device, dtype=like.dtype)[:, None]
    x_1w = torch.arange(width, device=like.device, dtype=like.dtype)[None, :]
    ray_x = ((scale * x_1w + origin_x) - cx) / fx
    ray_y = ((scale * y_h1 + origin_y) - cy) / fy
    shape = (len(ray_x), height, width)
    return torch.stack([ray_x.expand(shape), ray_y.expand(shape), like.new_ones(shape)], dim=1)


def unproject(depth_b1hw: Tensor, camera: CameraLike) -> Tensor:
    """Return camera-frame points of a depth map: p = z K^-1 (x', y', 1).

    Args:
        depth_b1hw: Depth z in metres.
        camera: One camera, or ``camera_b7``.

    Returns:
        points_b3hw in metres.
    """
    _check_map(depth_b1hw, 1)
    return depth_b1hw * pixel_rays(depth_b1hw.shape[-2], depth_b1hw.shape[-1], camera, depth_b1hw)


def project(points_b3n: Tensor, camera: CameraLike, *, frame: bool = False) -> Tensor:
    """Project camera-frame points to pixels.

    Args:
        points_b3n: Points in metres, z > 0.
        camera: One camera, or ``camera_b7``.
        frame: Return pixels of the uncropped frame instead of the crop's.

    Returns:
        (B, 2, N): x, y.
    """
    fx, fy, cx, cy, origin_x, origin_y, scale = (c[:, None] for c in camera_columns(camera, points_b3n))
    x, y, z = points_b3n.unbind(1)
    frame_x, frame_y = fx * x / z + cx, fy * y / z + cy
    if frame:
        return torch.stack([frame_x, frame_y], dim=1)
    return torch.stack([(frame_x - origin_x) / scale, (frame_y - origin_y) / scale], dim=1)


def depth_to_normals(depth_b1hw: Tensor, mask_b1hw: Tensor, camera: CameraLike, rule: NormalRule = "exact") -> Tensor:
    """Compute surface normals of a depth map by one-sided differences: n = (p[x+1] - p) x (p[y-1] - p).

    ``rule="exact"`` takes the left or lower neighbour where the right or upper one is outside the mask or the picture.
    Pixels where both are missing, and those outside the mask, get 0.
    ``rule="original"`` repeats the original bit by bit, flaws included: neighbours wrap around the border
    (docs/parity.md, 22), components of the un-normalised product below 1e-5 become 1e-5, which tilts a frontal plane
    at 4 m by 5 degrees (23), and neighbours outside the mask are the camera's origin (24).

    Args:
        depth_b1hw: Depth z in metres.
        mask_b1hw: True where the depth counts.
        camera: One camera, or ``camera_b7``.
        rule: "exact" or "original".

    Returns:
        normals_b3hw, unit vectors in the camera frame, computed in float64 (neighbours are millimetres apart, metres
        away) and returned in the type of the depth. The gradient is finite everywhere; an empty mask gives zeros
        ("exact") or, as in the original, (0.577, 0.577, 0.577) everywhere outside the mask ("original").
    """
    _check_map(depth_b1hw, 1)
    if mask_b1hw.shape != depth_b1hw.shape:
        raise ValueError(f"mask has shape {tuple(mask_b1hw.shape)}, depth {tuple(depth_b1hw.shape)}")
    mask_b1hw = mask_b1hw.bool()
    if rule not in ("exact", "original"):
        raise ValueError(f"rule must be 'exact' or 'original', got {rule!r}")
    points_b3hw = unproject(depth_b1hw.double(), camera)
    normals_of = _exact_normals if rule == "exact" else _original_normals
    return normals_of(points_b3hw, mask_b1hw).to(depth_b1hw.dtype)


def _exact_normals(points_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    to_right, has_x = _tangent(points_b3hw, mask_b1hw, dim=-1, forward=True)
    to_up, has_y = _tangent(points_b3hw, mask_b1hw, dim=-2, forward=False)
    product_b3hw = torch.linalg.cross(to_right, to_up, dim=1)
    squared = (product_b3hw * product_b3hw).sum(1, keepdim=True)
    valid = has_x & has_y & (squared > 0)
    # The inner `where` keeps 0 out of rsqrt, whose gradient there is infinite even if the result is unused.
    return torch.where(valid, product_b3hw * torch.where(valid, squared, 1).rsqrt(), 0)


def _tangent(points_b3hw: Tensor, mask_b1hw: Tensor, dim: int, forward: bool) -> tuple[Tensor, Tensor]:
    """Difference to the next point along ``dim`` (backward: to the previous one), else the opposite one negated."""
    size = points_b3hw.shape[dim]
    step = points_b3hw.narrow(dim, 1, size - 1) - points_b3hw.narrow(dim, 0, size - 1)
    both = mask_b1hw.narrow(dim, 1, size - 1) & mask_b1hw.narrow(dim, 0, size - 1)
    end_step, end_both = torch.zeros_like(points_b3hw.narrow(dim, 0, 1)), torch.zeros_like(mask_b1hw.narrow(dim, 0, 1))
    after, has_after = torch.cat([step, end_step], dim), torch.cat([both, end_both], dim)
    before, has_before = torch.cat([end_step, step], dim), torch.cat([end_both, both], dim)
    if forward:
        return torch.where(has_after, after, before), has_after | has_before
    return -torch.where(has_before, before, after), has_after | has_before


def _original_normals(points_b3hw: Tensor, mask_b1hw: Tensor) -> Tensor:
    points_b3hw = torch.where(mask_b1hw, points_b3hw, 0)
    to_right = points_b3hw.roll(-1, dims=-1) - points_b3hw
    to_up = points_b3hw.roll(1, dims=-2) - points_b3hw
    normals = original_normalise(torch.linalg.cross(to_right, to_up, dim=1))
    # The original rotates by the identity here and then clamps and normalises once more.
    return original_normalise(normals)


def original_normalise(vectors_b3hw: Tensor) -> Tensor:
    """Set components below 1e-5 in magnitude to +1e-5 (their gradient is 0), then normalise to unit length."""
    clamped = torch.where(vectors_b3hw.abs() < ORIGINAL_CLAMP, ORIGINAL_CLAMP, vectors_b3hw)
    return clamped / clamped.square().sum(1, keepdim=True).sqrt()


def fit_rigid(
    points_i_bn3: Tensor, points_j_bn3: Tensor, weights_bn: Tensor | None = None, allow_reflection: bool = False
) -> tuple[Tensor, Tensor]:
    """Fit the least-squares rigid motion of points i onto points j (Kabsch).

    Args:
        points_i_bn3: Points in frame i.
        points_j_bn3: The same points in frame j.
        weights_bn: Weight of each point, at least 0; a set of total weight 0 gives the identity.
        allow_reflection: Accept det R = -1 where that fits better, as the original does (docs/parity.md, 30).

    Returns:
        (j_R_i_b33, j_t_i_b3), points_j = R points_i + t. Sets that do not determine the rotation (fewer than three
        points, collinear, coincident) give one of the optimal rotations with a finite gradient (terms that would
        divide by about 0 are dropped). No points, one point or coincident points give the identity, and the
        translation between the means.
    """
    if points_i_bn3.shape != points_j_bn3.shape or points_i_bn3.shape[-1] != 3:
        raise ValueError(f"expected two (B, N, 3), got {tuple(points_i_bn3.shape)} and {tuple(points_j_bn3.shape)}")
    weights_bn1 = torch.ones_like(points_i_bn3[..., :1]) if weights_bn is None else weights_bn[..., None]
    total_b11 = weights_bn1.sum(1, keepdim=True)
    share_bn1 = weights_bn1 / torch.where(total_b11 > 0, total_b11, 1)
    mean_i_b13 = (share_bn1 * points_i_bn3).sum(1, keepdim=True)
    mean_j_b13 = (share_bn1 * points_j_bn3).sum(1, keepdim=True)
    covariance_b33 = ((points_i_bn3 - mean_i_b13) * share_bn1).transpose(1, 2) @ (points_j_bn3 - mean_j_b13)
    j_R_i_b33 = rotation_from_covariance(covariance_b33, allow_reflection)
    j_t_i_b3 = mean_j_b13[:, 0] - (j_R_i_b33 @ mean_i_b13.transpose(1, 2))[..., 0]
    return j_R_i_b33, j_t_i_b3


def rotation_from_covariance(covariance_b33: Tensor, allow_reflection: bool = False) -> Tensor:
    """Return the rotation R that maximises trace(R H) for the covariance H = sum p_i p_j^T; its gradient is finite."""
    rotation_b33: Tensor = _KabschRotation.apply(covariance_b33, allow_reflection)  # type: ignore[no-untyped-call]
    return rotation_b33


class _KabschRotation(torch.autograd.Function):
    """R = V D U^T of H = U S V^T, D = diag(1, 1, +-1).

    The derivative of R needs only 1 / (d_a s_a + d_b s_b), not the 1 / (s_a^2 - s_b^2) of the SVD's own, so equal
    singular values are harmless; pairs whose sum vanishes (rank <= 1, or a reflection's tie) contribute 0.
    """

    @staticmethod
    def forward(ctx: Any, covariance_b33: Tensor, allow_reflection: bool) -> Tensor:
        u, s, vt = svd_3x3(covariance_b33)
        d = torch.ones_like(s)
        if not allow_reflection:
            d[:, 2] = torch.where(handedness(u) * handedness(vt) < 0, -1, 1)
        rotation: Tensor = vt.mT @ (d[..., None] * u.mT)
        ctx.save_for_backward(u, s * d, vt, d)
        return rotation

    @staticmethod
    def backward(ctx: Any, grad_b33: Tensor) -> tuple[Tensor, None]:
        u, signed, vt, d = ctx.saved_tensors
        # With V' = V D: R = V' U^T and H = U (S D) V'^T. dR = V' W U^T, W antisymmetric,
        # W_ab = (X_ba - X_ab) / (s_a + s_b) for X = U^T dH V'.
        v = vt.mT * d[..., None, :]
        sums = signed[..., :, None] + signed[..., None, :]
        limit = signed.abs().amax(-1)[..., None, None] * torch.finfo(signed.dtype).eps * 16
        safe = sums.abs() > limit
        inverse = torch.where(safe, 1 / torch.where(safe, sums, 1), 0)
        g = v.mT @ grad_b33 @ u
        w = (g - g.mT) * inverse
        return u @ w.mT @ v.mT, None


def _check_map(map_bchw: Tensor, channels: int) -> None:
    if map_bchw.ndim != 4 or map_bchw.shape[1] != channels:
        raise ValueError(f"expected shape (B, {channels}, H, W), got {tuple(map_bchw.shape)}")
