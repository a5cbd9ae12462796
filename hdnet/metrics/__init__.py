"""Metrics of depth and normals against the truth: declared in ``table.py``, computed by one function for each group.

Formulas: ``docs/evaluation.md``. Below evaluation, so that validation in a training depends on nothing else of it.
"""
