"""Which version serves: a challenger becomes the champion by a stated rule, by force with a reason, or not.

:mod:`hdnet.registry.promotion.rule` judges two evaluations and knows no registry, :mod:`hdnet.registry.promotion.job`
measures, moves the alias and leaves every decision as a run in MLflow.
"""

from hdnet.registry.promotion.decision import Decision
from hdnet.registry.promotion.job import Contest, contest_of, promote, roll_back
from hdnet.registry.promotion.rule import Judgement, Verdict, judge

__all__ = ["Contest", "Decision", "Judgement", "Verdict", "contest_of", "judge", "promote", "roll_back"]
