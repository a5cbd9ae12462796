"""Prediction for photographs: from picture, mask and DensePose map to depth, normals and a mesh."""
