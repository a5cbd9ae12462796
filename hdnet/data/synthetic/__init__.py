"""Synthetic dressed people with exact depth, normals and DensePose-like coordinates."""

from hdnet.data.synthetic.contact_sheet import contact_sheet
from hdnet.data.synthetic.export import SynthesisCounts, synthesize
from hdnet.data.synthetic.generate import Progress, SyntheticSpec, generate_sequences, generate_stills

__all__ = [
    "Progress",
    "SynthesisCounts",
    "SyntheticSpec",
    "contact_sheet",
    "generate_sequences",
    "generate_stills",
    "synthesize",
]
