"""Training data: folder layouts, validation, correspondences, packed arrays, datasets, synthetic people."""
