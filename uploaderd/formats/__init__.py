"""Readers of measurement files: a library of its own, importing nothing of the rest."""
