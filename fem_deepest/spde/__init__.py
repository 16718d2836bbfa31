"""Semilinear stochastic partial differential equations: exact laws, and many levels of samples."""
