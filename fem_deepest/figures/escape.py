"""Escape times against the inverse temperature, beside the law of Eyring and Kramers."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.figures.style import LINES, styled

__all__ = ["escape"]

Array = NDArray[np.float64]


@styled
def escape(
    inverse: Array,
    times: tuple[Array, Array, Array],
    law: Array,
    effective: Array,
    slope: tuple[float, float, float],
    barrier: float,
    title: str = "",
) -> Figure:
    """Mean times, and their ratio to the law.

    Args:
        inverse: ``1/eps``, (m,).
        times: Means with the ends of their intervals.
        law: Eyring and Kramers' times.
        effective: Times in the effective potential.
        slope: Slope of the measured line with the ends of its interval.
        barrier: Slope of the law.
        title: Title, if any.
    """
    figure = Figure(figsize=(11, 4.6))
    left, right = figure.subplots(1, 2)
    mean, low, high = times
    bars = [mean - low, high - mean]
    measured = f"measured: slope {slope[0]:.3f} [{slope[1]:.3f}, {slope[2]:.3f}]"
    left.semilogy(inverse, law, "--", color=LINES[1], label=f"Eyring-Kramers: slope {barrier:.3f}")
    left.semilogy(inverse, effective, "-", color=LINES[2], label="effective potential of the mean")
    left.errorbar(inverse, mean, yerr=bars, fmt="o", color=LINES[0], capsize=5, label=measured)
    left.set(xlabel=r"$1/\varepsilon$", ylabel=r"mean escape time $E\,\tau$")
    # Set, not found from the artists: error bars hide where the logarithms end.
    left.set_ylim(0.3 * law.min(), 1.6 * high.max())
    left.legend(loc="lower right")
    right.axhline(1.0, linestyle="--", color=LINES[1])
    right.plot(1.0 / inverse, effective / law, "-", color=LINES[2])
    right.errorbar(
        1.0 / inverse, mean / law, yerr=[b / law for b in bars], fmt="o", color=LINES[0], capsize=5
    )
    right.set(xlabel=r"$\varepsilon$", ylabel=r"$E\,\tau$ / Eyring-Kramers")
    right.set_xlim(0.0, 1.06 / inverse[0])
    right.set_ylim(bottom=min(0.9, float((low / law).min())))
    if title:
        figure.suptitle(title)
    return figure
