from dataclasses import replace

import numpy as np
import pytest
from dolls import CAMERA, doll

from hdnet.data.checks.camera import check_cameras, check_fits, fit_camera
from hdnet.data.checks.findings import Findings
from hdnet.data.checks.normals import Surface
from hdnet.geometry import Camera

PERSON = doll()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "hdnet.json"
    path.write_text("{}")
    return path


def judged(file, camera, size=(256, 256)):
    found = Findings()
    check_cameras(found, file, {"0000000": camera, "0000001": camera}, size)
    return [str(error) for error in found.errors], [str(warning) for warning in found.warnings]


@pytest.mark.parametrize("camera", [CAMERA, Camera.reference(), Camera.centred(900), Camera.centred(90)])
def test_usual_cameras_pass(file, camera):
    assert judged(file, camera) == ([], [])


@pytest.mark.parametrize(
    ("camera", "text"),
    [
        (Camera.centred(30), "a field of view of 154 degrees"),
        (Camera.centred(20000), "a field of view of 0.733 degrees"),
        (Camera(1111.6, 1111.6, 960, 540), "principal point at pixel (960, 540) of 256 x 256"),
        (Camera(300, 400, 128, 128), "fx 300 and fy 400"),
    ],
)
def test_impossible_cameras_are_a_warning(file, camera, text):
    errors, (warning,) = judged(file, camera)
    assert errors == []
    assert text in warning
    assert "frame 0000000 and 1 more" in warning


def test_a_missing_file_states_what_is_assumed(tmp_path):
    errors, (warning,) = judged(tmp_path / "hdnet.json", Camera.reference())
    assert errors == []
    assert "file is missing; the original's camera is assumed: 314 pixels" in warning
    (error,), _ = judged(tmp_path / "hdnet.json", Camera.reference(), (512, 512))
    assert "of 256 x 256, but pictures have 512 x 512" in error


def fit_under(camera, shift_m=0.0):
    depth_m = np.where(PERSON.mask, PERSON.depth_m + shift_m, 0).astype(np.float32)
    return fit_camera(Surface.of(depth_m, PERSON.mask, camera), PERSON.normals)


@pytest.mark.parametrize("given", [CAMERA, Camera.reference(), Camera.centred(150)])
def test_the_camera_that_made_depth_and_normals_is_found_whatever_is_given(given):
    focal, centre_x, centre_y = fit_under(given)
    assert focal == pytest.approx(CAMERA.fx, rel=0.03)
    assert (centre_x, centre_y) == pytest.approx((127.5, 127.5), abs=6)


def test_pixels_that_are_not_square():
    wide = replace(CAMERA, fx=2 * CAMERA.fx)
    fx, fy = fit_under(wide)[0], fit_under(wide)[0] / 2
    assert fy < CAMERA.fx < fx


def test_too_little_surface_fits_no_camera():
    mask = np.zeros_like(PERSON.mask)
    mask[100:110, 120:130] = True
    assert fit_camera(Surface.of(PERSON.depth_m, mask, CAMERA), PERSON.normals) is None


@pytest.mark.parametrize(
    ("given", "shift_m", "text"),
    [
        (Camera.reference(), 0, "not the given one of 314 and (34, 139)"),
        (Camera.centred(160), 0, "not the given one of 160 and (128, 128)"),
        (CAMERA, -1.5, "correct the camera, or leave it where the depth was shifted"),
    ],
)
def test_a_folder_with_another_camera_is_a_warning(file, given, shift_m, text):
    found = Findings()
    fits = [fit_under(given, shift_m)] * 3
    figures = check_fits(found, file, [given] * 3, fits, (256, 256))
    (warning,) = map(str, found.warnings)
    assert text in warning
    assert set(figures) == {"fitted_focal_ratio", "fitted_offset_x_px", "fitted_offset_y_px"}


def test_the_right_camera_few_frames_and_contradictions_are_no_warning(file):
    found = Findings()
    figures = check_fits(found, file, [CAMERA] * 3, [fit_under(CAMERA)] * 3, (256, 256))
    assert figures["fitted_focal_ratio"] == pytest.approx(1, abs=0.03)
    assert check_fits(found, file, [CAMERA] * 2, [(100.0, 0.0, 0.0)] * 2, (256, 256)) == {}
    check_fits(found, file, [CAMERA] * 4, [(f, 127.5, 127.5) for f in (100.0, 900.0, 2000.0, 50.0)], (256, 256))
    assert found.warnings == []
