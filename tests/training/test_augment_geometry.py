import numpy as np
import pytest
import torch
from scipy import ndimage

from hdnet import losses
from hdnet.data.checks.shapes import read_charts
from hdnet.data.correspondence import match
from hdnet.data.store.batches import prepare
from hdnet.geometry import Camera, depth_to_normals, pixel_rays, project, unproject
from hdnet.training import augment_geometry as geometry
from tests.dolls import doll

SIZE = 48
CAMERAS = pytest.mark.parametrize(
    "camera", [Camera.centred(60.0, SIZE), Camera(300.0, 310.0, 200.0, 90.0, 110.0, 20.0, 4.0)], ids=["centred", "off"]
)
YES, NO = torch.tensor([True]), torch.tensor([False])


def window(left: float, top: float, scale: float) -> geometry.Window:
    return geometry.Window(*(torch.tensor([value], dtype=torch.float64) for value in (left, top, scale)))


def surface_frame(camera: Camera, radius: float | None, dtype=torch.float32):
    """A slanted plane, or a ball before the camera's middle pixel, with exact depth and normals."""
    rays = pixel_rays(SIZE, SIZE, camera, torch.zeros(1, dtype=torch.float64))
    if radius is None:
        normal = torch.nn.functional.normalize(torch.tensor([0.5, -0.3, -0.8], dtype=torch.float64), dim=0)
        depth = -3.0 / (rays * normal.view(1, 3, 1, 1)).sum(1, keepdim=True)
        mask = torch.zeros(depth.shape, dtype=torch.bool)
        mask[..., 6:40, 9:41] = True
        normals = normal.view(1, 3, 1, 1).expand(rays.shape) * mask
    else:
        centre = 4 * rays[:, :, SIZE // 2, SIZE // 2].view(1, 3, 1, 1)
        a, b = (rays * rays).sum(1, keepdim=True), (rays * centre).sum(1, keepdim=True)
        root = b**2 - a * ((centre**2).sum(1, keepdim=True) - radius**2)
        mask = root > 0.01
        depth = (b - root.clamp(min=0).sqrt()) / a
        normals = (rays * depth - centre) / radius * mask
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    vui = torch.stack([x * 5, y * 5, 1 + (x * 24) // SIZE])[None] * mask
    image = torch.where(mask, torch.stack([x * 4, y * 4, x + y])[None], 255)
    frame = {"image": image, "vui": vui, "depth": depth * mask, "normals": normals}
    return {
        **{key: value.to(dtype) for key, value in frame.items()},
        "mask": mask,
        "camera": camera.as_tensor()[None],
    }


def doll_frame(seed=0):
    person = doll(seed=seed)
    return prepare(
        {
            "white_image": torch.from_numpy(person.white_image).movedim(-1, 0)[None],
            "vui": torch.from_numpy(person.iuv[..., ::-1].copy()).movedim(-1, 0)[None],
            "mask": torch.from_numpy(person.mask)[None, None],
            "depth_m": torch.from_numpy(person.depth_m)[None, None],
            "normals": torch.from_numpy(person.normals * 30000).movedim(-1, 0)[None],
            "camera": person.camera.as_tensor()[None],
        }
    )


def iuv_of(frame) -> np.ndarray:
    return frame["vui"][0].flip(0).movedim(0, -1).numpy().astype(np.uint8)


# ---------------------------------------------------------------------------------------------------------- mirror


@CAMERAS
@pytest.mark.parametrize("radius", [None, 0.9], ids=["plane", "ball"])
def test_a_mirrored_map_unprojects_to_the_mirrored_points(camera, radius):
    frame = surface_frame(camera, radius)
    mirrored = geometry.mirror(frame, YES)
    before = unproject(frame["depth"].double(), frame["camera"]).flip(-1)
    after = unproject(mirrored["depth"].double(), mirrored["camera"])
    before[:, 0] *= -1
    assert (after - before).abs().max() < 2e-5  # of metres: the camera is float32
    # Normals by differences of the mirrored depth agree with the mirrored normals.
    mask = mirrored["mask"]
    from_depth = depth_to_normals(mirrored["depth"], mask, mirrored["camera"])
    cosine = (from_depth * mirrored["normals"]).sum(1)[mask[:, 0] & (from_depth.abs().sum(1) > 0)]
    assert cosine.median() > (0.9999 if radius is None else 0.99)


def test_a_mirror_undoes_itself_and_spares_the_other_items():
    frame = doll_frame()
    twice = geometry.mirror(geometry.mirror(frame, YES), YES)
    for key, values in frame.items():
        torch.testing.assert_close(twice[key], values, rtol=0, atol=1e-4 if key == "camera" else 0)
        assert torch.equal(geometry.mirror(frame, NO)[key], values)


def test_a_mirrored_person_keeps_to_the_charts():
    """The turning sense of U and V tells densepose of a mirrored picture from a mirrored densepose."""
    frame = doll_frame()
    mirrored = geometry.mirror(frame, YES)
    charts, before = read_charts(iuv_of(mirrored)), read_charts(iuv_of(frame))
    assert charts.fault() == ""
    assert charts.limbs == pytest.approx(before.limbs, abs=1e-6)
    assert charts.centre == pytest.approx(before.centre, abs=1e-6)
    assert read_charts(iuv_of(frame)[:, ::-1]).fault() == "mirrored"


def test_mirrored_charts_are_those_of_the_synthetic_body():
    """A body is its own mirror image: the charts at (-x, y, z) must be the mirrored charts at (x, y, z)."""
    pytest.importorskip("anny")
    from scipy.spatial import cKDTree

    from hdnet.synthetic.body import body_model
    from hdnet.synthetic.canonical import canonical_body
    from hdnet.synthetic.iuv import canonical_charts

    body, charts = canonical_body(), canonical_charts()
    skin = body_model().triangles["skin"]
    centres = body.vertices[skin].mean(1)
    distance, twin = cKDTree(centres).query(centres * [-1, 1, 1])
    u, v = charts.uv.mean(1).T * 255
    vui = torch.from_numpy(np.stack([v, u, charts.part.astype(np.float32)]).astype(np.float32))[None, :, None]
    mirrored = geometry.mirror({"vui": vui, "mask": vui[:, :1] > 0}, YES)["vui"].flip(-1)[0, :, 0].numpy()
    found = np.stack([v, u, charts.part])[:, twin]
    same_part = (mirrored[2] == found[2]) & (distance < 2e-3)
    assert same_part.mean() > 0.95
    for part in range(1, 25):
        here = same_part & (found[2] == part)
        assert here.sum() > 20
        # In levels of 255; seams and the unequal halves of a hand reach farther.
        assert np.median(np.abs(mirrored - found)[:2, here], axis=1).max() < 5, part


def test_a_mirrored_pair_has_the_same_matches_and_the_same_loss():
    frame_i, frame_j = doll_frame(0), doll_frame(3)
    rows = losses.pack_correspondences([match(iuv_of(frame_i), iuv_of(frame_j))])
    assert len(rows) > 1000
    flipped_i, flipped_j = geometry.mirror(frame_i, YES), geometry.mirror(frame_j, YES)
    flipped = geometry.mirror_rows(rows, YES, 256)
    for frame, columns in ((flipped_i, [2, 3]), (flipped_j, [4, 5])):
        r, c = (flipped[:, columns] - 1).T
        assert (frame["vui"][0, 2, r, c] == flipped[:, 1]).all()
    before = losses.warp(frame_i["depth"], frame_j["depth"], rows, frame_i["camera"], camera_j=frame_j["camera"])
    after = losses.warp(
        flipped_i["depth"], flipped_j["depth"], flipped, flipped_i["camera"], camera_j=flipped_j["camera"]
    )
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-7)
    assert torch.equal(geometry.mirror_rows(rows, NO, 256), rows)


# ------------------------------------------------------------------------------------------------------------ crop

WINDOWS = pytest.mark.parametrize(
    "place", [(3.3, -2.7, 0.85), (-6.0, -4.5, 1.21), (5.0, 7.0, 1.0)], ids=["in", "out", "moved"]
)


@CAMERAS
@WINDOWS
def test_a_cropped_plane_is_the_same_plane(camera, place):
    frame = surface_frame(camera, None, torch.float64)
    cropped = geometry.crop(frame, window(*place))
    expected = camera.crop(*place)
    torch.testing.assert_close(cropped["camera"][0], expected.as_tensor())
    points = unproject(cropped["depth"], expected)[0]
    normal = frame["normals"][0][:, frame["mask"][0, 0]][:, :1]
    error = ((points * normal[:, :, None]).sum(0) + 3).abs()
    mask = cropped["mask"][0, 0]
    inner = torch.from_numpy(ndimage.binary_erosion(mask.numpy(), np.ones((3, 3))))
    assert inner.sum() > 300
    assert error[inner].max() < 1e-12
    assert error[mask].max() < 0.5 * 4 * camera.scale / camera.fx  # at the outline, half a pixel
    normals = cropped["normals"][0][:, cropped["mask"][0, 0]]
    torch.testing.assert_close(normals, normal.expand_as(normals))


@CAMERAS
@WINDOWS
def test_a_cropped_ball_is_the_same_ball(camera, place):
    frame = surface_frame(camera, 0.9)
    cropped = geometry.crop(frame, window(*place))
    mask = cropped["mask"][0, 0]
    points = unproject(cropped["depth"].double(), cropped["camera"])[0][:, mask]
    centre = 4 * pixel_rays(SIZE, SIZE, camera, torch.zeros(1, dtype=torch.float64))[0, :, SIZE // 2, SIZE // 2]
    offset = points - centre[:, None]
    error = (offset.norm(dim=0) - 0.9).abs()
    pixel_m = 4 * camera.scale / camera.fx
    assert error.median() < 0.05 * pixel_m
    assert error.max() < 1.5 * pixel_m  # at the outline, where depth runs off
    normals = cropped["normals"].double()[0][:, mask]
    torch.testing.assert_close(normals.norm(dim=0), torch.ones_like(error), rtol=0, atol=1e-5)
    assert (normals * offset / 0.9).sum(0).min() > 0.9


def test_a_shift_by_whole_pixels_moves_every_point_exactly():
    frame = doll_frame()
    cropped = geometry.crop(frame, window(9, -5, 1))
    old, new = (slice(0, 251), slice(9, 256)), (slice(5, 256), slice(0, 247))
    before = unproject(frame["depth"].double(), frame["camera"]) * frame["mask"]
    after = unproject(cropped["depth"].double(), cropped["camera"])
    assert (after[(..., *new)] - before[(..., *old)]).abs().max() < 1e-5
    for key, atol in (("vui", 0), ("mask", 0), ("image", 1e-2), ("normals", 1e-3)):
        torch.testing.assert_close(cropped[key][(..., *new)], frame[key][(..., *old)], rtol=0, atol=atol)
    assert (cropped["image"][..., :5, :] == 255).all()
    assert not cropped["mask"][..., 247:].any()


def test_each_item_of_a_batch_has_its_own_window():
    frames = [doll_frame(0), doll_frame(1)]
    batch = {key: torch.cat([one[key] for one in frames]) for key in frames[0]}
    places = [(20.5, 11.0, 0.8), (-8.0, -30.0, 1.2)]
    both = geometry.crop(
        batch, geometry.Window(*(torch.tensor(column, dtype=torch.float64) for column in zip(*places, strict=True)))
    )
    for b in range(2):
        alone = geometry.crop(frames[b], window(*places[b]))
        for key, values in alone.items():
            torch.testing.assert_close(both[key][b : b + 1], values, rtol=1e-6, atol=1e-5)


def test_no_depth_between_two_surfaces_and_no_white_in_the_person():
    frame = surface_frame(Camera.centred(60.0, SIZE), None)
    frame["depth"] = torch.where(torch.arange(SIZE) < SIZE // 2, 3.0, 4.0) * frame["mask"]
    frame["image"] = torch.where(frame["mask"], 17.0, 255.0).expand(1, 3, SIZE, SIZE)
    cropped = geometry.crop(frame, window(2.4, 1.7, 0.83))
    mask = cropped["mask"]
    depth = cropped["depth"][mask]
    between = torch.minimum((depth - 3).abs(), (depth - 4).abs())
    assert between.max() < 0.04  # 1 %, below which it could be one surface
    assert (between > 1e-5).float().mean() < 0.03  # one column
    assert (cropped["image"][mask.expand(-1, 3, -1, -1)] - 17).abs().max() < 1e-3
    assert (cropped["image"][~mask.expand(-1, 3, -1, -1)] == 255).all()
    assert (cropped["depth"][~mask] == 0).all()


def test_cropped_matches_stay_on_their_points_and_those_that_leave_are_marked():
    frame_i, frame_j = doll_frame(0), doll_frame(3)
    rows = losses.pack_correspondences([match(iuv_of(frame_i), iuv_of(frame_j))])
    place = window(60.0, 40.0, 0.7)
    cut_i, cut_j = geometry.crop(frame_i, place), geometry.crop(frame_j, place)
    mapped = geometry.crop_rows(rows, (place, place), [frame_i, frame_j], [cut_i, cut_j])
    kept = mapped[:, 0] >= 0
    end = 60 + 0.7 * 255.5, 40 + 0.7 * 255.5
    inside = ((rows[:, [3, 5]] - 1 > 60) & (rows[:, [3, 5]] - 1 < end[0])).all(1)
    inside &= ((rows[:, [2, 4]] - 1 > 40) & (rows[:, [2, 4]] - 1 < end[1])).all(1)
    assert 500 < inside.sum() < len(rows)
    assert not kept[~inside & ((rows[:, 2:] - 1 < 38).any(1))].any()
    assert kept[inside].float().mean() > 0.97
    # The frame's pixel of either end is the same to within the rounding.
    for columns, camera_before, camera_after in (
        ([2, 3], frame_i["camera"], cut_i["camera"]),
        ([4, 5], frame_j["camera"], cut_j["camera"]),
    ):
        before, after = (value[kept][:, columns] - 1 for value in (rows, mapped))
        moved = after.double() * camera_after[0, 6] + camera_after[0, [5, 4]]
        assert (moved - (before * camera_before[0, 6] + camera_before[0, [5, 4]])).abs().max() <= 0.5 * 0.7 + 1e-4
    # Losses take the marked ones as absent.
    args = (cut_i["depth"], cut_j["depth"])
    cameras = {"camera": cut_i["camera"], "camera_j": cut_j["camera"]}
    assert losses.warp(*args, mapped, **cameras) == losses.warp(*args, mapped[kept], **cameras)


def test_a_window_magnifies_about_the_person():
    mask = torch.zeros(1, 1, 40, 60, dtype=torch.bool)
    mask[..., 10:31, 20:41] = True  # middle (30, 20)
    shown = geometry.window_about(mask, torch.tensor([2.0]), torch.tensor([[3.0, -4.0]]))
    assert shown.scale.item() == 0.5
    assert (30 - shown.left.item()) / 0.5 == pytest.approx(33)
    assert (20 - shown.top.item()) / 0.5 == pytest.approx(16)


def test_a_person_who_is_cut_by_the_edge_stays_cut_by_the_edge():
    mask = torch.zeros(2, 1, 40, 40, dtype=torch.bool)
    mask[0, :, 10:, 8:30] = True  # cut below
    mask[1, :, :, 8:30] = True  # cut above and below
    shown = geometry.window_about(mask, torch.tensor([0.8, 0.8]), torch.tensor([[0.0, -9.0], [0.0, 0.0]]))
    assert (shown.top + shown.scale * 39 <= 39 + 1e-9).all()
    assert shown.top[1] >= 0
    assert shown.scale.tolist() == pytest.approx([1.25, 1.0])


def test_an_empty_mask_gives_finite_maps():
    frame = doll_frame()
    frame["mask"] = torch.zeros_like(frame["mask"])
    shown = geometry.window_about(frame["mask"], torch.tensor([1.1]), torch.zeros(1, 2))
    assert all(values.isfinite().all() for values in geometry.crop(frame, shown).values())


def test_the_off_axis_camera_of_a_crop_projects_its_points_back():
    frame = surface_frame(Camera.reference(), 0.9)
    cropped = geometry.crop(frame, window(4.2, -3.1, 0.9))
    mask = cropped["mask"][0, 0]
    pixels = project(unproject(cropped["depth"].double(), cropped["camera"])[:, :, mask], cropped["camera"])
    expected = mask.nonzero().flip(1).T.double()
    assert (pixels[0] - expected).abs().max() < 1e-3
