"""Checks of training data against all conventions.

A check takes the :class:`hdnet.data.checks.findings.Findings` that it adds to, and the file that they name. Pictures
and maps are arrays (H, W) or (H, W, 3), masks bool.
"""
