"""Solvers, written against the action protocol: quasi-Newton, Newton, nested iteration in depth."""
