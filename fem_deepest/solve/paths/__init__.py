"""Precision annealing: many paths at once, by Newton steps that are block tridiagonal in depth."""
