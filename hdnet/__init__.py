"""HDNet: depth, surface normals and a mesh of a dressed person from one picture."""

__version__ = "0.1.0"
