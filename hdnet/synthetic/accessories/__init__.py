"""Accessories: hair, headwear, glasses, beards, jewellery and shoes."""

from hdnet.synthetic.accessories.head import draw_head
from hdnet.synthetic.accessories.jewellery import draw_jewellery
from hdnet.synthetic.accessories.shoes import draw_shoes, hidden_skin

__all__ = ["draw_head", "draw_jewellery", "draw_shoes", "hidden_skin"]
