"""Noise: counter-based random numbers, white noise on finite element spaces."""
