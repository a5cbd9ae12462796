"""The check of a caller's pictures: codes, parts, and the same text for arrays and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdnet.errors import InputError
from hdnet.pictures.checks import check_pictures, covers_nothing, decode_pictures, read_pictures
from hdnet.pictures.faults import FAULTS
from hdnet.pictures.writing import encode_png


def test_a_mask_over_white_covers_nothing() -> None:
    image = np.full((4, 5, 3), 255, dtype=np.uint8)
    image[1, 2, 2] = 254  # only in blue, and only at one pixel
    mask = np.ones((4, 5), dtype=bool)
    assert not covers_nothing(image, mask)
    mask[1, 2] = False
    assert covers_nothing(image, mask)
    far_down = np.concatenate([np.full((200, 5, 3), 255, dtype=np.uint8), image])
    assert not covers_nothing(far_down, np.ones((204, 5), dtype=bool))


@pytest.fixture
def person() -> dict[str, np.ndarray]:
    mask = np.zeros((30, 20), bool)
    mask[5:25, 5:15] = True
    iuv = np.zeros((30, 20, 3), np.uint8)
    iuv[mask] = (2, 90, 160)
    return {"image": np.full((30, 20, 3), 80, np.uint8), "mask": mask, "iuv": iuv}


def refusal(**pictures: np.ndarray | None) -> InputError:
    with pytest.raises(InputError) as caught:
        check_pictures(**pictures)  # type: ignore[arg-type]
    return caught.value


def test_good_pictures_pass_unchanged(person: dict[str, np.ndarray]) -> None:
    found = check_pictures(**person)

    assert (found.image, found.mask, found.iuv) == (person["image"], person["mask"], person["iuv"])


def test_every_fault_names_its_parts(person: dict[str, np.ndarray]) -> None:
    small, nothing = np.zeros((30, 20), bool), np.zeros((30, 20, 3), np.uint8)
    corner, thin = small.copy(), small.copy()
    corner[:3, :3] = thin[10:14, 8] = True
    faulty = {
        ("missing_part", ("mask",)): {"mask": None},
        ("size_mismatch", ("densepose",)): {"iuv": nothing[1:]},
        ("empty_mask", ("mask",)): {"mask": small},
        ("unusable_picture", ("mask",)): {"mask": person["mask"].astype(np.uint8)},
        ("mask_covers_nothing", ("image", "mask")): {"image": nothing + 255},
        ("no_densepose_parts", ("densepose",)): {"iuv": nothing},
        ("mask_misses_person", ("mask", "densepose")): {"mask": corner},
        ("unusable_input", ()): {"mask": thin},
        ("unusable_input", ("densepose",)): {"iuv": person["iuv"][..., ::-1]},
    }

    for (code, parts), change in faulty.items():
        error = refusal(**{**person, **change})
        assert (error.code, error.parts) == (code, parts), str(error)


def test_files_and_bytes_are_the_same_pictures(person: dict[str, np.ndarray], tmp_path: Path) -> None:
    files = encode_png(person["image"]), encode_png(person["mask"] * np.uint8(255)), encode_png(person["iuv"])
    paths = [tmp_path / name for name in ("image.png", "mask.png", "iuv.png")]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)

    decoded, read = decode_pictures(*files, "iuv"), read_pictures(*paths, "iuv")

    for ours, theirs, expected in zip(decoded, read, person.values(), strict=True):
        assert np.array_equal(ours, expected)
        assert np.array_equal(theirs, expected)


def test_transparency_stands_for_a_mask_and_an_opaque_picture_needs_one(
    person: dict[str, np.ndarray], tmp_path: Path
) -> None:
    iuv = encode_png(person["iuv"])
    Image.fromarray(np.dstack([person["image"], person["mask"] * np.uint8(255)])).save(tmp_path / "cut.png")

    assert np.array_equal(decode_pictures((tmp_path / "cut.png").read_bytes(), None, iuv, "iuv")[1], person["mask"])
    with pytest.raises(InputError, match=r"no mask given: expected the part 'mask' \(--mask\)") as caught:
        decode_pictures(encode_png(person["image"]), None, iuv, "iuv")
    assert (caught.value.code, caught.value.parts) == ("missing_part", ("mask",))


def test_declared_examples_fill_their_texts() -> None:
    assert len({fault.code for fault in FAULTS}) == len(FAULTS) == 30
    for fault in FAULTS:
        line = str(fault.error(**fault.example))
        assert "{" not in line
        assert "\n" not in line
