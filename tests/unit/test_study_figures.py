"""Figures of studies of stability, iterations and multilevel Monte Carlo: they show the numbers given."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from fem_deepest.errors import InputError
from fem_deepest.figures import save
from fem_deepest.figures.iterations import iterations
from fem_deepest.figures.multilevel import multilevel
from fem_deepest.figures.stability import stability
from fem_deepest.studies.column import Errors
from fem_deepest.studies.table import Table


def test_stability_has_a_line_for_each_scheme(tmp_path) -> None:
    z = np.array([0.5, 1.0, 2.0])
    figure = stability(z, {"exact": 2.0 + 0.0 * z, "backward": 2.0 + z, "wild": np.exp(9 * z)}, "T")
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == {"the equation itself", "backward", "wild"}
    np.testing.assert_array_equal(lines["backward"].get_ydata(), 2.0 + z)
    assert axes.get_ylim()[1] <= 8.0  # the wild one leaves room for the others
    assert axes.get_title() == "T"
    assert save(figure, tmp_path / "stability.png").stat().st_size > 10_000


def test_stability_refuses_what_does_not_belong_together() -> None:
    with pytest.raises(InputError, match="one step and one scheme"):
        stability([1.0], {})
    with pytest.raises(InputError, match="the boundary of b has shape"):
        stability([1.0, 2.0], {"b": [1.0]})


def test_four_panels(tmp_path) -> None:
    eps, level = np.array([0.1, 0.05]), np.arange(3)
    table = Table(
        "tolerance",
        eps,
        {"multilevel work": Errors(eps**-4.0, -4.0), "single-level work": Errors(eps**-5.0, -5.0)},
        np.ones(2),
        {
            "samples on level 0": [9.0, 99.0],
            "samples on level 1": [np.nan, 5.0],
            "estimate": [1.0, 1.0],
        },
    )
    falling = np.concatenate([[np.nan], 2.0 ** -level[1:]])
    levels = Table(
        "cells N",
        2.0 ** (2 + level),
        {
            "mean of difference": Errors(falling, 1.0, 0.9 * falling, 1.1 * falling),
            "variance of difference": Errors(falling**2, 2.0),
        },
        np.ones(3),
        {
            "mean": np.ones(3),
            "variance": np.full(3, 2.0),
            "exact mean of difference": np.array([1.0, 0.5, 0.25]),
        },
    )
    figure = multilevel(table, levels, "Title")
    variance, mean, samples, work = figure.axes
    np.testing.assert_array_equal(variance.lines[0].get_ydata(), np.full(3, 2.0))
    np.testing.assert_allclose(variance.lines[1].get_ydata()[1:], [0.25, 0.0625])
    assert "order 1.00" in " ".join(text.get_text() for text in mean.get_legend().get_texts())
    assert [len(axes.containers) for axes in (variance, mean)] == [1, 1]
    np.testing.assert_array_equal(samples.lines[1].get_ydata(), [99.0, 5.0])
    np.testing.assert_allclose(work.lines[1].get_ydata(), eps**-2.0)
    np.testing.assert_allclose(work.lines[0].get_ydata(), eps**-3.0)
    assert "-4.00" in work.get_legend().get_texts()[1].get_text()
    assert save(figure, tmp_path / "multilevel.png").stat().st_size > 20_000


def test_iterations_from_zero_up_with_their_numbers(tmp_path) -> None:
    """A number is left out where that of the column before is."""
    q, alone, nested = np.array([2.0, 4.0, 8.0]), [30, 31, 30], [30, 9, 4]
    figure = iterations(
        q, "cells", {"alone": alone, "nested": nested}, {"nested": [1, 2, 3], "all": [2, 3, 5]}, "T"
    )
    steps, seconds = figure.axes
    lines = {line.get_label(): line for line in steps.lines}
    np.testing.assert_array_equal(lines["alone"].get_ydata(), alone)
    np.testing.assert_array_equal(lines["nested"].get_xdata(), q)
    assert steps.get_ylim()[0] == 0.0
    assert steps.get_ylim()[1] > 31.0
    assert [text.get_text() for text in steps.texts] == ["30", "31", "30", "9", "4"]
    assert seconds.lines[0].get_color() == lines["nested"].get_color()
    assert seconds.get_yscale() == "log"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["alone", "nested", "all"]
    assert save(figure, tmp_path / "iterations.png").stat().st_size > 10_000


def test_iterations_refuse_what_does_not_belong_together() -> None:
    with pytest.raises(InputError, match=r"a has shape \(2,\)"):
        iterations([1.0, 2.0, 4.0], "n", {"a": [1, 2]}, {})
    with pytest.raises(InputError, match="7 columns"):
        iterations([1.0], "n", {str(i): [1] for i in range(7)}, {})
