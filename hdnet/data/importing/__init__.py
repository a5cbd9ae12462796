"""Importers: other people's data and the user's own, brought into the real layout."""
