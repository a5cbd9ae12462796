"""Poses and motions of synthetic people.

Draw a pose (:func:`draw_still`, :func:`draw_everyday`, :func:`draw_dance`), solve it for a person (:func:`solve`), turn
it into bone rotations (:func:`rotations`), pose the body, and place it in the world (:func:`place`).
"""

from hdnet.synthetic.motion.bones import rotations
from hdnet.synthetic.motion.dance import draw_dance
from hdnet.synthetic.motion.everyday import draw_everyday
from hdnet.synthetic.motion.pose import ANGLES, GOALS, LIMITS, Pose, a_pose, approach, blend
from hdnet.synthetic.motion.solve import place, solve
from hdnet.synthetic.motion.stills import draw_still, draw_yaw

__all__ = [
    "ANGLES",
    "GOALS",
    "LIMITS",
    "Pose",
    "a_pose",
    "approach",
    "blend",
    "draw_dance",
    "draw_everyday",
    "draw_still",
    "draw_yaw",
    "place",
    "rotations",
    "solve",
]
