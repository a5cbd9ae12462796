"""Crops against surfaces that are computed directly in the crop's camera, in float64."""

import math

import pytest
import torch

from hdnet.geometry import Camera, pixel_rays
from hdnet.geometry.relief import view_of
from hdnet.params import PhotoParams
from hdnet.training import scene_crops as crops
from hdnet.training.augment_geometry import box_of

SIZE, CROP = 96, 64
CAMERAS = pytest.mark.parametrize(
    "camera", [Camera.centred(90.0, SIZE), Camera(300.0, 310.0, 200.0, 90.0, 110.0, 20.0, 4.0)], ids=["centred", "off"]
)
MIRRORED = pytest.mark.parametrize("mirrored", [False, True], ids=["plain", "mirrored"])


class Plane:
    """n . p = d."""

    normal, offset = torch.nn.functional.normalize(torch.tensor([0.4, -0.3, -0.8], dtype=torch.float64), dim=0), -3.0

    def seen(self, rays_b3n):
        depth = self.offset / torch.einsum("bcn,c->bn", rays_b3n, self.normal)
        return depth, self.normal[None, :, None].expand_as(rays_b3n), torch.ones_like(depth, dtype=torch.bool)


class Ball:
    """About a point 4 m away on the ray of the picture's middle."""

    radius = 0.9

    def __init__(self, camera: Camera) -> None:
        rays = pixel_rays(SIZE, SIZE, camera, torch.zeros(1, dtype=torch.float64))
        self.centre = 4 * rays[0, :, SIZE // 2, SIZE // 2]

    def seen(self, rays_b3n):
        a, b = rays_b3n.square().sum(1), torch.einsum("bcn,c->bn", rays_b3n, self.centre)
        root = b**2 - a * (self.centre @ self.centre - self.radius**2)
        depth = (b - root.clamp(min=0).sqrt()) / a
        return depth, (rays_b3n * depth[:, None] - self.centre[None, :, None]) / self.radius, root > 0.05


def surfaces(camera: Camera) -> list:
    return [Plane(), Ball(camera)]


def frame_of(surface, camera: Camera, dtype=torch.float64) -> dict:
    rays = pixel_rays(SIZE, SIZE, camera, torch.zeros(1, dtype=torch.float64))
    depth, normals, mask = surface.seen(rays.flatten(2))
    mask = mask.view(1, 1, SIZE, SIZE)
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    return {
        "depth": (depth.view(1, 1, SIZE, SIZE) * mask).to(dtype),
        "normals": (normals.view(1, 3, SIZE, SIZE) * mask).to(dtype),
        "vui": (torch.stack([x * 2, y * 2, 1 + (x * 24) // SIZE])[None] * mask).to(dtype),
        "mask": mask,
        "camera": camera.as_tensor(torch.float64)[None],
    }


def window(mirrored: bool, turn_deg: float = 7.0, scale: float = 0.8, middle=(50.0, 44.0)) -> torch.Tensor:
    numbers = [torch.tensor([value], dtype=torch.float64) for value in (scale, math.radians(turn_deg))]
    return crops._window(torch.tensor([middle], dtype=torch.float64), *numbers, torch.tensor([mirrored]), CROP)


def rays_of(camera: Camera, window_b23: torch.Tensor) -> torch.Tensor:
    """Rays of the crop's pixels in the stored picture's camera, one pixel at a time, (1, 3, CROP, CROP)."""
    fx, fy, cx, cy = camera.pixel_intrinsics()
    v, u = torch.meshgrid(torch.arange(CROP).double(), torch.arange(CROP).double(), indexing="ij")
    x, y = (row[0] * u + row[1] * v + row[2] for row in window_b23[0])
    return torch.stack([(x - cx) / fx, (y - cy) / fy, torch.ones_like(x)])[None]


def frame_about_middle_ray(rays: torch.Tensor, mirrored: bool) -> torch.Tensor:
    """Rotation (and mirror) of the camera's frame to that of the crop, by steps of rays at the middle."""
    low, high = CROP // 2 - 1, CROP // 2
    middle = rays[0, :, low : high + 1, low : high + 1].mean((1, 2))
    down = rays[0, :, high, low : high + 1].mean(1) - rays[0, :, low, low : high + 1].mean(1)
    axis = middle / middle.norm()
    y = down - (down @ axis) * axis
    y /= y.norm()
    x = torch.linalg.cross(y, axis)
    return torch.stack([-x if mirrored else x, y, axis])


@CAMERAS
@MIRRORED
@pytest.mark.parametrize("kind", [0, 1], ids=["plane", "ball"])
def test_labels_are_those_of_the_surface_seen_in_the_crop(camera, mirrored, kind):
    surface, window_b23 = surfaces(camera)[kind], window(mirrored)
    labels = crops.labels_of(frame_of(surface, camera), window_b23, (CROP, CROP))
    rays = rays_of(camera, window_b23)
    rotation = frame_about_middle_ray(rays, mirrored)
    depth, normals, _ = surface.seen(rays.flatten(2))
    along = depth * (rotation[2] @ rays[0].flatten(1))
    mask = labels["mask"][0, 0].flatten()
    assert mask.float().mean() > 0.2
    turned = (rotation @ normals[0])[:, mask]
    angle = torch.rad2deg((labels["normals"][0].flatten(1)[:, mask] * turned).sum(0).clamp(-1, 1).arccos())
    assert angle.median() < (1e-4 if kind == 0 else 0.3)
    assert angle.max() < (1e-4 if kind == 0 else 15)  # near the outline, which is steep
    # Pixels of the crop a radian: from the area of four pixels about the middle on the unit sphere.
    focal = view_of(frame_of(surface, camera)["camera"], (CROP, CROP), window_b23).focal_b[0]
    corner = torch.nn.functional.normalize(rays[0, :, 31:33, 31:33], dim=0)
    steps = corner[:, 0, 1] - corner[:, 0, 0], corner[:, 1, 0] - corner[:, 0, 0]
    assert torch.linalg.cross(*steps).norm().rsqrt().item() == pytest.approx(focal.item(), rel=3e-3)
    log = along[0, mask].log()
    expected = focal * (log - log.median()) / 32
    error = (labels["relief"][0, 0].flatten()[mask] - expected).abs()
    assert error.median() < (1e-9 if kind == 0 else 0.01)
    assert error.max() < (1e-6 if kind == 0 else 0.3)


def test_a_mirrored_window_is_the_mirror_of_the_plain_one():
    camera = Camera.centred(90.0, SIZE)
    frame = frame_of(Ball(camera), camera)
    plain = crops.labels_of(frame, window(False, 0.0), (CROP, CROP))
    mirrored = crops.labels_of(frame, window(True, 0.0), (CROP, CROP), torch.tensor([0]))
    for key in ("mask", "within", "relief"):
        assert torch.allclose(mirrored[key].flip(3).double(), plain[key].double(), atol=1e-9), key
    normals = mirrored["normals"].flip(3) * torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(normals, plain["normals"], atol=1e-9, rtol=0)
    twice = crops.mirrored_vui(mirrored["vui"].flip(3))
    torch.testing.assert_close(twice, plain["vui"])


def test_relief_undoes_the_shift_of_the_packed_depth():
    camera = Camera.centred(90.0, SIZE)
    frame = frame_of(Plane(), camera)
    shifted = {**frame, "depth": (frame["depth"] + 0.7) * frame["mask"], "shift_m": torch.tensor([[0.7]]).double()}
    plain, found = (crops.labels_of(one, window(False), (CROP, CROP)) for one in (frame, shifted))
    torch.testing.assert_close(found["relief"], plain["relief"])
    view = view_of(frame["camera"], (CROP, CROP), window(False))
    rays = rays_of(camera, window(False))
    along = Plane().seen(rays.flatten(2))[0][0] * view.along_b1hw.flatten()
    expected = (view.focal_b / along[found["mask"].flatten()].median()).log()
    torch.testing.assert_close(found["log_scale"], expected)
    assert plain["log_scale"].isnan().all()


def test_no_depth_lies_between_two_surfaces():
    """Half the picture at 3 m, half at 4 m: what is mixed is at most 1 % off one of them."""
    camera = Camera.centred(90.0, SIZE)
    frame = frame_of(Plane(), camera)
    frame["depth"] = torch.where(torch.arange(SIZE) < 45, 3.0, 4.0).expand(1, 1, SIZE, SIZE).double().clone()
    window_b23 = window(False, 3.0, 0.37)
    labels = crops.labels_of(frame, window_b23, (CROP, CROP))
    view = view_of(frame["camera"], (CROP, CROP), window_b23)
    relative = (labels["relief"] * 32 / view.focal_b).exp() / view.along_b1hw
    relative = relative / relative[0, 0, 0, 0]
    near, far = (relative - 1).abs() < 0.01, (relative - 4 / 3).abs() < 0.0134
    assert (near | far).all()
    assert near.any()
    assert far.any()


def chance(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    columns = {"tight": 1, "fill": 1, "place": 2, "turn": 1}
    return {name: torch.rand(count, width, generator=generator) for name, width in columns.items()}


def blobs(count: int) -> torch.Tensor:
    """Thin, wide, cut off, tiny and scattered people."""
    generator = torch.Generator().manual_seed(5)
    mask = torch.zeros(count, 1, SIZE, SIZE, dtype=torch.bool)
    for k in range(count):
        top, left = (int(n) for n in torch.randint(0, 70, (2,), generator=generator))
        height, width = (int(n) for n in torch.randint(3, 96, (2,), generator=generator))
        mask[k, 0, top : top + height, left : left + width] = True
        if k % 3 == 0:  # two corners of the box, nothing in its middle
            mask[k, 0, top + height // 4 : top + height, left : left + width * 3 // 4] = False
    return mask


@pytest.mark.parametrize("fill", [(0.35, 1.25), (1.6, 2.0), (0.2, 0.25)])
def test_every_window_keeps_enough_of_the_person(fill):
    count, photo = 400, PhotoParams(fill=fill, turn_deg=15.0)
    mask = blobs(count)
    mirrored, boundless = torch.arange(count) % 2 == 0, torch.arange(count) % 4 < 2
    window_b23 = crops.random_windows(mask, box_of(mask), chance(count), photo, mirrored, boundless, CROP)
    seen = crops.sampled(mask.double(), window_b23, (CROP, CROP), "nearest", "zeros").sum((1, 2, 3))
    area = crops._area(window_b23)
    share = seen * area / mask.sum((1, 2, 3))
    assert share.min() > 0.2  # of 30 %, counted in every fourth row and column
    assert (area.sqrt() >= 0.42 - 1e-9).all()
    assert torch.equal(torch.linalg.det(window_b23[:, :, :2]) < 0, mirrored)


@pytest.mark.parametrize("share", [0.45, 0.9])
def test_tight_windows_fill_the_picture_and_others_vary(share):
    count, photo = 1000, PhotoParams(tight=share)
    mask = torch.zeros(count, 1, SIZE, SIZE, dtype=torch.bool)
    mask[..., 10:90, 40:60] = True
    numbers, no = chance(count), torch.zeros(count, dtype=torch.bool)
    window_b23 = crops.random_windows(mask, box_of(mask), numbers, photo, no, no, CROP)
    fill = 80 / (crops._area(window_b23).sqrt() * CROP)
    tight = numbers["tight"][:, 0] < share
    assert tight.float().mean() == pytest.approx(share, abs=0.05)
    assert fill[tight].min() > 0.67
    assert fill[tight].max() < 0.98
    assert fill[~tight].min() == pytest.approx(80 / (1.3 * SIZE), abs=0.01)  # not smaller: there is no background
    assert fill[~tight].max() > 1.1
    turn = torch.atan2(window_b23[:, 1, 0], window_b23[:, 0, 0]).rad2deg()
    assert turn.std() == pytest.approx(5.0, abs=0.5)
    assert turn.abs().max() <= 15.01


def test_an_empty_mask_gives_a_finite_window_and_empty_labels():
    camera = Camera.centred(90.0, SIZE)
    frame = frame_of(Plane(), camera, torch.float32)
    frame = {key: values * 0 if key != "camera" else values for key, values in frame.items()}
    frame["mask"] = frame["mask"].bool()
    no = torch.tensor([False])
    window_b23 = crops.random_windows(frame["mask"], box_of(frame["mask"]), chance(1), PhotoParams(), no, no, CROP)
    labels = crops.labels_of(frame, window_b23, (CROP, CROP))
    assert window_b23.isfinite().all()
    assert not labels["mask"].any()
    for key in ("normals", "relief"):
        assert (labels[key] == 0).all(), key
    assert labels["log_scale"].isnan().all()


def test_reduced_pictures_are_means_not_samples():
    stripes = (torch.arange(SIZE) % 2 * 255.0).expand(1, 3, SIZE, SIZE).contiguous()
    half = crops.pictures_of(stripes, torch.tensor([[[2, 0, 0.5], [0, 2, 0.5]]]).double(), (SIZE // 2, SIZE // 2))
    assert (half - 127.5).abs().max() < 1e-3
    same = crops.pictures_of(stripes, torch.eye(3)[None, :2].double(), (SIZE, SIZE))
    assert (same - stripes).abs().max() < 0.01


def test_pictures_are_the_same_where_values_may_not_be_asked_for(monkeypatch):
    pictures = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    scales = [0.5, 1.5, 3.0, 9.0]
    window_b23 = torch.cat([window(k % 2 == 1, 5.0, scale) for k, scale in enumerate(scales)])
    chosen = crops.pictures_of(pictures, window_b23, (CROP, CROP))
    monkeypatch.setattr(crops, "_may_ask", lambda _: False)
    torch.testing.assert_close(crops.pictures_of(pictures, window_b23, (CROP, CROP)), chosen)
    assert chosen.std((1, 2, 3)).diff().max() < 0  # the more reduced, the smoother
