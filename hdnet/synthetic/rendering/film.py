"""Camera processing: exposure, colours, blur, noise, tone curve, sharpening and JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import correlate

from hdnet.synthetic.rendering.shading import blur
from hdnet.synthetic.surface import BoolArray, FloatArray

_LOCAL_STEP, _LOCAL_PX = 4, 5.0
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Phone:
    """Effects of a phone's software and of the internet on a picture.

    Attributes:
        cast: (2, 3) change of the white balance to the right and down the picture, from its middle to its border.
        local: Strength of local tone mapping: 0 none, 1 makes all regions equally bright.
        halo_px: Width of the sharpening's halos.
        size_px: Size that the picture was made smaller to, before it was enlarged again.
        again: Quality of a second JPEG, None for no second one.
        overlay: (H, W, 4) uint8 captions and borders, with opacity; None for none. 255 hides the person.
    """

    cast: FloatArray
    local: float
    halo_px: float
    size_px: int
    again: int | None
    overlay: FloatArray | None


@dataclass(frozen=True, eq=False)
class Film:
    """Settings of a camera, constant over a sequence.

    Attributes:
        gain: (3,) exposure error and white balance.
        contrast: Strength of the S-curve.
        gamma: About 2.2.
        shoulder: Radiance, in units of white, that highlights are compressed to white from.
        saturation: 1 leaves colours as they are.
        vignette: Light that the corners lose.
        blur_px: Standard deviation of the lens's blur.
        motion_px: (2,) length of the camera's or the person's motion, right and down.
        shot: Noise variance a unit of light.
        read: Standard deviation of noise in the dark.
        grain: Standard deviation in pixels of the noise's smoothing (denoisers leave blotches).
        sharpening: Strength of the halo at edges.
        quality: JPEG quality, None for no compression.
        halved_colour: Whether the JPEG stores colour at half the resolution.
        phone: Processing of a phone, None for that of a plain camera.
    """

    gain: FloatArray
    contrast: float
    gamma: float
    shoulder: float
    saturation: float
    vignette: float
    blur_px: float
    motion_px: FloatArray
    shot: float
    read: float
    grain: float
    sharpening: float
    quality: int | None
    halved_colour: bool
    phone: Phone | None = None

    @property
    def covered(self) -> BoolArray | None:
        """(H, W) where a border hides the person, None for nowhere."""
        if self.phone is None or self.phone.overlay is None:
            return None
        return np.asarray(self.phone.overlay[..., 3] == 255)


def draw_film(rng: np.random.Generator) -> Film:
    """Draw the settings of a phone's camera or of a compressed video."""
    warm, tint = rng.normal(0, 0.07), rng.normal(0, 0.03)
    balance = np.array([1 + warm, 1 + tint, 1 - warm])
    noisy = rng.beta(1.0, 4.0)
    moving = rng.random() < 0.15
    angle = rng.uniform(0, np.pi)
    return Film(
        gain=(2 ** np.clip(rng.normal(0.04, 0.38), -1.1, 0.65) * balance).astype(np.float32),
        contrast=float(np.clip(rng.normal(0.4, 0.25), -0.2, 0.9)),
        gamma=float(rng.uniform(2.05, 2.35)),
        shoulder=float(rng.uniform(0.5, 0.85)),
        saturation=float(np.clip(rng.normal(1.08, 0.17), 0.4, 1.5)),
        vignette=float(rng.beta(1, 3) * 0.35),
        blur_px=float(rng.choice([rng.uniform(0.25, 0.5), rng.uniform(0.5, 0.95)], p=[0.7, 0.3])),
        motion_px=np.array([np.cos(angle), np.sin(angle)]) * (rng.uniform(1, 4) if moving else 0.0),
        shot=float(0.0001 + 0.001 * noisy),
        read=float(0.0003 + 0.002 * noisy),
        grain=float(rng.uniform(0.3, 0.9)),
        sharpening=float(rng.choice([0.0, rng.uniform(0.1, 0.7)], p=[0.4, 0.6])),
        quality=int(rng.integers(60, 99)) if rng.random() < 0.85 else None,
        halved_colour=bool(rng.random() < 0.7),
    )


def develop(rng: np.random.Generator, film: Film, radiance: FloatArray) -> FloatArray:
    """Return the stored picture (H, W, 3) uint8.

    Args:
        rng: Stream of this frame's noise.
        film: The camera.
        radiance: (H, W, 3) linear, 1 for white.
    """
    planes = np.ascontiguousarray(np.moveaxis(radiance, -1, 0), dtype=np.float32) * film.gain[:, None, None]
    planes = planes * _vignette(planes.shape[-2:], film.vignette)
    planes = _move(blur(planes, film.blur_px), film.motion_px)
    noise = rng.standard_normal((4, *planes.shape[1:]), dtype=np.float32)
    # Denoising leaves less noise of colour than of brightness.
    smooth = blur(0.5 * noise[:3] + 0.85 * noise[3], film.grain)
    noise = smooth * np.float32(0.8 / max(float(smooth.std()), 1e-6))
    planes = np.maximum(planes + noise * np.sqrt(film.shot * np.maximum(planes, 0) + film.read**2), 0)
    if film.phone is not None:
        planes = _evened(film.phone, planes)
    shown = _tone(film, planes)
    if film.sharpening > 0:
        shown = shown + film.sharpening * (shown - blur(shown, 1.0 if film.phone is None else film.phone.halo_px))
    pixels = np.clip(np.round(np.moveaxis(shown, 0, -1) * 255), 0, 255).astype(np.uint8)
    if film.phone is not None:
        return _published(film, film.phone, pixels)
    return pixels if film.quality is None else _jpeg(pixels, film.quality, film.halved_colour)


def _evened(phone: Phone, planes: FloatArray) -> FloatArray:
    """Tint linear light (3, H, W) across the picture, and brighten its dark regions and darken its bright ones."""
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in planes.shape[1:])
    right, down = (step[:, None, None] for step in phone.cast)
    planes = planes * np.maximum(1 + right * x + down * y[:, None], 0.2)
    if phone.local:
        height, width = planes.shape[1:]
        grey = np.tensordot(_LUMINANCE, planes, 1).reshape(height // _LOCAL_STEP, _LOCAL_STEP, -1, _LOCAL_STEP)
        around = blur(np.log(grey.mean((1, 3)) + 0.02)[None], _LOCAL_PX)[0]
        gain = np.exp(np.float32(phone.local) * (around.mean() - around)).astype(np.float32)
        smooth = Image.fromarray(gain).resize((width, height), Image.Resampling.BILINEAR)
        planes = planes * np.asarray(smooth)
    return planes


def _published(film: Film, phone: Phone, pixels: FloatArray) -> FloatArray:
    """Compress a picture, make it smaller and larger, lay captions over it, and compress it again."""
    height, width = pixels.shape[:2]
    if phone.size_px < width:
        pixels = np.asarray(Image.fromarray(pixels).resize((phone.size_px,) * 2, Image.Resampling.BOX))
    if film.quality is not None:
        pixels = _jpeg(pixels, film.quality, film.halved_colour)
    if phone.size_px < width:
        pixels = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
    if phone.overlay is not None:
        opacity = phone.overlay[..., 3:].astype(np.float32) / 255
        pixels = np.round(pixels + opacity * (phone.overlay[..., :3] - pixels.astype(np.float32))).astype(np.uint8)
    return pixels if phone.again is None else _jpeg(pixels, phone.again, True)


def _vignette(shape: tuple[int, ...], strength: float) -> FloatArray:
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)
    return np.asarray(1 - np.float32(strength / 2) * (x * x + y * y))


def _move(planes: FloatArray, motion_px: FloatArray) -> FloatArray:
    if not motion_px.any():
        return planes
    reach = int(np.ceil(np.abs(motion_px).max() / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.float32)
    for share in np.linspace(-0.5, 0.5, 9):
        x, y = motion_px * share + reach
        column, row = int(x), int(y)
        right, down = x - column, y - row
        for step_y, wy in ((0, 1 - down), (1, down)):
            for step_x, wx in ((0, 1 - right), (1, right)):
                kernel[row + step_y, column + step_x] += wx * wy
    kernel /= kernel.sum()
    return np.stack([correlate(plane, kernel, mode="nearest") for plane in planes])


def _tone(film: Film, planes: FloatArray) -> FloatArray:
    """Map linear light (3, H, W) to display values of about 0..1."""
    start = np.float32(film.shoulder)
    over = np.maximum(planes - start, 0)
    # Linear up to the shoulder, then bent so that it never passes 1.
    bent = np.minimum(planes, start) + (1 - start) * (1 - np.exp(-over / (1 - start)))
    shown = bent ** np.float32(1 / film.gamma)
    grey = np.tensordot(_LUMINANCE, shown, 1)[None]
    shown = np.clip(grey + film.saturation * (shown - grey), 0, 1)
    return np.asarray(shown + film.contrast * (shown * shown * (3 - 2 * shown) - shown))


def _jpeg(pixels: FloatArray, quality: int, halved_colour: bool) -> FloatArray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2 if halved_colour else 0)
    file.seek(0)
    return np.array(Image.open(file))
