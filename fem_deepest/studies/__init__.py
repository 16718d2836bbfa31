"""Convergence studies: points that are computed once, and a table of errors with their orders."""
