from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hdnet.synthetic.body import Phenotype, body_model, draw_expression, draw_traits
from hdnet.synthetic.components import PosedBody, Shape


def make_shape(seed: int, gender: float | None = None, age: float | None = None) -> Shape:
    rng = np.random.default_rng(seed)
    model = body_model()
    age = float(rng.uniform(0.55, 1.0)) if age is None else age
    phenotype = Phenotype(
        gender=float(rng.random()) if gender is None else gender,
        age=age,
        muscle=float(rng.random()),
        weight=float(rng.random()),
        height=float(rng.random()),
        proportions=float(rng.random()),
        race=tuple(rng.dirichlet([1, 1, 1])),
        traits=draw_traits(rng, age),
    )
    rest = model.shape(phenotype, draw_expression(rng))
    return Shape(phenotype, rest, dict(zip(model.bone_names, model.joints(rest), strict=True)))


def make_pose(shape: Shape, turns: dict[str, tuple[float, float, float]] | None = None) -> PosedBody:
    model = body_model()
    rotations = {bone: Rotation.from_rotvec(turn).as_matrix() for bone, turn in (turns or {}).items()}
    transforms = model.transforms(shape.rest, rotations)
    return PosedBody(shape, model.skinned(shape.rest, transforms), transforms)


@pytest.fixture(scope="session")
def shape_of() -> Callable[..., Shape]:
    return make_shape


@pytest.fixture(scope="session")
def pose_of() -> Callable[..., PosedBody]:
    return make_pose
