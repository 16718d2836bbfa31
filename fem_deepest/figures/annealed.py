"""An annealed flow: how the action fell with the temperature."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.figures.style import FAINT, LINES, styled

__all__ = ["cooling"]

_HIGH = 1e6  # actions so many times above the best of the start are off the scale


@styled
def cooling(history: Mapping[str, NDArray], end: float | None = None) -> Figure:
    """Action and temperature against the time ``tau`` of the flow. Not collective.

    Args:
        history: Columns ``time``, ``temperature``, ``action``, ``mean``, ``best``, (rows,).
        end: Action after the descent, if there has been one.
    """
    figure = Figure(figsize=(9, 6.2))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    t, best = history["time"], history["best"]
    lowest, mean = (_shown(history[name], best) for name in ("action", "mean"))
    if (history["mean"] != history["action"]).any():
        upper.plot(t, mean, color=LINES[5], linewidth=1.6, label="mean of the replicas")
    upper.plot(t, lowest, color=LINES[0], linewidth=1.6, label="lowest now")
    upper.plot(t, best, color=LINES[2], linestyle="--", label="lowest so far")
    first = int(np.argmin(best))
    upper.plot(t[first], best[first], "o", color=LINES[2], markersize=9, label="best with noise")
    if end is not None:
        upper.axhline(end, color=LINES[1], linestyle=":", label="after the descent")
    if _spread(mean, best, end) > 30.0:
        upper.set_yscale("log")
    upper.set_ylabel("action $A$")
    upper.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    theta = history["temperature"]
    lower.plot(t, theta, color=LINES[3])
    lower.set_yscale("log")
    if theta.max() < 1.01 * theta.min():  # a mean of exchanged ones differs by rounding alone
        lower.set_ylim(0.1 * theta.min(), 10.0 * theta.max())
    lower.set_ylabel(r"temperature $\theta$")
    lower.set_xlabel(r"time $\tau$")
    for axes in (upper, lower):
        axes.margins(x=0.02)
        axes.tick_params(colors="black")
        axes.axvline(t[first], color=FAINT, linewidth=1.0, zorder=1)
    figure.align_ylabels([upper, lower])
    return figure


def _shown(values: NDArray, best: NDArray) -> NDArray:
    """The values, with gaps where a flow has exploded: no axis reaches there."""
    top = _HIGH * float(np.abs(best).max()) or _HIGH
    with np.errstate(invalid="ignore"):
        return np.where(values <= top, values, np.nan)


def _spread(mean: NDArray, best: NDArray, end: float | None) -> float:
    """Largest action over the smallest one; zero where one is not positive."""
    low = min(float(best.min()), np.inf if end is None else end)
    return float(np.nanmax(mean, initial=low)) / low if low > 0.0 else 0.0
