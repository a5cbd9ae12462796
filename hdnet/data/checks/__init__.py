"""Checks of raw data against the conventions."""
