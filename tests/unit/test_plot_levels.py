"""The figure of the action levels shows what it is given."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.errors import InputError
from fem_deepest.figures import levels

R = np.array([0.1, 1.0, 10.0])
ACTION = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 6.0], [1.0, 2.0, 3.0]])


def test_lines_circles_and_expectation() -> None:
    figure = levels(R, ACTION, 0.5 * ACTION, 0.25 * ACTION, (2.5, 0.1))
    assert len(figure.axes) == 3
    for axes, factor in zip(figure.axes, (1.0, 0.5, 0.25), strict=True):
        assert axes.get_xscale() == axes.get_yscale() == "log"
        paths = [line for line in axes.lines if len(line.get_xdata()) == 3]
        np.testing.assert_array_equal([line.get_ydata() for line in paths], factor * ACTION)
        # One circle on the first two rungs, two on the last; the lower has two thirds of the paths.
        places = np.array(
            [c.get_offsets()[0] for c in axes.collections if len(c.get_offsets()) == 1]
        )
        np.testing.assert_allclose(
            places, [[0.1, factor], [1, 2 * factor], [10, 3 * factor], [10, 6 * factor]]
        )
    expected = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 2]
    np.testing.assert_array_equal(expected[0].get_ydata(), 2.5)


def test_zero_is_left_out_of_a_logarithmic_axis() -> None:
    figure = levels(R, ACTION, ACTION, 0.0 * ACTION)
    assert np.isnan(figure.axes[2].lines[0].get_ydata()).all()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="paths, precisions"):
        levels(R, ACTION[0], ACTION, ACTION)
    with pytest.raises(InputError, match="model"):
        levels(R, ACTION, ACTION, ACTION[:2])


def test_exact_model_stands_beyond_a_gap() -> None:
    """The infinite precision is drawn, and named, to the right of all others."""
    figure = levels(np.array([0.1, 1.0, np.inf]), ACTION, ACTION, ACTION)
    figure.canvas.draw()
    for axes in figure.axes:
        places = [c.get_offsets()[0, 0] for c in axes.collections if len(c.get_offsets()) == 1]
        assert max(places) > 10.0
        words = {
            t.get_text(): x for t, x in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)
        }
        assert words["$\\infty$"] == max(places) == max(axes.get_xticks())
    alone = levels(np.array([np.inf]), ACTION[:, :1], ACTION[:, :1], ACTION[:, :1])
    assert [t.get_text() for t in alone.axes[0].get_xticklabels()] == ["$\\infty$"]


def test_zeros_to_rounding_are_one_level() -> None:
    tiny = np.array([[1e-20], [1e-25], [1e-3]])
    figure = levels(np.ones(1), tiny, tiny, tiny, floor=1e-15)
    circles = [c for c in figure.axes[0].collections if len(c.get_offsets()) == 1]
    assert len(circles) == 2
