"""Annealed gradient flows: noise that leaves local minima; see :mod:`fem_deepest.annealed.flow`."""
