from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from maps import sunny, write_hdr, write_photograph
from scipy import ndimage
from scipy.ndimage import label
from specs import spec_of

from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.errors import DataError, ParamsError
from hdnet.geometry import Camera, depth_to_normals, unproject
from hdnet.params import parse_section
from hdnet.synthetic import SyntheticSpec, generate_sequences, generate_stills
from hdnet.synthetic import shot as shots
from hdnet.synthetic.generate import make_person
from hdnet.synthetic.rendering import MIN_MASK_SHARE, FramingError
from hdnet.synthetic.shot import Shot


def _same(a: Any, b: Any) -> bool:
    return all(
        np.array_equal(getattr(a, field.name), getattr(b, field.name))
        if isinstance(getattr(a, field.name), np.ndarray)
        else getattr(a, field.name) == getattr(b, field.name)
        for field in fields(a)
    )


def _angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((a * b).sum(-1), -1, 1)))


def test_shapes_types_and_ranges(stills: list[LabelledSample]) -> None:
    assert [sample.name for sample in stills] == [f"{index:07d}" for index in range(len(stills))]
    for sample in stills:
        for name, channels, kind in (
            ("image", 3, np.uint8),
            ("white_image", 3, np.uint8),
            ("iuv", 3, np.uint8),
            ("normals", 3, np.float32),
        ):
            array = getattr(sample, name)
            assert array.shape == (256, 256, channels)
            assert array.dtype == kind
        assert sample.mask.dtype == bool
        assert sample.depth_m.dtype == np.float32
        assert sample.depth_m.shape == sample.mask.shape == (256, 256)
        assert np.isfinite(sample.depth_m).all()
        assert np.isfinite(sample.normals).all()
        inside = sample.depth_m[sample.mask]
        assert 1 < inside.min() < inside.max() < 8


def test_nothing_outside_the_mask(stills: list[LabelledSample]) -> None:
    for sample in stills:
        outside = ~sample.mask
        assert not sample.depth_m[outside].any()
        assert not sample.normals[outside].any()
        assert not sample.iuv[outside].any()
        assert (sample.white_image[outside] == 255).all()
        assert np.array_equal(sample.white_image[sample.mask], sample.image[sample.mask])


def test_every_picture_shows_enough_of_a_person(stills: list[LabelledSample]) -> None:
    for sample in stills:
        assert MIN_MASK_SHARE <= sample.mask.mean() < 0.8
        sizes = np.bincount(label(sample.mask)[0].ravel())[1:]
        assert sizes.max() > 0.6 * sample.mask.sum()
        body = (sample.iuv[..., 0] > 0).sum() / sample.mask.sum()
        # Skirts, hair and wide clothes have no charts.
        assert 0.4 < body <= 1


def test_people_are_whole_where_nothing_is_to_be_cut() -> None:
    for sample in generate_stills(spec_of(4, 0, 0, 3, truncated=0.0, occluded=0.0)):
        rows, columns = np.nonzero(sample.mask)
        assert min(rows.min(), columns.min()) >= 1
        assert max(rows.max(), columns.max()) <= 254
        assert 100 <= np.ptp(rows) + 1 <= 250


def test_people_are_cut_where_all_are_to_be() -> None:
    for sample in generate_stills(spec_of(4, 0, 0, 3, truncated=1.0, occluded=0.0)):
        assert sample.mask[-1].any()


def test_median_depth_is_four_metres(stills: list[LabelledSample]) -> None:
    for sample in stills:
        assert np.median(sample.depth_m[sample.mask]) == pytest.approx(4, abs=1e-6)


def test_normals_are_unit_and_face_the_camera(stills: list[LabelledSample]) -> None:
    for sample in stills:
        fx, fy, cx, cy = sample.camera.pixel_intrinsics()
        y, x = np.nonzero(sample.mask)
        ray = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones(len(x))], axis=1)
        normals = sample.normals[sample.mask]
        assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
        assert ((normals * ray).sum(1) < 0).all()


def test_normals_agree_with_those_of_the_depth(stills: list[LabelledSample]) -> None:
    angles = []
    for sample in stills:
        depth = torch.from_numpy(sample.depth_m)[None, None]
        mask = torch.from_numpy(sample.mask)[None, None]
        from_depth = depth_to_normals(depth, mask, sample.camera, rule="exact")[0].permute(1, 2, 0).numpy()
        z = np.where(sample.mask, sample.depth_m, 1e3)
        smooth = sample.mask.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                smooth &= np.abs(np.roll(z, step, axis) - z) < 0.03
        angles.append(_angle_deg(from_depth, sample.normals)[smooth])
    # What is left is mostly one-sided differences at 256 pixels.
    assert np.concatenate(angles).mean() < 8


def test_shading_goes_with_the_normals(stills: list[LabelledSample]) -> None:
    """A linear fit of grey values on normals explains something in every picture: light is not random."""
    for sample in stills:
        grey = sample.white_image[sample.mask].mean(1)
        basis = np.concatenate([sample.normals[sample.mask], np.ones((len(grey), 1))], axis=1)
        fitted = basis @ np.linalg.lstsq(basis, grey, rcond=None)[0]
        assert np.corrcoef(fitted, grey)[0, 1] > 0.1


def test_same_seed_same_bytes_whatever_the_jobs(
    spec: SyntheticSpec, stills: list[LabelledSample], frames: list[UnlabelledFrame]
) -> None:
    again = list(generate_stills(spec.model_copy(update={"people": 3}), jobs=2))
    assert len(again) == 3
    assert all(_same(a, b) for a, b in zip(again, stills, strict=False))
    assert all(_same(a, b) for a, b in zip(generate_sequences(spec), frames, strict=True))
    other = next(iter(generate_stills(spec.model_copy(update={"people": 1, "seed": spec.seed + 1}))))
    assert not np.array_equal(other.image, stills[0].image)


def test_what_is_drawn_elsewhere_does_not_change_the_rest(spec: SyntheticSpec, stills: list[LabelledSample]) -> None:
    """Streams are separate: another lens moves the camera, not the person, the clothes or the light."""
    a, b = Shot(spec, "still", 0), Shot(spec.model_copy(update={"focal_px": (400.0, 500.0)}), "still", 0)
    assert a.camera != b.camera
    assert np.array_equal(a.person.shape.rest, b.person.shape.rest)
    assert [garment.cut for garment in a.person.outfit] == [garment.cut for garment in b.person.outfit]
    assert a.light.kind == b.light.kind


def test_a_sequence_keeps_person_light_background_and_camera(frames: list[UnlabelledFrame]) -> None:
    assert [frame.name for frame in frames] == [f"{index:07d}" for index in range(4)]
    assert {frame.sequence for frame in frames} == {"seq-000"}
    assert len({frame.camera for frame in frames}) == 1
    empty = ~np.any([frame.mask for frame in frames], axis=0)
    empty &= np.roll(empty, 4, 0) & np.roll(empty, -4, 0) & np.roll(empty, 4, 1) & np.roll(empty, -4, 1)
    pixels = np.stack([frame.image[empty] for frame in frames]).astype(float)
    # Sensor noise and shadows differ from frame to frame, the scene does not.
    assert np.median(np.abs(pixels - pixels[0])) < 8
    colours = [np.median(frame.image[frame.mask], axis=0) for frame in frames]
    assert np.ptp(np.stack(colours), axis=0).max() < 40


def test_a_sequence_moves_but_not_much_between_neighbours(frames: list[UnlabelledFrame]) -> None:
    for a, b in pairwise(frames):
        overlap = (a.mask & b.mask).sum() / (a.mask | b.mask).sum()
        assert 0.55 < overlap < 0.999


def test_names_and_sequences_run_on() -> None:
    made = list(generate_sequences(spec_of(0, 2, 1, 5)))
    assert [(frame.name, frame.sequence) for frame in made] == [
        ("0000000", "seq-000"),
        ("0000001", "seq-001"),
    ]
    assert not np.array_equal(made[0].image, made[1].image)


def test_cameras() -> None:
    centred = next(iter(generate_stills(spec_of(1, 0, 0, 8, focal_px=(300, 310)))))
    fx, fy, cx, cy = centred.camera.pixel_intrinsics()
    assert 300 <= fx == fy <= 310
    assert cx == cy == 127.5
    original = next(iter(generate_stills(spec_of(1, 0, 0, 8, camera="reference", truncated=0.0))))
    assert original.camera == Camera.reference()
    columns = np.nonzero(original.mask)[1]
    assert abs(columns.mean() - 127.5) < 80
    # Off axis: the person stands to the right of the optical axis.
    depth = torch.from_numpy(original.depth_m)[None, None]
    points = unproject(depth, original.camera)[0, 0][torch.from_numpy(original.mask)]
    assert points.mean() > 0.3


def test_imperfect_masks_and_charts_are_valid_and_off_by_default(stills: list[LabelledSample]) -> None:
    assert (spec_of(1, 0, 0, 0).masks, spec_of(1, 0, 0, 0).iuv) == ("exact", "exact")
    spec = spec_of(3, 0, 0, 3, masks="segmenter", iuv="densepose")
    for spoilt, exact in zip(generate_stills(spec), stills, strict=False):
        differ = (spoilt.mask != exact.mask).sum() / exact.mask.sum()
        assert 0 < differ < 0.3
        assert (spoilt.iuv != exact.iuv).any()
        assert np.allclose(np.linalg.norm(spoilt.normals[spoilt.mask], axis=1), 1, atol=1e-5)
        assert spoilt.depth_m[spoilt.mask].min() > 1
        assert (spoilt.white_image[~spoilt.mask] == 255).all()


def test_progress_is_told_after_each_picture() -> None:
    calls: list[tuple[int, int]] = []
    spec = spec_of(2, 0, 0, 4)
    list(generate_stills(spec, progress=lambda done, total: calls.append((done, total))))
    assert calls == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"people": -1}, "people"),
        ({"sequences": -1}, "sequences"),
        ({"frames_per_sequence": -1}, "frames_per_sequence"),
        ({"frames_per_sequence": 0}, "at least 1 frame"),
        ({"seed": -1}, "seed"),
        ({"focal_px": (400.0, 300.0)}, "focal_px"),
        ({"camera": "fisheye"}, "camera"),
        ({"stride": 0}, "stride"),
        ({"truncated": 1.5}, "truncated"),
        ({"occluded": -0.1}, "occluded"),
        ({"masks": "soft"}, "masks"),
        ({"iuv": "real"}, "iuv"),
    ],
)
def test_bad_specs_are_refused(change: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"people": 1, "sequences": 1, "frames_per_sequence": 2, "seed": 0}
    with pytest.raises(ValueError, match=message):
        SyntheticSpec(**(values | change))
    with pytest.raises(ParamsError, match=message):
        parse_section(SyntheticSpec, SyntheticSpec(**values).model_dump() | change, "mine")


def test_jobs_below_one_are_refused() -> None:
    with pytest.raises(DataError, match="jobs is 0"):
        list(generate_stills(spec_of(1, 0, 0, 0), jobs=0))


def test_a_failing_sample_is_one_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no such bone")

    monkeypatch.setattr(shots, "draw_person", broken)
    with pytest.raises(DataError, match=r"synthetic sample 0 of seed 9 .*no such bone"):
        list(generate_stills(spec_of(1, 0, 0, 9)))


def test_frames_that_show_too_little_are_drawn_again_and_then_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = spec_of(1, 0, 0, 6)
    share = next(iter(generate_stills(spec))).mask.mean()
    monkeypatch.setattr(shots, "MIN_MASK_SHARE", share + 0.001)
    assert next(iter(generate_stills(spec))).mask.mean() > share
    monkeypatch.setattr(shots, "MIN_MASK_SHARE", 0.95)
    monkeypatch.setattr(shots, "_ATTEMPTS", 2)
    with pytest.raises(DataError, match="covers less than 95%"):
        list(generate_stills(spec))


def test_frames_with_something_at_the_lens_are_drawn_again_and_then_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One finger before a selfie's lens ended a run of thousands: the packed store refuses such depth."""
    spec = spec_of(1, 0, 0, 6)
    depth_m = next(iter(generate_stills(spec))).depth_m
    span = depth_m.max() / depth_m[depth_m > 0].min()
    monkeypatch.setattr(shots, "MAX_DEPTH_SPAN", span * 0.999)
    other_m = next(iter(generate_stills(spec))).depth_m
    assert other_m.max() / other_m[other_m > 0].min() < span
    monkeypatch.setattr(shots, "MAX_DEPTH_SPAN", 1.001)
    monkeypatch.setattr(shots, "_ATTEMPTS", 2)
    with pytest.raises(DataError, match=r"over 1\.001 times as far away as the nearest, in 2 draws"):
        list(generate_stills(spec))


def test_people_whom_no_camera_frames_are_drawn_again_and_then_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One person of thousands must not end a run: a pose, or for further pictures a side, is drawn again."""
    spec = spec_of(1, 0, 0, 6, pictures_per_person=2)
    draw_view, calls = shots.draw_view, []

    def sometimes(*arguments: Any) -> Any:
        calls.append(arguments[2][0].pose)
        if len(calls) % 2:
            raise FramingError("a person cannot be placed")
        return draw_view(*arguments)

    monkeypatch.setattr(shots, "draw_view", sometimes)
    assert len(make_person(spec, 0)) == 2
    first, second, third, fourth = calls
    assert first.name != second.name or first.yaw_deg != second.yaw_deg
    assert third.yaw_deg != fourth.yaw_deg

    def never(*_: object) -> None:
        raise FramingError("a person cannot be placed")

    monkeypatch.setattr(shots, "draw_view", never)
    with pytest.raises(DataError, match=r"sample 0 of seed 6 .*cannot be placed, in 8 draws"):
        list(generate_stills(spec))


def test_further_pictures_of_a_person_show_the_same_body_in_other_light_and_from_another_side() -> None:
    """The first is that of a run with one picture a person; masks, cameras and colours of the others differ."""
    once = next(iter(generate_stills(spec_of(1, 0, 0, 6))))
    spec = spec_of(2, 0, 0, 6, pictures_per_person=3)
    first, second, third = (picture.sample for picture in make_person(spec, 0))
    assert _same(first, once)
    assert [picture.sample.name for picture in make_person(spec, 1)] == ["0000003", "0000004", "0000005"]
    assert _same(make_person(spec, 0)[2].sample, third)
    for other in (second, third):
        assert other.camera != first.camera
        assert (other.mask != first.mask).mean() > 0.02
    assert not np.array_equal(second.image, third.image)


def test_real_surroundings_change_the_picture_and_no_label(tmp_path: Path) -> None:
    """About half of the pictures in the light of a map, a fifth before a photograph, the rest as without."""
    pytest.importorskip("OpenImageIO")
    write_hdr(tmp_path / "maps" / "sun.hdr", sunny())
    write_photograph(tmp_path / "photographs" / "cells.png")
    given = {"environments": tmp_path / "maps", "photographs": tmp_path / "photographs"}
    spec = spec_of(1, 0, 0, 6, pictures_per_person=8)
    before, after = (
        [picture.sample for picture in make_person(one, 0)] for one in (spec, spec.model_copy(update=given))
    )
    used = []
    for take, (old, new) in enumerate(zip(before, after, strict=True)):
        for name in ("mask", "iuv", "depth_m", "normals"):
            assert np.array_equal(getattr(old, name), getattr(new, name)), name
        facts = Shot(spec.model_copy(update=given), "still", 0, take).facts
        used.append((facts["environment"], facts["photograph"]))
        assert np.array_equal(old.image, new.image) == (used[-1] == ("", ""))
        if facts["photograph"]:
            # The same light, whatever is behind.
            inside = ndimage.binary_erosion(old.mask, iterations=6)
            assert np.abs(old.image[inside].astype(int) - new.image[inside]).mean() < 6
    assert {("sun.hdr", ""), ("", "cells.png"), ("", "")} == set(used)
    assert Shot(spec, "still", 0).facts["environment"] == ""


def test_a_bad_folder_is_an_error_before_any_picture(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        next(generate_stills(spec_of(1, 0, 0, 6, photographs=tmp_path / "none")))


def test_company_and_things_do_not_depend_on_the_number_of_processes() -> None:
    spec = spec_of(2, 0, 0, 5, company=1.0, things=1.0, alike=1.0)
    with_two = list(generate_stills(spec, jobs=2))
    # The second person alone, with none of the first one's bystanders made before.
    again = make_person(spec, 1)[0]
    assert _same(with_two[1], again.sample)
    assert again.facts["alike"] == 1
    alone = Shot(spec.model_copy(update={"company": 0.0, "things": 0.0, "alike": 0.0}), "still", 1)
    both = Shot(spec, "still", 1)
    for stream in ("person", "clothes", "pose", "camera", "light", "noise"):
        assert alone.rng[stream].integers(2**32) == both.rng[stream].integers(2**32)
