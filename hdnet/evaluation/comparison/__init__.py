"""Comparison of several models on the same samples, with confidence intervals of the differences."""

from hdnet.evaluation.comparison.result import Comparison, Row, Side, compare_sides
from hdnet.evaluation.comparison.run import compare, resolve_side

__all__ = ["Comparison", "Row", "Side", "compare", "compare_sides", "resolve_side"]
