"""Stochastic active contours: closed curves that segment an image, shaken along their normal."""
