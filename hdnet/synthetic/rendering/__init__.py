"""Rendering of posed people: camera, light, background, furniture, film and exact labels."""

from hdnet.synthetic.rendering.backgrounds import Background, draw_background
from hdnet.synthetic.rendering.environments import environment_files
from hdnet.synthetic.rendering.film import Film, develop, draw_film
from hdnet.synthetic.rendering.frame import Frame, empty_frame, render_frame
from hdnet.synthetic.rendering.furniture import draw_furniture
from hdnet.synthetic.rendering.imperfect import imperfect_frame
from hdnet.synthetic.rendering.light import Light, draw_light
from hdnet.synthetic.rendering.surroundings import (
    Surroundings,
    check_surroundings,
    draw_surroundings,
    photograph_files,
)
from hdnet.synthetic.rendering.view import MIN_MASK_SHARE, PICTURE_SIZE, Framing, View, draw_view

__all__ = [
    "MIN_MASK_SHARE",
    "PICTURE_SIZE",
    "Background",
    "Film",
    "Frame",
    "Framing",
    "Light",
    "Surroundings",
    "View",
    "check_surroundings",
    "develop",
    "draw_background",
    "draw_film",
    "draw_furniture",
    "draw_light",
    "draw_surroundings",
    "draw_view",
    "empty_frame",
    "environment_files",
    "imperfect_frame",
    "photograph_files",
    "render_frame",
]
