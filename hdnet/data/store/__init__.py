"""Packed data: memory-mapped shards, and the data sets that trainings read from them."""
