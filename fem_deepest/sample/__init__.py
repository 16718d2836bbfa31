"""Markov chains in function space for ``exp(-A)``; see :mod:`fem_deepest.sample.target`."""
