"""Maps that are none, masks that are not of the map's person, and parts of somebody else."""

from __future__ import annotations

import io

import numpy as np
import pytest
from picture_files import encoded, person_iuv, person_mask
from PIL import Image

from hdnet.errors import InputError
from hdnet.pictures.checks import check_photo, check_pictures
from hdnet.pictures.densepose import (
    NEIGHBOUR_NOTE,
    Overlap,
    blur_of,
    border_share,
    check_cover,
    check_iuv,
    own_parts,
)
from hdnet.pictures.reading import decode_iuv

SMOOTH = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.HAMMING)


def reread(image: Image.Image, kind: str, **options: object) -> np.ndarray:
    """A map after a detour through another format, as I, U, V with part numbers up to 24."""
    read = np.asarray(Image.open(io.BytesIO(encoded(image, kind, **options))).convert("RGB")).copy()
    read[..., 0] = read[..., 0].clip(max=24)
    return read


@pytest.mark.parametrize("scale", [1, 3])
def test_maps_pass_as_they_are_and_resized_by_nearest_neighbour(scale: int) -> None:
    check_iuv(person_iuv(scale))
    for factor in (0.6, 1.3, 2.5):
        image = Image.fromarray(person_iuv(scale))
        size = round(image.width * factor), round(image.height * factor)
        check_iuv(np.asarray(image.resize(size, Image.Resampling.NEAREST)))


@pytest.mark.parametrize("factor", [0.6, 1.3, 2, 4])
@pytest.mark.parametrize("resampling", SMOOTH)
def test_smooth_resizing_is_refused(factor: float, resampling: Image.Resampling) -> None:
    image = Image.fromarray(person_iuv(3))
    read = np.asarray(image.resize((round(image.width * factor), round(image.height * factor)), resampling)).copy()
    read[..., 0] = read[..., 0].clip(max=24)
    with pytest.raises(InputError, match=r"densepose: \d+% of the pixels at the edges .*nearest neighbour"):
        check_iuv(read)


def test_smooth_resizing_that_exceeds_24_is_called_by_its_name() -> None:
    image = Image.fromarray(person_iuv(2)).resize((640, 800), Image.Resampling.BICUBIC)
    with pytest.raises(InputError, match=r"d: red goes up to 2\d.*resized smoothly"):
        decode_iuv(encoded(image), "d", "iuv")


@pytest.mark.parametrize("quality", [75, 95])
def test_a_detour_through_jpeg_is_refused(quality: int) -> None:
    with pytest.raises(InputError, match="stored with loss"):
        check_iuv(reread(Image.fromarray(person_iuv(2)), "JPEG", quality=quality))


@pytest.mark.parametrize("colours", [256, 64, 16])
@pytest.mark.parametrize("dither", [Image.Dither.NONE, Image.Dither.FLOYDSTEINBERG])
def test_a_palette_is_refused(colours: int, dither: Image.Dither) -> None:
    reduced = Image.fromarray(person_iuv(2)).quantize(colours, dither=dither)
    for read in (reread(reduced, "PNG"), reread(reduced, "GIF")):
        with pytest.raises(InputError, match=r"found \d+ different I, U, V .*palette|edges of parts"):
            check_iuv(read)


def test_one_colour_a_part_is_no_palette() -> None:
    iuv = person_iuv(2)
    iuv[..., 1:] = np.where(iuv[..., :1] > 0, 90 + 5 * iuv[..., :1], 0)
    check_iuv(iuv)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda iuv: iuv[..., :1].repeat(3, axis=2), "a grey map of part numbers"),
        (lambda iuv: iuv * np.array([1, 0, 0], np.uint8), "U and V of at most 1"),
        (lambda iuv: np.dstack([iuv[..., 0], (iuv[..., 1:] / 255 + 0.5).astype(np.uint8)]), "U and V of at most 1"),
        (
            lambda iuv: np.where(iuv[..., :1] > 0, iuv * [1, 0, 0] + [0, 255, 255], 0).astype(np.uint8),
            "U 255 and V 255",
        ),
    ],
    ids=["grey", "no U and V", "scale 0..1", "one U and V"],
)
def test_part_numbers_alone_are_refused_at_every_door(change, said: str) -> None:
    iuv = change(person_iuv())
    image, mask = np.full_like(iuv, 80), person_mask(person_iuv())
    for check in (
        lambda: check_iuv(iuv),
        lambda: check_pictures(image, mask, iuv),
        lambda: check_photo(image, mask, iuv),
    ):
        with pytest.raises(InputError, match=said) as caught:
            check()
        assert (caught.value.code, caught.value.parts) == ("unusable_picture", ("densepose",))


def test_blur_counts_pixels_at_edges() -> None:
    """By hand: a column of 12 between 0 and 24, a lone 7 in the second part; both parts are at edges."""
    parts = np.zeros((3, 6), np.uint8)
    parts[:, 2], parts[:, 3:] = 12, 24
    blur = blur_of(parts)
    assert (blur.edge, blur.lonely, blur.between) == (6, 0.0, 3 / 6)
    parts[1, 4] = 7
    # Edge: 3 of the column, 3 beside it, the 7 and its neighbours above, below and to the right.
    blur = blur_of(parts)
    assert blur.edge == 10
    assert blur.lonely == pytest.approx(1 / 10)
    assert blur.between == pytest.approx(3 / 10)


def test_a_mask_that_is_white_all_over_is_refused_unless_the_person_fills_the_picture() -> None:
    iuv = person_iuv()
    image, white = np.full_like(iuv, 80), np.ones(iuv.shape[:2], bool)
    share = person_mask(iuv).mean()
    with pytest.raises(
        InputError, match=rf"body parts cover {share:.0%} of the mask, which is white on 100%"
    ) as caught:
        check_pictures(image, white, iuv)
    assert (caught.value.code, caught.value.parts) == ("few_parts_in_mask", ("mask", "densepose"))
    for given in (None, iuv):
        with pytest.raises(InputError, match="white on 100% of the picture"):
            check_photo(image, white, given)
    rim = white.copy()
    rim[:2] = rim[:, -2:] = False  # a frame that a tool left
    nearly = white.copy()
    nearly[60:90, 20:40] = False
    for mask in (rim, nearly):
        with pytest.raises(InputError, match=r"white on 9\d% of the picture"):
            check_photo(image, mask)
    close = iuv[40:102, 60:101]  # the torso fills it
    assert check_pictures(image[40:102, 60:101], white[40:102, 60:101], close).mask.all()


@pytest.mark.parametrize("spill", [0, 6])
def test_an_inverted_mask_is_called_so(spill: int) -> None:
    iuv = person_iuv()
    mask = ~person_mask(iuv)
    shown = iuv if not spill else np.maximum(iuv, np.roll(iuv, spill, axis=1))
    for check in (check_pictures, check_photo):
        with pytest.raises(InputError, match=r"the mask seems inverted: .* of the body parts lie outside it") as caught:
            check(np.full_like(iuv, 80), mask, shown)
        assert (caught.value.code, caught.value.parts) == ("mask_inverted", ("mask",))


def test_a_mask_that_hardly_meets_the_body_parts_is_refused() -> None:
    iuv = person_iuv()
    mask = np.zeros(iuv.shape[:2], bool)
    mask[100:, :80] = True  # 8,000 pixels; one leg
    covered = person_mask(iuv)[mask].mean()
    assert covered > 0.2
    assert check_cover(Overlap.of(iuv[..., 0], mask), mask) == covered
    mask[:140] = False
    mask[140:, :] = True
    mask[140:, 60:80] = False
    covered = person_mask(iuv)[mask].mean()
    assert covered < 0.2
    with pytest.raises(InputError, match=rf"body parts cover {covered:.0%} of the mask, expected at least 20%"):
        check_pictures(np.full_like(iuv, 80), mask, iuv)


def test_the_borders_share() -> None:
    mask = np.zeros((4, 6), bool)
    mask[0] = mask[:, 0] = True
    assert border_share(mask) == (6 + 1 + 4 + 1) / 20
    assert border_share(~mask) == (0 + 5 + 0 + 3) / 20


def two_people(gap: int, scale: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Maps of the left person alone, and of both."""
    wide = np.zeros((200, 320 + gap, 3), np.uint8)
    wide[:, :160] = person_iuv()
    both = wide.copy()
    both[:, 160 + gap :] = person_iuv()
    return tuple(one.repeat(scale, axis=0).repeat(scale, axis=1) for one in (wide, both))  # type: ignore[return-value]


@pytest.mark.parametrize("scale", [1, 5])
def test_parts_of_somebody_beside_are_cut_off_and_said(scale: int) -> None:
    alone, both = two_people(40, scale)
    image, mask = np.full_like(both, 80), person_mask(alone)

    found = check_pictures(image, mask, both)

    assert np.array_equal(found.iuv, alone)
    assert found.notes == (NEIGHBOUR_NOTE,)
    assert check_pictures(image, mask, alone).notes == ()
    assert np.array_equal(check_pictures(image, mask, both, keep_all=True).iuv, both)
    with pytest.raises(InputError, match="the DensePose map shows 2 people inside the mask"):
        check_pictures(image, person_mask(both), both)


def test_parts_are_cut_off_by_their_distance() -> None:
    """3 % of 256 pixels: 8 in every direction, counted pixel by pixel."""
    mask = np.zeros((60, 60), bool)
    mask[30, 30] = True
    iuv = np.full((60, 60, 3), 7, np.uint8)
    own, much = own_parts(iuv, mask, 256)
    y, x = np.mgrid[:60, :60]
    near = np.maximum(abs(y - 30), abs(x - 30)) <= 8
    assert np.array_equal(own[..., 0] > 0, near)
    assert much
    same, much = own_parts(own, mask, 256)
    assert same is own
    assert not much


def test_two_silhouettes_side_by_side_are_no_person() -> None:
    _, both = two_people(40)
    with pytest.raises(InputError, match="the mask has 2 large parts side by side") as caught:
        check_photo(np.full_like(both, 80), person_mask(both))
    assert (caught.value.code, caught.value.parts) == ("several_silhouettes", ("mask",))
    one = person_mask(person_iuv())
    one[100:120] = False  # behind a table
    assert check_photo(np.zeros((200, 160, 3), np.uint8), one).mask is not None
