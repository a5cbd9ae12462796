"""Rendering of posed people: camera, light, background, furniture, film and exact labels."""

from hdnet.synthetic.rendering.alike import alike_light, draw_clothes_colour
from hdnet.synthetic.rendering.backgrounds import Background, draw_background
from hdnet.synthetic.rendering.company import Company, draw_company
from hdnet.synthetic.rendering.environments import environment_files
from hdnet.synthetic.rendering.film import Film, develop, draw_film
from hdnet.synthetic.rendering.frame import Frame, empty_frame, render_frame
from hdnet.synthetic.rendering.furniture import draw_furniture
from hdnet.synthetic.rendering.imperfect import imperfect_frame
from hdnet.synthetic.rendering.layers import overlaid
from hdnet.synthetic.rendering.light import Light, draw_light
from hdnet.synthetic.rendering.phone_film import draw_phone_film
from hdnet.synthetic.rendering.seats import draw_seat
from hdnet.synthetic.rendering.snapshots import MIN_SNAPSHOT_SHARE, Snapshot, draw_snapshot
from hdnet.synthetic.rendering.surroundings import (
    Surroundings,
    check_surroundings,
    draw_surroundings,
    photograph_files,
)
from hdnet.synthetic.rendering.things import draw_thing
from hdnet.synthetic.rendering.view import MIN_MASK_SHARE, PICTURE_SIZE, Framing, FramingError, View, draw_view

__all__ = [
    "MIN_MASK_SHARE",
    "MIN_SNAPSHOT_SHARE",
    "PICTURE_SIZE",
    "Background",
    "Company",
    "Film",
    "Frame",
    "Framing",
    "FramingError",
    "Light",
    "Snapshot",
    "Surroundings",
    "View",
    "alike_light",
    "check_surroundings",
    "develop",
    "draw_background",
    "draw_clothes_colour",
    "draw_company",
    "draw_film",
    "draw_furniture",
    "draw_light",
    "draw_phone_film",
    "draw_seat",
    "draw_snapshot",
    "draw_surroundings",
    "draw_thing",
    "draw_view",
    "empty_frame",
    "environment_files",
    "imperfect_frame",
    "overlaid",
    "photograph_files",
    "render_frame",
]
