"""Painted videos of one person: an ellipse with stripes of body parts that moves over a patterned background."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 170


@dataclass(frozen=True)
class Scene:
    """What a frame shows; positions in parts of the picture."""

    x: float = 0.5
    y: float = 0.55
    half_width: float = 0.16
    half_height: float = 0.36
    clothes: tuple[int, int, int] = (200, 60, 50)
    background: int = 0
    width: int = WIDTH
    height: int = HEIGHT


def paint(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(image (H, W, 3) uint8, mask (H, W) bool, iuv (H, W, 3) uint8 in the order I, U, V)."""
    y, x = np.mgrid[: scene.height, : scene.width]
    u = (x / scene.width - scene.x) / scene.half_width
    v = (y / scene.height - scene.y) / scene.half_height
    mask = u**2 + v**2 < 1
    waves = 40 * np.sin(x / 9 + scene.background) + 30 * np.cos(y / 7 - scene.background)
    level = (110, 60, 185)[scene.background % 3]
    back = np.stack([level + waves, level + 10 + waves * 0.5, level - 20 + 0 * waves], axis=-1)
    shade = 1 - 0.35 * (u**2 + v**2) + 0.1 * np.sin(12 * v)
    front = np.array(scene.clothes) * shade[..., None]
    image = np.where(mask[..., None], front, back).clip(0, 255).astype(np.uint8)
    part = 1 + ((v + 1) / 2 * 24).astype(int).clip(0, 23)
    iuv = np.stack([part, (u + 1) * 100 + 20, (v + 1) * 100 + 20], axis=-1).clip(0, 255)
    return image, mask, np.where(mask[..., None], iuv, 0).astype(np.uint8)


def dance(count: int, **fixed: object) -> list[Scene]:
    """Scenes of a person that sways."""
    sway = [0.5 + 0.12 * np.sin(i / 6) for i in range(count)]
    return [Scene(**{"x": x, "half_width": 0.16 + 0.02 * np.cos(i / 4), **fixed}) for i, x in enumerate(sway)]


def save(file: Path, pixels: np.ndarray) -> None:
    """A PNG of uint8 or bool."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.where(pixels, np.uint8(255), np.uint8(0)) if pixels.dtype == bool else pixels).save(file)


def save_frame(folder: Path, name: str, scene: Scene, order: str = "vui") -> None:
    """images/NAME.png, masks/NAME.png, densepose/NAME.png."""
    image, mask, iuv = paint(scene)
    save(folder / "images" / f"{name}.png", image)
    save(folder / "masks" / f"{name}.png", mask)
    save(folder / "densepose" / f"{name}.png", iuv[..., ::-1] if order == "vui" else iuv)


def save_video(folder: Path, scenes: list[Scene], order: str = "vui", first: int = 1) -> None:
    """A video as the TikTok dataset stores it."""
    for number, scene in enumerate(scenes, start=first):
        save_frame(folder, f"{number:04d}", scene, order)
