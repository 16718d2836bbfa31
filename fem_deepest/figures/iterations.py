"""Numbers of iterations, and what they cost, against a refinement.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from fem_deepest.errors import InputError
from fem_deepest.figures.style import LINES, MARKERS, check_shape, styled

__all__ = ["iterations"]


@styled
def iterations(
    refined: ArrayLike,
    quantity: str,
    counts: Mapping[str, ArrayLike],
    seconds: Mapping[str, ArrayLike],
    title: str = "",
) -> Figure:
    """Counts from zero up with their numbers, and seconds on logarithmic axes.

    Args:
        refined: What is refined, (m,), positive.
        quantity: Its name.
        counts: Numbers of iterations by name, each (m,); one at least.
        seconds: Seconds by name, each (m,); a name of ``counts`` has its colour.
        title: Title, if any.

    Returns:
        A figure with two axes.

    Raises:
        InputError: The shapes disagree, or there are too many columns.
    """
    q = np.asarray(refined, dtype=np.float64)
    names = [*counts, *(name for name in seconds if name not in counts)]
    if len(names) > len(LINES):
        raise InputError(
            f"{len(names)} columns were given to one figure; expected {len(LINES)} at most."
        )
    look = dict(zip(names, zip(LINES, MARKERS, strict=False), strict=False))
    figure = Figure(figsize=(11, 5))
    steps, time = figure.subplots(1, 2)
    for axes, columns in ((steps, counts), (time, seconds)):
        for i, (name, column) in enumerate(columns.items()):
            values = np.asarray(column, dtype=np.float64)
            check_shape(name, values.shape, q.shape)
            colour, marker = look[name]
            # The first lie on top where lines meet.
            axes.plot(q, values, marker + "-", color=colour, label=name, zorder=3.0 - 0.1 * i)
        _refinement(axes, q, quantity)
    table = np.array([*counts.values()], dtype=np.float64)
    steps.set_ylim(0.0, 1.15 * table.max())
    _numbers(steps, q, table, [look[name][0] for name in counts])
    steps.yaxis.set_major_locator(MaxNLocator(integer=True))
    steps.set_ylabel("iterations")
    time.set_yscale("log")
    time.set_ylabel("seconds")
    handles = dict[str, Artist]()
    for axes in (steps, time):
        lines, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, lines, strict=True))
    figure.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles)
    )
    if title:
        figure.suptitle(title, fontsize=14)
    return figure


def _refinement(axes: Axes, q: np.ndarray, quantity: str) -> None:
    """A logarithmic axis with a tick at every value."""
    axes.set_xscale("log")
    if q.size <= 8:
        axes.xaxis.set_major_locator(FixedLocator([float(x) for x in q]))
        axes.xaxis.set_major_formatter(FixedFormatter([f"{x:g}" for x in q]))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(quantity)


def _numbers(axes: Axes, q: np.ndarray, table: np.ndarray, colours: list[str]) -> None:
    """Every number above its mark, below if another mark is there, none where an earlier one is."""
    room = 0.09 * axes.get_ylim()[1]
    for i, (values, colour) in enumerate(zip(table, colours, strict=True)):
        above = np.any((table > values) & (table < values + room), axis=0)
        for j in np.flatnonzero(np.all(np.abs(table[:i] - values) >= room, axis=0)):
            axes.annotate(
                f"{values[j]:.0f}",
                (q[j], values[j]),
                xytext=(0, -7 if above[j] else 7),
                textcoords="offset points",
                ha="center",
                va="top" if above[j] else "bottom",
                color=colour,
                fontsize=11,
                zorder=4.0,
            )
