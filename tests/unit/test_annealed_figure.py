"""The figure of an annealed flow, where its numbers are awkward."""

from __future__ import annotations

import numpy as np

from fem_deepest.figures.annealed import cooling


def history(**columns):
    t = np.arange(4.0)
    ones = np.ones(4)
    plain = {"time": t, "temperature": ones, "action": ones, "mean": ones, "best": ones}
    return plain | columns


def test_temperatures_that_differ_by_rounding_are_one() -> None:
    """The mean of exchanged temperatures is summed in their new order."""
    theta = 0.35 * np.array([1.0, 1.0, 1.0 - 2e-16, 1.0 - 2e-16])
    low, high = cooling(history(temperature=theta)).axes[1].get_ylim()
    assert low <= 0.1 <= 1.0 <= high  # there is a decade to read it by


def test_what_has_exploded_is_a_gap() -> None:
    """Matplotlib's axes end before 1e308, and what else there is would be a line at the bottom."""
    far = np.array([1.0, 2.0, 1e250, np.inf])
    axes = cooling(history(action=far, mean=2.0 * far)).axes[0]
    shown = [np.asarray(line.get_ydata()) for line in axes.lines[:2]]
    np.testing.assert_array_equal(shown[1], [1.0, 2.0, np.nan, np.nan])
    assert axes.get_ylim()[1] < 100.0
