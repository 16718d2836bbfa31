"""Errors of a convergence study against the refined quantity, with triangles of the expected slopes.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from fem_deepest.figures.style import LINES, MARKERS, styled

if TYPE_CHECKING:
    from fem_deepest.studies.column import Errors
    from fem_deepest.studies.table import Table

__all__ = ["convergence"]

_GAP = 0.035  # between a line and its triangle, in heights of the axes
_DASHES = ("-", "--", "-.")


@styled
def convergence(table: Table, title: str = "", last: int | None = None) -> Figure:
    """Errors on logarithmic axes, one line for each column, with intervals where they are sampled.

    Every expected order has one triangle, below the lowest line that it is expected of and at its
    fine end; a line should run parallel to its hypotenuse. The legend has the fitted orders.

    Args:
        table: The study.
        title: Title, if any.
        last: Rows that are fitted, from the finest; default all.

    Returns:
        A figure with one pair of axes. Errors that are not positive are left out.
    """
    figure = Figure(figsize=(9, 5.4))
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log", nonpositive="clip")
    lowest: dict[float, tuple[float, str]] = {}
    colours: dict[float, str] = {}
    for i, (name, errors) in enumerate(table.errors.items()):
        values = np.where(errors.values > 0.0, errors.values, np.nan)
        if not np.isfinite(values).any():
            continue
        bars = None
        if errors.low is not None and errors.high is not None:
            bars = [errors.values - errors.low, errors.high - errors.values]
        order, colour = table.fit(name, last).order, LINES[i % len(LINES)]
        axes.errorbar(
            table.refined,
            values,
            yerr=bars,
            fmt=_DASHES[i // len(LINES) % len(_DASHES)] + MARKERS[i % len(MARKERS)],
            color=colour,
            capsize=5,
            label=f"{name}: {order:.2f}" if np.isfinite(order) else name,
        )
        if errors.expected and np.isfinite(values[-2:]).all() and values.size > 1:
            best = lowest.get(errors.expected)
            if best is None or values[-1] < best[0]:
                lowest[errors.expected] = values[-1], name
            shared = errors.expected in colours
            colours[errors.expected] = "0.3" if shared else colour
    axes.margins(y=0.12)
    # Set, not found from the artists: those of error bars hide where the logarithms end.
    ends = np.log(table.refined.min()), np.log(table.refined.max())
    margin = 0.08 * (ends[1] - ends[0]) or 0.5
    axes.set_xlim(np.exp(ends[0] - margin), np.exp(ends[1] + margin))
    for order, (_, name) in lowest.items():
        _triangle(axes, table, name, order, colours[order])
    if table.refined.size <= 10:
        axes.xaxis.set_major_locator(FixedLocator([float(q) for q in table.refined]))
        axes.xaxis.set_major_formatter(FixedFormatter([_number(q) for q in table.refined]))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(table.quantity)
    axes.set_ylabel("error")
    if title:
        axes.set_title(title)
    if axes.containers:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="fitted order")
    return figure


def _number(q: float) -> str:
    return f"{q:.0f}" if q == round(q) else f"{q:.3g}"


def _reach(errors: Errors) -> float:
    """How far the error bars of the last two rows reach below the line, in the logarithm."""
    if errors.low is None:
        return 0.0
    low = np.where(errors.low > 0.0, errors.low, errors.values)[-2:]
    return float(np.max(np.log(errors.values[-2:] / low)))


def _triangle(axes: Axes, table: Table, name: str, order: float, colour: str) -> None:
    """Right-angled triangle below the fine end of a line, with the order at its upright side."""
    q, e = table.refined, table.errors[name].values
    bottom, top = np.log(axes.get_ylim())
    # Within the last step, clear of its marks and error bars.
    fine, coarse = np.log(q[-1]) + (np.log(q[-2]) - np.log(q[-1])) * np.array([0.08, 0.75])
    slope = order if q[-1] < q[0] else -order
    # The line may be flatter or steeper than the triangle; it must stay above both upper corners.
    rate = np.diff(np.log(e[-2:]))[0] / np.diff(np.log(q[-2:]))[0]
    ends = np.array([fine, coarse])
    line = np.log(e[-1]) + rate * (ends - np.log(q[-1])) - _reach(table.errors[name])
    high = np.min(line - slope * (ends - fine)) - _GAP * (top - bottom)
    corners = np.array([[fine, high], [coarse, high + slope * (coarse - fine)], [coarse, high]])
    x, y = np.exp(corners).T
    axes.fill(x, y, facecolor=colour, edgecolor=colour, alpha=0.18, linewidth=0.0)
    axes.plot([*x, x[0]], [*y, y[0]], color=colour, linewidth=1.4, label="_triangle")
    outside = "right" if coarse < fine else "left"
    axes.annotate(
        f"{order:.3g}",
        (x[1], np.sqrt(y[1] * y[2])),
        xytext=(-5 if outside == "right" else 5, 0),
        textcoords="offset points",
        ha=outside,
        va="center",
        color=colour if colour != "0.3" else "0.2",
        fontsize=13,
    )
