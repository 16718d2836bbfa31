"""Predicted strong and weak scaling.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator, PercentFormatter
from numpy.typing import ArrayLike

from fem_deepest.figures.style import FAINT, LINES, MARKERS, check_shape, styled

__all__ = ["scaling"]

_LABELS = 5  # grids that are named
_LINE = 150  # letters of a line of the assumptions
_COLOURS = ("#0072B2", "#E69F00", "#D55E00")


@styled
def scaling(
    ranks: ArrayLike,
    seconds: ArrayLike,
    fits: ArrayLike,
    grids: Sequence[str],
    efficiencies: Mapping[str, ArrayLike],
    shares: Mapping[str, ArrayLike],
    assumptions: str = "",
    title: str = "",
) -> Figure:
    """Time of one problem, efficiencies, and where the time goes, against the number of ranks.

    Args:
        ranks: Numbers of ranks, (m,), ascending from one.
        seconds: Time of the best grid, (m,).
        fits: Whether that fits into memory, (m,); open marks where it does not.
        grids: Names of the grids, (m,); some are shown.
        efficiencies: By what is scaled, each (m,).
        shares: Parts of the time by what it goes to, each (m,), adding up to one.
        assumptions: Written below.
        title: Title, if any.

    Returns:
        A figure with three axes.

    Raises:
        InputError: The shapes disagree.
    """
    p, time = np.asarray(ranks, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    there = np.asarray(fits, dtype=bool)
    check_shape("the times", time.shape, p.shape)
    check_shape("what fits", there.shape, p.shape)
    check_shape("the grids", (len(grids),), p.shape)
    figure = Figure(figsize=(14, 5.6))
    strong, weak, parts = figure.subplots(1, 3)
    _strong(strong, p, time, there, grids)
    for i, (name, column) in enumerate(efficiencies.items()):
        values = np.asarray(column, dtype=np.float64)
        check_shape(name, values.shape, p.shape)
        weak.plot(p, values, MARKERS[i] + "-", color=LINES[i], label=name)
    weak.set_ylim(0.0, 1.09)
    weak.set_ylabel("efficiency: products at full speed / time")
    weak.legend(loc="lower left", frameon=True, framealpha=0.9)
    _parts(parts, p, shares)
    for axes in (strong, weak, parts):
        _ranks(axes, p)
    if title:
        figure.suptitle(title, fontsize=14)
    if assumptions:
        text = "\n".join(textwrap.wrap(assumptions, _LINE))
        figure.supxlabel(text, fontsize=11, x=0.01, ha="left", color="0.25")
    return figure


def _strong(
    axes: Axes, p: np.ndarray, time: np.ndarray, there: np.ndarray, grids: Sequence[str]
) -> None:
    first = int(np.argmax(there)) if there.any() else 0
    axes.plot(p, time[0] / p, "--", color=FAINT, label="ideal")
    axes.plot(p, time, "-", color=LINES[0], label="best grid")
    axes.plot(p[there], time[there], "o", color=LINES[0])
    if not there.all():
        axes.plot(
            p[~there],
            time[~there],
            "o",
            color=LINES[0],
            markerfacecolor="white",
            label="does not fit into memory",
        )
    for i in np.unique(np.linspace(first, p.size - 1, _LABELS).round().astype(int)):
        axes.annotate(
            grids[i],
            (p[i], time[i]),
            xytext=(4, 8),
            textcoords="offset points",
            fontsize=11,
            ha="left" if i < p.size - 2 else "right",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )
    axes.set_yscale("log")
    axes.set_ylabel("seconds of an iteration, one problem")
    axes.legend(loc="lower left")


def _parts(axes: Axes, p: np.ndarray, shares: Mapping[str, ArrayLike]) -> None:
    columns = []
    for name, column in shares.items():
        columns.append(np.asarray(column, dtype=np.float64))
        check_shape(name, columns[-1].shape, p.shape)
    axes.stackplot(p, columns, labels=list(shares), colors=_COLOURS, alpha=0.85)
    axes.set_ylim(0.0, 1.0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel("where the time of a gradient goes")
    axes.legend(loc="lower left", frameon=True, framealpha=0.9)


def _ranks(axes: Axes, p: np.ndarray) -> None:
    """A logarithmic axis with every second or third power of two."""
    axes.set_xscale("log")
    shown = [float(x) for x in p[:: max(p.size // 5, 1)]]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{x:.0f}" for x in shown]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(float(p[0]) * (0.8 if p.size > 1 else 0.5), float(p[-1]) * 1.25)
    axes.set_xlabel("ranks")
