"""Matches between frames along DensePose."""
