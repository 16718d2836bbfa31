"""Acceptance rates of samplers against the number of cells."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter
from numpy.typing import NDArray

from fem_deepest.figures.style import FAINT, LINES, MARKERS, styled

__all__ = ["acceptance"]

Array = NDArray[np.float64]


@styled
def acceptance(
    cells: Array,
    rates: Mapping[str, Array],
    halves: Mapping[str, Array],
    flat: Collection[str],
    title: str = "",
) -> Figure:
    """One line for each kernel: full where the rate has a limit, dashed where it falls to zero.

    Args:
        cells: N, (m,).
        rates: Acceptance by label of the kernel, (m,).
        halves: Half-widths of their intervals.
        flat: Labels of the kernels whose rate should not depend on N.
        title: Title, if any.
    """
    figure = Figure(figsize=(9, 5.4))
    axes = figure.add_subplot()
    colours = iter((*LINES, FAINT, "black"))
    for i, (name, rate) in enumerate(rates.items()):
        axes.errorbar(
            cells,
            rate,
            yerr=halves[name],
            fmt=("-" if name in flat else "--") + MARKERS[i % len(MARKERS)],
            color=next(colours, "black"),
            capsize=4,
            label=name,
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(cells)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="cells $N$", ylabel="mean acceptance", ylim=(-0.02, 1.02), title=title)
    figure.legend(loc="outside right center")
    return figure
