"""Effects of phones and the internet on pictures: mixed light, local tones, small files, captions and borders."""

from __future__ import annotations

import string
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hdnet.synthetic.materials import hue_rgb
from hdnet.synthetic.rendering.film import Film, Phone, draw_film
from hdnet.synthetic.rendering.view import PICTURE_SIZE
from hdnet.synthetic.surface import FloatArray

_WORDS = [
    "#fyp",
    "daily",
    "look",
    "summer",
    "new",
    "best",
    "of",
    "live",
    "today",
    "follow",
    "for",
    "more",
    "part",
    "2",
    "OOTD",
    "friends",
    "moment",
    "wow",
    "part",
    "team",
]


def draw_phone_film(rng: np.random.Generator) -> Film:
    """Draw the settings of a phone's camera, its processing, and what was laid over the picture later."""
    plain = draw_film(rng)
    stops = rng.uniform(-2.4, -0.9) if rng.random() < 0.14 else rng.normal(0, 0.45)
    balance = np.array([1 + (warm := rng.normal(0, 0.09)), 1 + rng.normal(0, 0.04), 1 - warm])
    angle, moving = rng.uniform(0, np.pi), rng.random() < 0.22
    length_px = np.exp(rng.uniform(0, np.log(8))) if moving else 0.0
    small = rng.random() < 0.3
    return replace(
        plain,
        gain=(2 ** np.clip(stops, -2.4, 0.8) * balance).astype(np.float32),
        motion_px=np.array([np.cos(angle), np.sin(angle)]) * length_px,
        sharpening=float(rng.choice([0.0, rng.uniform(0.2, 1.3)], p=[0.35, 0.65])),
        quality=int(rng.integers(30, 96)) if rng.random() < 0.9 else None,
        phone=Phone(
            cast=_draw_cast(rng) if rng.random() < 0.3 else np.zeros((2, 3), dtype=np.float32),
            local=float(rng.beta(1.2, 2.5) * 0.6) if rng.random() < 0.6 else 0.0,
            halo_px=float(rng.uniform(0.7, 2.2)),
            size_px=int(rng.integers(96, 225)) if small else PICTURE_SIZE,
            again=int(rng.integers(30, 90)) if rng.random() < 0.35 else None,
            overlay=_draw_overlay(rng) if rng.random() < 0.22 else None,
        ),
    )


def _draw_cast(rng: np.random.Generator) -> FloatArray:
    """Draw how the colour of the light drifts over the picture, to the right and down: cool here, warm there."""
    warm, strength = np.array([1.0, 0.1, -1.0]) + rng.normal(0, 0.25, 3), rng.uniform(0.06, 0.28)
    angle = rng.uniform(0, 2 * np.pi)
    return np.outer([np.cos(angle), np.sin(angle)], warm * strength).astype(np.float32)


def _draw_overlay(rng: np.random.Generator) -> FloatArray:
    """Draw captions, logos, bands and borders, (H, W, 4) uint8 with opacity; opaque borders hide the person."""
    picture = Image.new("RGBA", (PICTURE_SIZE, PICTURE_SIZE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    kinds = rng.random(4) < (0.6, 0.3, 0.3, 0.45)
    if kinds[1]:
        top, shade = int(rng.integers(0, 220)), int(rng.choice([0, 255]))
        pen.rectangle(
            (0, top, PICTURE_SIZE, top + int(rng.integers(14, 50))), (shade,) * 3 + (int(rng.integers(50, 150)),)
        )
    if kinds[0]:
        _write(rng, pen)
    if kinds[2]:
        _stamp(rng, pen)
    if kinds[3] or not kinds.any():
        _border(rng, pen)
    return np.asarray(picture)


def _write(rng: np.random.Generator, pen: ImageDraw.ImageDraw) -> None:
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.5:
            text = " ".join(rng.choice(_WORDS, int(rng.integers(1, 5))))
        else:
            text = "".join(rng.choice(list(string.ascii_letters + string.digits + "  .:-/@"), int(rng.integers(3, 20))))
        colour = (255, 255, 255) if rng.random() < 0.6 else _colour(rng)
        size, at = float(rng.uniform(8, 30)), (int(rng.integers(-20, 180)), int(rng.integers(0, 240)))
        edge = int(rng.random() < 0.4)
        opacity = int(rng.integers(110, 250))
        pen.text(
            at,
            text,
            (*colour, opacity),
            ImageFont.load_default(size),
            stroke_width=edge,
            stroke_fill=(0, 0, 0, opacity),
        )


def _stamp(rng: np.random.Generator, pen: ImageDraw.ImageDraw) -> None:
    """Draw a button or a logo near a border."""
    x, y = (int(value) for value in rng.choice([rng.uniform(4, 40, 2), rng.uniform(200, 240, 2)]))
    size, opacity = int(rng.integers(10, 34)), int(rng.integers(90, 240))
    for row in range(int(rng.integers(1, 4))):
        top = y + row * (size + 6)
        place = (x, top, x + size, top + size)
        if rng.random() < 0.5:
            pen.ellipse(place, (*_colour(rng), opacity))
        else:
            pen.rounded_rectangle(place, size // 4, (*_colour(rng), opacity))


def _border(rng: np.random.Generator, pen: ImageDraw.ImageDraw) -> None:
    """Draw opaque borders, as of screenshots and of videos of another shape."""
    colour = (0, 0, 0) if rng.random() < 0.75 else _colour(rng)
    first, second = (int(value) for value in rng.integers(6, 52, 2))
    last = PICTURE_SIZE - second
    if rng.random() < 0.6:
        boxes = [(0, 0, first, PICTURE_SIZE), (last, 0, PICTURE_SIZE, PICTURE_SIZE)]
    else:
        boxes = [(0, 0, PICTURE_SIZE, first), (0, last, PICTURE_SIZE, PICTURE_SIZE)]
    for place in boxes[int(rng.random() < 0.2) :]:
        pen.rectangle(place, (*colour, 255))


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    rgb = 1 + rng.uniform(0, 1) * (hue_rgb(rng.uniform(0, 1)) - 1)
    red, green, blue = (np.clip(rgb * rng.uniform(0.3, 1), 0, 1) * 255).astype(int).tolist()
    return red, green, blue
