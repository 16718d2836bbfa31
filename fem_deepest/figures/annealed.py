"""An annealed flow: how the action fell with the temperature."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.figures.style import FAINT, LINES, styled

__all__ = ["cooling"]


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
    if (history["mean"] != history["action"]).any():
        upper.plot(t, history["mean"], color=LINES[5], linewidth=1.6, label="mean of the replicas")
    upper.plot(t, history["action"], color=LINES[0], linewidth=1.6, label="lowest now")
    upper.plot(t, best, color=LINES[2], linestyle="--", label="lowest so far")
    first = int(np.argmin(best))
    upper.plot(t[first], best[first], "o", color=LINES[2], markersize=9, label="best with noise")
    if end is not None:
        upper.axhline(end, color=LINES[1], linestyle=":", label="after the descent")
    if _spread(history, end) > 30.0:
        upper.set_yscale("log")
    upper.set_ylabel("action $A$")
    upper.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    lower.plot(t, history["temperature"], color=LINES[3])
    lower.set_yscale("log")
    lower.set_ylabel(r"temperature $\theta$")
    lower.set_xlabel(r"time $\tau$")
    for axes in (upper, lower):
        axes.margins(x=0.02)
        axes.tick_params(colors="black")
        axes.axvline(t[first], color=FAINT, linewidth=1.0, zorder=1)
    figure.align_ylabels([upper, lower])
    return figure


def _spread(history: Mapping[str, NDArray], end: float | None) -> float:
    """Largest action over the smallest one; zero where one is not positive."""
    low = min(float(history["best"].min()), np.inf if end is None else end)
    return float(history["mean"].max()) / low if low > 0.0 else 0.0
