"""Chains: traces of a number, and its histogram beside the exact law."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.figures.style import LINES, styled

__all__ = ["marginal", "trace"]

Array = NDArray[np.float64]

_SHOWN = 6  # chains drawn


@styled
def trace(values: Array, iterations: NDArray[np.integer], label: str, title: str = "") -> Figure:
    """A number along the first chains, each in its own row.

    Args:
        values: (chains, draws).
        iterations: Their numbers, (draws,).
        label: The number.
        title: Title, if any.
    """
    shown = values[:_SHOWN]
    figure = Figure(figsize=(10, 1.2 + 1.1 * len(shown)))
    rows = figure.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for chain, (axes, x) in enumerate(zip(rows, shown, strict=True)):
        axes.plot(iterations, x, color=LINES[chain % len(LINES)], linewidth=0.8)
        axes.set_ylabel(f"chain {chain}")
    rows[-1].set_xlabel("iteration after the warm-up")
    figure.suptitle(f"{title}: {label}" if title else label)
    return figure


@styled
def marginal(draws: Array, grid: Array, density: Array, label: str, title: str = "") -> Figure:
    """Histogram of all draws over the exact density.

    Args:
        draws: Numbers of any shape.
        grid: (m,).
        density: Exact density there, (m,).
        label: The number.
        title: Title, if any.
    """
    figure = Figure(figsize=(8, 5))
    axes = figure.add_subplot()
    flat = draws.ravel()
    axes.hist(
        flat,
        bins=60,
        density=True,
        color=LINES[5],
        alpha=0.7,
        label=f"{flat.size} draws, all chains",
    )
    axes.plot(grid, density, color="black", label="exact (transfer operator)")
    seen = (density > 1e-4 * density.max()) | ((grid >= flat.min()) & (grid <= flat.max()))
    axes.set_xlim(grid[seen][0], grid[seen][-1])
    axes.set_ylim(0.0, 1.3 * density.max())
    axes.set(xlabel=label, ylabel="density", title=title)
    axes.legend(loc="upper left")
    return figure
