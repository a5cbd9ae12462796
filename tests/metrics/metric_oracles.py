"""The formulas once more, in plain NumPy float64 and written another way, loop by loop where that is clearer."""

from __future__ import annotations

import numpy as np


def normals_of_sphere(size: int, focal_px: float, centre_m: np.ndarray, radius_m: float):
    """Depth (S, S), normals (S, S, 3) and mask (S, S) of a ball, pixel by pixel, by the ray's quadratic equation."""
    depth, normals, mask = np.zeros((size, size)), np.zeros((size, size, 3)), np.zeros((size, size), bool)
    for row in range(size):
        for column in range(size):
            ray = np.array([(column - (size - 1) / 2) / focal_px, (row - (size - 1) / 2) / focal_px, 1.0])
            a, b, c = ray @ ray, -2 * ray @ centre_m, centre_m @ centre_m - radius_m**2
            root = b * b - 4 * a * c
            if root > 0:
                z = (-b - np.sqrt(root)) / (2 * a)
                depth[row, column], mask[row, column] = z, True
                normals[row, column] = (z * ray - centre_m) / radius_m
    return depth, normals, mask


def best_offset_mae_mm(pred: np.ndarray, true: np.ndarray, reach_m: float = 0.1, steps: int = 200_001) -> float:
    """Tang's protocol by trying offsets one after the other."""
    residual = pred - np.median(pred) - (true - np.median(true))
    return min(1000 * np.mean(np.abs(residual - offset)) for offset in np.linspace(-reach_m, reach_m, steps))


def normals_by_differences(depth: np.ndarray, focal_px: float) -> np.ndarray:
    """Normals at the inner pixels of a full square by the rule right minus here, up minus here."""
    size = len(depth)
    found = np.zeros((size, size, 3))

    def point(row, column):
        middle = (size - 1) / 2
        return depth[row, column] * np.array([(column - middle) / focal_px, (row - middle) / focal_px, 1.0])

    for row in range(1, size):
        for column in range(size - 1):
            here = point(row, column)
            normal = np.cross(point(row, column + 1) - here, point(row - 1, column) - here)
            found[row, column] = normal / np.linalg.norm(normal)
    return found


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    """Between two vectors, by the arc cosine."""
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))
