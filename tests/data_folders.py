"""Tiny data folders: a sphere in front of a 32 x 24 camera, with body parts in stripes."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from hdnet.data.layout.samples import LabelledSample, UnlabelledFrame
from hdnet.data.store.person_record import PersonPicture
from hdnet.files import sha256_of
from hdnet.geometry import Camera

HEIGHT, WIDTH = 32, 24
SEQUENCES = {"a": ["0000010", "0000011", "0000012", "0000013"], "b": ["0000020", "0000021", "0000022"]}
CAMERA = Camera(40.0, 40.0, 11.5, 15.5)


def sphere_maps(radius_m: float = 1.0, centre_x_m: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mask, depth_m, normals) of a sphere whose centre is 4 m away."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(x - 11.5) / 40, (y - 15.5) / 40, np.ones((HEIGHT, WIDTH))], axis=-1)
    centre = np.array([centre_x_m, 0.0, 4.0])
    a, b, c = (rays**2).sum(-1), rays @ centre, centre @ centre - radius_m**2
    discriminant = b**2 - a * c
    mask = discriminant > 0
    depth = np.where(mask, (b - np.sqrt(np.where(mask, discriminant, 0))) / a, 0)
    normals = np.where(mask[..., None], (rays * depth[..., None] - centre) / radius_m, 0)
    return mask, depth.astype(np.float32), normals.astype(np.float32)


def stripes(mask: np.ndarray, shift: int = 0) -> np.ndarray:
    """(H, W, 3) I, U, V: nine body parts in stripes; U and V grow with the column and the row."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    iuv = np.stack([1 + y * 9 // HEIGHT, (x - shift) * 9 + 20, y * 7], axis=-1).clip(0, 255)
    return np.where(mask[..., None], iuv, 0).astype(np.uint8)


def labelled_sample(name: str, seed: int = 0) -> LabelledSample:
    rng = np.random.default_rng(seed)
    mask, depth_m, normals = sphere_maps(0.9 + 0.05 * (seed % 4))
    image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    white_image = np.where(mask[..., None], image, np.uint8(255))
    return LabelledSample(name, image, white_image, stripes(mask), mask, depth_m, normals, CAMERA)


def person_picture(name: str, seed: int = 0, person: int = 0, distance_m: float = 2.5) -> PersonPicture:
    """A sphere as a synthetic person; ``distance_m`` 0 for a picture of nobody."""
    sample = labelled_sample(name, seed)
    if not distance_m:
        nothing = {key: np.zeros_like(getattr(sample, key)) for key in ("mask", "depth_m", "normals", "iuv")}
        sample = replace(sample, white_image=np.full_like(sample.image, 255), **nothing)
    mask = sample.mask
    scale = np.float32(4 / np.median(sample.depth_m[mask])) if distance_m else np.float32(1)
    rng = np.random.default_rng(seed)
    canonical_m = rng.uniform(-0.9, 1, (HEIGHT, WIDTH, 3)) * mask[..., None]
    facts = {"light": "sun" if seed % 2 else "window", "height_m": 1.5 + 0.1 * seed}
    return PersonPicture(
        replace(sample, depth_m=sample.depth_m * scale),
        person,
        distance_m,
        mask * np.uint8(255),
        canonical_m.astype(np.float32),
        facts,
    )


def unlabelled_frame(name: str, sequence: str, seed: int = 0) -> UnlabelledFrame:
    rng = np.random.default_rng(seed)
    mask = sphere_maps(1.0, 0.02 * (seed % 5))[0]
    image = rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    white_image = np.where(mask[..., None], image, np.uint8(255))
    return UnlabelledFrame(name, sequence, image, white_image, stripes(mask, seed % 3), mask, CAMERA)


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder, by its path there."""
    return {str(file.relative_to(folder)): sha256_of(file) for file in sorted(folder.rglob("*")) if file.is_file()}


def flip_last_byte(file: Path) -> None:
    """Change the last byte of a file."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
