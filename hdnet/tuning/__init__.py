"""Hyperparameter search: an Optuna study of short trainings of one stage.

The only package that imports optuna. The objectives do not depend on what is varied: depth error and normal angle on
held-out people, never the weighted loss. The search uses some of the held-out people, its report the others
(:mod:`hdnet.tuning.heldout`).

Every command that names the same storage and study works on the same study: to continue it, or to add workers, on one
machine or several. A worker that dies loses nothing but time (:mod:`hdnet.tuning.storage`).
"""
