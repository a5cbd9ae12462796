"""The search for better training parameters: an Optuna study of short trainings of stage `train_hdnet`.

The only package that imports optuna. What a trial is judged by does not depend on what is varied: depth error and
normal angle on held-out people, never the weighted loss. The search looks at some of the held-out people, its report
at the others (:mod:`hdnet.tuning.people`).

Every command that names the same storage and study works on the same study: to go on with it, to have more workers, on
one machine or several. A worker that dies loses nothing but time (:mod:`hdnet.tuning.storage`).
"""
