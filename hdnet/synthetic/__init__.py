"""Synthetic dressed people with exact depth, normals and DensePose-like coordinates."""

from hdnet.synthetic.contact_sheet import contact_sheet, film_strip
from hdnet.synthetic.export import Engine, SynthesisCounts, synthesize
from hdnet.synthetic.generate import Progress, generate_sequences, generate_stills
from hdnet.synthetic.shot import SyntheticSpec
from hdnet.synthetic.version import fingerprint

__all__ = [
    "Engine",
    "Progress",
    "SynthesisCounts",
    "SyntheticSpec",
    "contact_sheet",
    "film_strip",
    "fingerprint",
    "generate_sequences",
    "generate_stills",
    "synthesize",
]
