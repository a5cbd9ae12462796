"""Which of several models is better, and whether the samples suffice to say so.

``sources.py`` finds the evaluations that are named, ``result.py`` compares them sample by sample, ``picture.py`` draws
the differences, ``run.py`` does all of it and reports it.
"""

from hdnet.evaluation.comparison.result import Comparison, Row, Side, compare_sides
from hdnet.evaluation.comparison.run import compare
from hdnet.evaluation.comparison.sources import resolve_side

__all__ = ["Comparison", "Row", "Side", "compare", "compare_sides", "resolve_side"]
