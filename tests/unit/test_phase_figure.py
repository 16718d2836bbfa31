"""The figure of the phase flow shows the points it was given, each on its own level set."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.errors import InputError
from fem_deepest.figures.phase import MOST, phase_flow


def test_circles() -> None:
    t = np.linspace(0.0, 6.0, 201)
    radius = np.array([0.5, 1.0])
    x, p = radius * np.cos(t)[:, None], -radius * np.sin(t)[:, None]
    energy = 0.5 * (x**2 + p**2) + 1e-6 * np.sin(t)[:, None]
    grid = np.linspace(-1.5, 1.5, 101)
    figure = phase_flow(t, x, p, energy, (grid, grid, 0.5 * (grid**2 + grid[:, None] ** 2)))
    plane, drift = figure.axes
    dots = [line for line in plane.lines if len(line.get_xdata()) > 1]
    assert len(dots) == 2 and all(MOST <= len(line.get_xdata()) <= 2 * MOST for line in dots)
    for line, r in zip(dots, radius, strict=True):
        np.testing.assert_allclose(np.hypot(*line.get_data()), r, rtol=1e-14)
    levels = [c.levels[0] for c in plane.collections if len(c.levels) == 1]
    np.testing.assert_allclose(levels, radius**2 / 2, rtol=1e-12)
    for line in drift.lines:
        assert (np.diff(line.get_ydata()) >= 0.0).all()
        assert line.get_ydata()[-1] == pytest.approx(1e-6, rel=1e-3)
    assert plane.get_xlabel() and plane.get_ylabel() and drift.get_xlabel() and drift.get_ylabel()


def test_shapes_are_checked() -> None:
    t, x, grid = np.arange(3.0), np.zeros((3, 2)), np.arange(4.0)
    with pytest.raises(InputError, match="expected"):
        phase_flow(t, x[:2], x, x, (grid, grid, np.zeros((4, 4))))
    with pytest.raises(InputError, match="H on the grid"):
        phase_flow(t, x, x, x, (grid, grid, np.zeros((4, 3))))
