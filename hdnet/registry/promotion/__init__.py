"""Promotion: a challenger becomes the champion by a stated rule, by force with a reason, or not at all.

:mod:`hdnet.registry.promotion.rule` compares two evaluations and imports no registry,
:mod:`hdnet.registry.promotion.decisions` evaluates the versions, moves the alias and records every decision in MLflow.
"""

from hdnet.registry.promotion.decisions import Decision, VersionComparison, comparison_of, promote, roll_back
from hdnet.registry.promotion.rule import Judgement, Verdict, judge

__all__ = ["Decision", "Judgement", "Verdict", "VersionComparison", "comparison_of", "judge", "promote", "roll_back"]
