"""Iterations and sequential costs against the number of slabs of the depth.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import ArrayLike

from fem_deepest.figures.style import LINES, MARKERS, check_shape, styled

__all__ = ["slabs"]


@styled
def slabs(
    count: ArrayLike,
    iterations: Mapping[str, ArrayLike],
    costs: Mapping[str, ArrayLike],
    case: str,
    title: str = "",
) -> Figure:
    """Two axes, both logarithmic.

    Args:
        count: Numbers of slabs, (m,).
        iterations: By "method, problem", each (m,); the first method is drawn dashed, the last solid.
        costs: Sequential costs by method, each (m,), the first one as the last method there.
        case: Problem of the costs.
        title: Title, if any.

    Returns:
        The figure.

    Raises:
        InputError: The shapes disagree.
    """
    q = np.asarray(count, dtype=np.float64)
    figure = Figure(figsize=(12, 5.4))
    left, right = figure.subplots(1, 2)
    methods = list(dict.fromkeys(name.split(", ")[0] for name in iterations))
    problems = list(dict.fromkeys(name.split(", ", 1)[1] for name in iterations))
    for name, column in iterations.items():
        values = np.asarray(column, dtype=np.float64)
        check_shape(name, values.shape, q.shape)
        method, problem = name.split(", ", 1)
        j, solid = problems.index(problem) % len(LINES), method == methods[-1]
        left.plot(
            q,
            values,
            marker=MARKERS[j],
            linestyle="-" if solid else "--",
            markerfacecolor=LINES[j] if solid else "white",
            color=LINES[j],
            label=_pretty(problem) if solid else None,
        )
    for style, method in (("--", methods[0]), ("-", methods[-1])):
        left.plot([], [], style, color="0.3", label=method)
    left.set_ylabel("GMRES iterations of a step")
    left.legend(loc="upper left")
    for i, (name, column) in enumerate(costs.items()):
        values = np.asarray(column, dtype=np.float64)
        check_shape(name, values.shape, q.shape)
        look = {"color": "0.15", "linewidth": 3.0} if i == 0 else {"color": LINES[i - 1]}
        text = name if i == 0 else f"pipelined, {'1 chunk' if name == '1 chunks' else name}"
        right.plot(q, values, MARKERS[i] + "-", label=text, **look)
    right.set_ylabel("cell sweeps one after the other")
    right.set_title(_pretty(case))
    right.legend(loc="lower left")
    for axes in (left, right):
        _logarithmic(axes, q)
    low, high = left.get_ylim()
    left.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
    if title:
        figure.suptitle(title, fontsize=14)
    return figure


def _pretty(problem: str) -> str:
    """Names of a table as mathematics."""
    pretty = problem.replace("n = ", "$n$ = ")
    if pretty.endswith("R_f = inf"):
        return pretty.replace("R_f = inf", "$R_f = \\infty$")
    return pretty.replace("R_f = ", "$R_f$ = ")


def _logarithmic(axes: Axes, q: np.ndarray) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator([float(x) for x in q]))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{x:g}" for x in q]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("slabs of the depth")
