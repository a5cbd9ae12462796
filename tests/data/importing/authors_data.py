"""Data in the authors' form, made up: three labelled people and four frames, 256 x 256, and their correspondences."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from hdnet.data.layout.correspondences import Correspondences, write_corr_mat, write_correspondences
from hdnet.data.layout.folders import TangFolder, TikTokFolder
from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.geometry import Camera

SIZE = 256
PEOPLE = ["0000000", "0000001", "0000002"]
FRAMES = ["0017634", "0017637", "0017640", "0020001"]
PAIRS = [("0017634", "0017637"), ("0017637", "0017640")]


def sphere(radius_m: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mask, depth_m, normals) of a sphere 4 m before the original's camera."""
    fx, fy, cx, cy = Camera.reference().pixel_intrinsics()
    y, x = np.mgrid[:SIZE, :SIZE]
    rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones((SIZE, SIZE))], axis=-1)
    centre = np.array([1.0, 0.1, 4.0])
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius_m**2
    discriminant = b**2 - a * c
    mask = discriminant > 0
    depth = np.where(mask, (b - np.sqrt(np.where(mask, discriminant, 0))) / a, 0)
    normals = np.where(mask[..., None], (rays * depth[..., None] - centre) / radius_m, 0)
    return mask, depth.astype(np.float32), normals.astype(np.float32)


def pictures(mask: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(image, white_image, iuv): smooth colours; nine body parts in stripes."""
    y, x = np.mgrid[:SIZE, :SIZE]
    image = np.stack([x, y, (x + y) // 2 + 40 * seed % 100], axis=-1).astype(np.uint8)
    iuv = np.stack([1 + y * 9 // SIZE, x, 255 - x], axis=-1)
    white_image = np.where(mask[..., None], image, np.uint8(255))
    return image, white_image, np.where(mask[..., None], iuv, 0).astype(np.uint8)


def write_authors_data(root: Path) -> None:
    """``Tang_data`` and ``tiktok_data`` below ``root``, without ``hdnet.json``."""
    tang = TangFolder(root / "Tang_data")
    for seed, name in enumerate(PEOPLE):
        mask, depth_m, normals = sphere(0.7 + 0.1 * seed)
        image, white_image, iuv = pictures(mask, seed)
        tang.write(LabelledSample(name, image, white_image, iuv, mask, depth_m, normals, Camera.reference()))
    tiktok = TikTokFolder(root / "tiktok_data")
    for seed, name in enumerate(FRAMES):
        mask, _, normals = sphere(0.6 + 0.1 * seed)
        image, white_image, iuv = pictures(mask, seed)
        tiktok.write(UnlabelledFrame(name, "all", image, white_image, iuv, mask, Camera.reference()))
        tiktok.write_pred_normals(name, normals, mask)
    folder = tiktok.root / "correspondences"
    rows = np.array([[2, 90, 120, 92, 121], [2, 91, 120, 93, 121], [5, 140, 100, 140, 101]])
    for name_i, name_j in PAIRS:
        write_correspondences(folder, name_i, name_j, Correspondences.from_rows(rows))
    write_corr_mat(folder, {name_i: [name_j] for name_i, name_j in PAIRS})


def zipped(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return target


def change_picture(path: Path, change) -> None:
    """Replaces a PNG by ``change(Image)``."""
    with Image.open(path) as picture:
        changed = change(picture.copy())
    changed.save(path)


def change_text(path: Path, change) -> None:
    path.write_text(change(path.read_text()))


def copy_of(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
