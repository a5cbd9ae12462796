"""Pictures of posed people: camera, light, background, furniture, film, and the exact labels that go with them."""

from hdnet.synthetic.pictures.backgrounds import Background, draw_background
from hdnet.synthetic.pictures.film import Film, develop, draw_film
from hdnet.synthetic.pictures.frame import TARGET_MEDIAN_M, Frame, render_frame
from hdnet.synthetic.pictures.furniture import draw_furniture
from hdnet.synthetic.pictures.imperfect import imperfect_frame
from hdnet.synthetic.pictures.light import Light, draw_light
from hdnet.synthetic.pictures.view import MIN_MASK_SHARE, PICTURE_SIZE, Framing, View, draw_view

__all__ = [
    "MIN_MASK_SHARE",
    "PICTURE_SIZE",
    "TARGET_MEDIAN_M",
    "Background",
    "Film",
    "Frame",
    "Framing",
    "Light",
    "View",
    "develop",
    "draw_background",
    "draw_film",
    "draw_furniture",
    "draw_light",
    "draw_view",
    "imperfect_frame",
    "render_frame",
]
