"""The log-log plot: the exact errors, intervals where sampled, triangles of the expected slopes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.axes import Axes

from fem_deepest.figures import convergence, save
from fem_deepest.studies.column import Errors
from fem_deepest.studies.table import Table

N = np.array([4.0, 8.0, 16.0, 32.0])


def triangles(axes: Axes) -> list[np.ndarray]:
    """Corners in the logarithm, (3, 2): fine end, upper end, right angle."""
    return [
        np.log(np.array(line.get_xydata())[:3])
        for line in axes.lines
        if line.get_label() == "_triangle"
    ]


def table(q: np.ndarray = N) -> Table:
    n = N if q is N else 1.0 / q
    draws = n[:, None] ** -0.5 * [0.8, 1.0, 1.2]
    return Table(
        "refined",
        q,
        {
            "first": Errors(2.0 * n**-1.0, 1.0),
            "second": Errors(n**-2.1, 2.0),
            "lower": Errors(0.1 * n**-1.9, 2.0),
            "sampled": Errors.sampled(draws, 0.5),
            "free": Errors(n**-0.2),
        },
        np.ones(n.size),
    )


@pytest.mark.parametrize("q", [N, 1.0 / N], ids=["number", "width"])
def test_triangles_have_the_expected_slopes(q) -> None:
    study = table(q)
    axes = convergence(study).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    found = {}
    for fine, upper, right in triangles(axes):
        assert upper[0] == right[0]
        assert fine[1] == pytest.approx(right[1])
        slope = (upper[1] - fine[1]) / abs(upper[0] - fine[0])
        found[round(float(slope), 6)] = fine, upper
    # One for each expected order, and none for the errors without one.
    assert sorted(found) == [0.5, 1.0, 2.0]
    # Below the lowest of the lines that share the order.
    for corner in found[2.0]:
        order = np.argsort(q)
        line = np.interp(corner[0], np.log(q[order]), np.log(study.errors["lower"].values[order]))
        assert corner[1] < line


def test_lines_are_the_errors_and_bars_the_intervals() -> None:
    study = table()
    axes = convergence(study, "A title", last=2).axes[0]
    containers = {c.get_label(): c for c in axes.containers}
    assert list(containers) == [f"{k}: {study.fit(k, 2).order:.2f}" for k in study.errors]
    for container, errors in zip(axes.containers, study.errors.values(), strict=True):
        line, _, bars = container.lines
        np.testing.assert_array_equal(line.get_ydata(), errors.values)
        assert len(bars) == (errors.low is not None)
        if errors.low is not None:
            ends = np.array(bars[0].get_segments())[:, :, 1]
            np.testing.assert_allclose(ends, np.stack([errors.low, errors.high], 1), rtol=1e-12)
    assert axes.get_title() == "A title"
    assert axes.get_xlabel() == "refined"
    assert [text.get_text() for text in axes.texts] == ["1", "2", "0.5"]


def test_awkward_tables_can_be_drawn(tmp_path) -> None:
    """One row, errors that are zero or missing, an interval that reaches below zero, no errors."""
    one = Table("n", [4.0], {"e": Errors([1.0], 1.0)}, [1.0])
    zero = Table("n", N, {"e": Errors([1.0, 0.1, 0.0, np.nan], 1.0), "z": Errors(0 * N)}, N)
    below = Table("n", N, {"e": Errors(1 / N, 1.0, -1 / N, 3 / N)}, N)
    for i, study in enumerate((one, zero, below, Table("n", N, {}, N))):
        axes = convergence(study).axes[0]
        assert len(triangles(axes)) == (study is below)
        assert save(axes.figure, tmp_path / f"{i}.png").stat().st_size > 5000
