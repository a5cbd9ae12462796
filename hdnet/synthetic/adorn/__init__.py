"""What people have on besides clothes: hair, headwear, glasses, beards, jewellery, shoes."""

from hdnet.synthetic.adorn.head import draw_head
from hdnet.synthetic.adorn.jewellery import draw_jewellery
from hdnet.synthetic.adorn.shoes import draw_shoes, hidden_skin

__all__ = ["draw_head", "draw_jewellery", "draw_shoes", "hidden_skin"]
