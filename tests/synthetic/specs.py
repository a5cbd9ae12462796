"""Specs for tests, by position and of a varied look."""

from typing import Any

from hdnet.synthetic import SyntheticSpec

VARIED: dict[str, Any] = {"focal_px": (250.0, 600.0), "truncated": 0.4, "occluded": 0.12}


def spec_of(people: int, sequences: int, frames_per_sequence: int, seed: int, **look: Any) -> SyntheticSpec:
    """So many pictures of people cut and hidden more often than in the demo, unless ``look`` says otherwise."""
    amounts = {"people": people, "sequences": sequences, "frames_per_sequence": frames_per_sequence, "seed": seed}
    return SyntheticSpec(**(amounts | VARIED | look))
