"""Synthetic dressed people with exact depth, normals and DensePose-like coordinates."""

from hdnet.data.synthetic.contact_sheet import contact_sheet, film_strip
from hdnet.data.synthetic.export import Engine, SynthesisCounts, synthesize
from hdnet.data.synthetic.generate import Progress, SyntheticSpec, generate_sequences, generate_stills
from hdnet.data.synthetic.sizes import SIZES, Size
from hdnet.data.synthetic.version import fingerprint

__all__ = [
    "SIZES",
    "Engine",
    "Progress",
    "Size",
    "SynthesisCounts",
    "SyntheticSpec",
    "contact_sheet",
    "film_strip",
    "fingerprint",
    "generate_sequences",
    "generate_stills",
    "synthesize",
]
