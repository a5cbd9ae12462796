"""Poses and motions of synthetic people.

Draw (:func:`draw_still`, :func:`draw_dance`), settle on a person (:func:`settle`), turn into bone rotations
(:func:`rotations`), pose the body, place it in the world (:func:`place`).
"""

from hdnet.synthetic.moves.bones import rotations
from hdnet.synthetic.moves.dance import draw_dance
from hdnet.synthetic.moves.place import place
from hdnet.synthetic.moves.pose import ANGLES, GOALS, LIMITS, Pose, a_pose, approach, blend
from hdnet.synthetic.moves.settle import settle
from hdnet.synthetic.moves.stills import draw_still

__all__ = [
    "ANGLES",
    "GOALS",
    "LIMITS",
    "Pose",
    "a_pose",
    "approach",
    "blend",
    "draw_dance",
    "draw_still",
    "place",
    "rotations",
    "settle",
]
