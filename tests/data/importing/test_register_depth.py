import numpy as np
import pytest
from raw_release import COLOR_CAMERA, COLOR_SIZE, DEPTH_CAMERA, DEPTH_SIZE, MOTION, cast

from hdnet.data.importing.register_depth import fill_single_holes, register_depth
from hdnet.geometry import Camera

# Kinect v2 as users have it, and a crop of its colour picture as the network sees it.
KINECT_DEPTH, KINECT_COLOR = Camera(365.2, 365.2, 257.9, 206.1), Camera(1066.01, 1068.87, 945, 520)
CROP = KINECT_COLOR.crop(600, 150, 3.0)


@pytest.fixture(scope="module")
def measured():
    return cast(KINECT_DEPTH, (424, 512), np.eye(4))[0]


def test_the_registered_depth_is_what_the_other_camera_sees(measured):
    wanted, is_sphere, _ = cast(CROP, (256, 256), MOTION)
    found = register_depth(measured, KINECT_DEPTH, MOTION, CROP, (256, 256))
    both = (found > 0) & (wanted > 0)
    # Half a sensor pixel all round, and what the sphere hides from the sensor.
    assert both.sum() > 0.95 * (wanted > 0).sum()
    assert (found[wanted == 0] > 0).mean() < 0.002
    error_mm = np.abs(found - wanted) * 1000
    assert error_mm[both & ~is_sphere].mean() < 0.01  # a plane stays a plane
    assert np.percentile(error_mm[both & is_sphere], 90) < 0.5
    # At the sphere's edge, where the sensor cannot tell, some pixels show what is behind.
    assert (error_mm[both] > 5).mean() < 0.01


def test_millimetre_steps_are_all_that_a_16_bit_map_loses(measured):
    wanted, _, _ = cast(CROP, (256, 256), MOTION)
    found = register_depth(np.round(measured * 1000) / 1000, KINECT_DEPTH, MOTION, CROP, (256, 256))
    both = (found > 0) & (wanted > 0)
    assert np.median(np.abs(found - wanted)[both]) * 1000 < 0.2


def test_a_wrong_motion_is_seen(measured):
    wanted, is_sphere, _ = cast(CROP, (256, 256), MOTION)
    found = register_depth(measured, KINECT_DEPTH, np.eye(4), CROP, (256, 256))
    both = (found > 0) & (wanted > 0) & ~is_sphere
    assert np.median(np.abs(found - wanted)[both]) * 1000 > 10


def test_the_same_camera_gives_the_same_map():
    depth_m = cast(DEPTH_CAMERA, DEPTH_SIZE, np.eye(4))[0]
    found = register_depth(depth_m, DEPTH_CAMERA, np.eye(4), DEPTH_CAMERA, DEPTH_SIZE)
    assert np.abs(found - depth_m)[found > 0].max() < 1e-5
    assert (found > 0).sum() > 0.97 * (depth_m > 0).sum()


def test_the_nearest_surface_hides_the_others():
    depth_m = np.full((40, 40), 3.0)
    depth_m[10:30, 10:20] = 1.5
    camera = Camera(40, 40, 19.5, 19.5)
    motion = np.eye(4)
    motion[0, 3] = 0.3  # the near patch moves 8 pixels to the right, the far wall 4
    found = register_depth(depth_m, camera, motion, camera, (40, 40))
    assert found[20, 22] == pytest.approx(1.5)
    assert found[20, 15] == 0  # what the patch hid from the sensor
    assert found[20, 38] == pytest.approx(3)


def test_holes_of_one_pixel_are_closed_and_larger_ones_stay_open():
    slope = 2 + 0.01 * np.mgrid[:20, :20][1]
    depth_m = slope.copy()
    depth_m[5, 5] = 0
    depth_m[12:15, 12:15] = 0
    camera = Camera(20, 20, 9.5, 9.5)
    filled = fill_single_holes(depth_m, camera)
    assert filled[5, 5] == pytest.approx(slope[5, 5])
    assert filled[13, 13] == 0
    found = register_depth(depth_m, camera, np.eye(4), camera, (20, 20))
    assert found[5, 5] == pytest.approx(slope[5, 5], abs=1e-5)
    assert found[13, 13] == 0


def test_a_hole_between_two_surfaces_is_not_closed():
    depth_m = np.full((9, 9), 2.0)
    depth_m[:, 5:] = 4.0
    depth_m[4, 4] = 0
    assert fill_single_holes(depth_m, Camera(9, 9, 4, 4))[4, 4] == pytest.approx(2.0)  # along the edge, not across
    depth_m[:, 4] = 0
    assert fill_single_holes(depth_m, Camera(90, 90, 4, 4))[4, 4] == 0


def test_nothing_outside_the_sensors_view_is_made_up():
    depth_m = cast(DEPTH_CAMERA, DEPTH_SIZE, np.eye(4))[0]
    found = register_depth(depth_m, DEPTH_CAMERA, MOTION, COLOR_CAMERA, COLOR_SIZE)
    wanted = cast(COLOR_CAMERA, COLOR_SIZE, MOTION)[0]
    assert (found[wanted == 0] > 0).sum() < 30
    assert not register_depth(np.zeros((5, 5)), DEPTH_CAMERA, MOTION, COLOR_CAMERA, COLOR_SIZE).any()
    behind = np.eye(4)
    behind[2, 3] = -9
    assert not register_depth(depth_m, DEPTH_CAMERA, behind, COLOR_CAMERA, COLOR_SIZE).any()
