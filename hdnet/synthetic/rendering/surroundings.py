"""Real surroundings: environment maps around the person and photographs behind them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from hdnet.errors import DataError, InputError
from hdnet.pictures.reading import read_image
from hdnet.synthetic.rendering.environments import Environment, environment_files, files_of, load_environment, read_map
from hdnet.synthetic.rendering.light import Light
from hdnet.synthetic.rendering.rays import pixel_directions
from hdnet.synthetic.rendering.shading import blur
from hdnet.synthetic.rendering.view import PICTURE_SIZE, View
from hdnet.synthetic.surface import FloatArray

# Shares of all pictures, where a folder is given; the others have drawn rooms and streets.
ENVIRONMENT_SHARE, PHOTOGRAPH_SHARE = 0.5, 0.2
_SUFFIXES = (".jpeg", ".jpg", ".png")
_KEPT_PHOTOGRAPHS = 64
# Shorter side of a photograph in memory.
_KEPT_SIZE = 768
# Brightest radiance of a background, in units of white: blurred, the sun would else cover the picture.
_BRIGHTEST = 12.0
# Height of a map's middle above the floor and radius of the sphere around it.
_MIDDLE_HEIGHT_M, _RADIUS_M = (0.8, 2.2), (6.0, 16.0)
# Detail made up for maps whose pixels are this much blurred, over their own local contrast.
_COARSE_PX, _DETAIL = 0.8, (0.0, 1.0)
# Least side of the part shown of a photograph, over its shorter side.
_SMALLEST_CROP = 0.4
_GAMMA = 2.2


@dataclass(frozen=True, eq=False)
class Beyond:
    """Picture beyond all solids.

    Attributes:
        radiance: (H * W, 3) linear.
        depth_m: (H * W,) z of the floor, 0 where what is seen is far away.
    """

    radiance: FloatArray
    depth_m: FloatArray


class Surroundings(Protocol):
    """Surroundings of a picture or sequence."""

    @property
    def facts(self) -> dict[str, str]:
        """Kind and name of the file."""

    @property
    def light(self) -> Light | None:
        """Light of the surroundings, None where the drawn light serves."""

    def beyond(self, rng: np.random.Generator, exposure: float, view: View, person: FloatArray, /) -> Beyond:
        """Return what the camera sees of the surroundings.

        Args:
            rng: Stream of the light.
            exposure: Factor from radiance to film.
            view: View of the camera.
            person: (3,) the person's place in the world.
        """


def draw_surroundings(
    rng: np.random.Generator, environments: Path | None, photographs: Path | None
) -> Surroundings | None:
    """Choose surroundings from the folders given, or none.

    Raises:
        DataError: A folder or a file in it cannot be used.
    """
    choice = rng.random()
    if environments is not None and choice < ENVIRONMENT_SHARE:
        files = environment_files(environments)
        environment = load_environment(files[int(rng.integers(len(files)))])
        turned = environment.turned(float(rng.uniform(0, 2 * np.pi)), bool(rng.random() < 0.5))
        return Around(turned, turned.light(rng))
    if photographs is not None and choice > 1 - PHOTOGRAPH_SHARE:
        files = photograph_files(photographs)
        return Behind(files[int(rng.integers(len(files)))])
    return None


def check_surroundings(environments: Path | None, photographs: Path | None) -> None:
    """Read every file of the folders given.

    Raises:
        DataError: A folder or a file in it cannot be used.
    """
    for file in [] if environments is None else environment_files(environments):
        read_map(file)
    for file in [] if photographs is None else photograph_files(photographs):
        load_photograph(file)


@dataclass(frozen=True, eq=False)
class Around:
    """Environment map around the person, as it is turned.

    The map is projected onto the floor and onto a large sphere. Its middle is at the height of the camera, so that the
    horizon is at the height that the camera's pitch gives it, and between camera and person, so that the person stands
    on the floor of the map and not in a wall.
    """

    environment: Environment
    light: Light

    @property
    def facts(self) -> dict[str, str]:
        """Name of the map."""
        return {"environment": self.environment.name}

    def beyond(self, rng: np.random.Generator, exposure: float, view: View, person: FloatArray, /) -> Beyond:
        """Return the map as the camera sees it, on a floor that people stand on."""
        camera, picture = view.centre_m, self.environment.picture
        middle = camera + rng.uniform(0.4, 1.0) * (person - camera)
        middle[2] = np.clip(camera[2], *_MIDDLE_HEIGHT_M)
        radius = max(rng.uniform(*_RADIUS_M), 1.6 * float(np.linalg.norm(person - camera)))
        rays = view.world_directions(_every_pixel(view))
        depth, floor = _hits(rays.astype(np.float64), camera, middle, radius)
        seen = picture.sample((camera - middle + rays * depth[:, None]).astype(np.float32))
        seen_px = view.camera.pixel_intrinsics()[0] * np.pi / len(picture.radiance)
        blur_px = 0.45 * seen_px * radius / (radius + np.linalg.norm(camera - middle))
        radiance = _magnified(rng, np.minimum(seen, _BRIGHTEST / exposure), float(blur_px))
        return Beyond(radiance, np.where(floor, depth, 0).astype(np.float32))


def _magnified(rng: np.random.Generator, radiance: FloatArray, blur_px: float) -> FloatArray:
    """Blur away the grid of a map with pixels larger than the picture's, and add detail where the map has some.

    Else the person would be the only sharp thing before coarse maps.
    """
    strength, noise = rng.uniform(*_DETAIL), rng.standard_normal((1, PICTURE_SIZE, PICTURE_SIZE), dtype=np.float32)
    planes = np.ascontiguousarray(radiance.T, dtype=np.float32).reshape(3, PICTURE_SIZE, PICTURE_SIZE)
    planes = blur(planes, max(blur_px, 0.55))
    if blur_px > _COARSE_PX:
        grey = planes.mean(0, keepdims=True) + 1e-6
        contrast = np.sqrt(blur(((grey - blur(grey, 3 * blur_px)) / grey) ** 2, 2 * blur_px))
        noise = blur(noise, 0.6) - blur(noise, blur_px)
        # Edges between things have more contrast than the things themselves.
        planes = planes * np.exp(strength * np.minimum(contrast, 0.12) / noise.std() * noise)
    return np.ascontiguousarray(planes.reshape(3, -1).T)


def _hits(rays: FloatArray, camera: FloatArray, middle: FloatArray, radius: float) -> tuple[FloatArray, FloatArray]:
    """Return z (N,) where rays (N, 3) leave a sphere or reach the floor inside it, and whether it is the floor."""
    start = camera - middle
    square, half = np.einsum("ij,ij->i", rays, rays), rays @ start
    outer = (np.sqrt(half**2 + square * (radius**2 - start @ start)) - half) / square
    down = rays[:, 2] < -1e-9
    floor = np.where(down, -camera[2] / np.where(down, rays[:, 2], -1), np.inf)
    return np.minimum(floor, outer), floor < outer


def _every_pixel(view: View) -> FloatArray:
    y, x = (grid.ravel() for grid in np.mgrid[:PICTURE_SIZE, :PICTURE_SIZE])
    return pixel_directions(view.camera, x, y)


@dataclass(frozen=True, eq=False)
class Behind:
    """Photograph far behind the person."""

    file: Path
    light: None = None

    @property
    def facts(self) -> dict[str, str]:
        """Name of the photograph."""
        return {"photograph": self.file.name}

    def beyond(self, rng: np.random.Generator, exposure: float, _view: View, _person: FloatArray, /) -> Beyond:
        """Return a random square of the photograph, as bright on film as it was stored."""
        pixels = load_photograph(self.file)
        height, width = pixels.shape[:2]
        side = float(rng.uniform(_SMALLEST_CROP, 1.0)) * min(height, width)
        left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
        square = Image.fromarray(pixels).resize(
            (PICTURE_SIZE, PICTURE_SIZE), Image.Resampling.BILINEAR, (left, top, left + side, top + side)
        )
        shown = np.asarray(square, dtype=np.float32)[:, :: -1 if rng.random() < 0.5 else 1]
        radiance = (shown.reshape(-1, 3) / 255) ** np.float32(_GAMMA) * np.float32(rng.uniform(0.8, 1.25))
        return Beyond(radiance / np.float32(exposure), np.zeros(PICTURE_SIZE**2, dtype=np.float32))


def photograph_files(folder: Path) -> list[Path]:
    """List the photographs of a folder, by name.

    Raises:
        DataError: The folder is missing or holds no photograph.
    """
    return files_of(folder, _SUFFIXES, "photograph")


@lru_cache(maxsize=_KEPT_PHOTOGRAPHS)
def load_photograph(file: Path) -> FloatArray:
    """Read a photograph (H, W, 3) uint8, shrunk; the last ones are kept.

    Raises:
        DataError: The file is unreadable or smaller than a picture.
    """
    try:
        pixels = read_image(file)
    except InputError as error:
        raise DataError(str(error)) from error
    height, width = pixels.shape[:2]
    if min(height, width) < PICTURE_SIZE:
        raise DataError(f"{file}: has {width} x {height} pixels; expected at least {PICTURE_SIZE} x {PICTURE_SIZE}")
    zoom = _KEPT_SIZE / min(height, width)
    if zoom >= 1:
        return pixels
    size = (round(width * zoom), round(height * zoom))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
