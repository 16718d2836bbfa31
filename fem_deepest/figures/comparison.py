"""Methods compared on the same seeds: how often they succeed, how low they get, and at what cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.figures.style import FAINT, LINES, MARKERS, styled
from fem_deepest.studies.arms import HIGH, LOW, RATE, SEEDS, SUCCESSES

if TYPE_CHECKING:
    from fem_deepest.studies.listing import Listing

__all__ = ["evaluations", "success"]

Array = NDArray[np.float64]

_DASHES = ("-", "--", ":")
_WIDE = 30.0  # ratio of actions from which their axis is logarithmic


@styled
def success(table: Listing, trials: Listing, title: str = "") -> Figure:
    """Success rates with their intervals, and the lowest action of every seed.

    Args:
        table: One row for each arm.
        trials: One row for each seed.
        title: Title, if any.
    """
    figure = Figure(figsize=(11.5, 1.6 + 0.62 * len(table.names)))
    left, right = figure.subplots(1, 2, sharey=True)
    rows = np.arange(len(table.names))
    for i, arm in enumerate(table.names):
        rate, low, high = (table[name][i] for name in (RATE, LOW, HIGH))
        look = {"color": _colour(i), "marker": MARKERS[i % len(MARKERS)], "capsize": 6}
        left.errorbar(rate, i, xerr=[[rate - low], [high - rate]], markersize=9, **look)
        # Beside the interval, on the side that has room.
        room = rate < 0.5
        left.annotate(
            f"{table[SUCCESSES][i]:.0f} of {table[SEEDS][i]:.0f}",
            (high if room else low, i),
            xytext=(9 if room else -9, 0),
            textcoords="offset points",
            ha="left" if room else "right",
            va="center",
        )
        _strip(right, trials[f"{arm}: lowest"], i)
    left.set_yticks(rows, table.names)
    left.set_ylim(len(rows) - 0.5, -0.5)
    left.set(xlim=(-0.03, 1.03), xlabel="success rate, with Wilson's 95 % interval")
    threshold = table["threshold"][0]
    right.axvline(threshold, linestyle="--", color="0.2", linewidth=1.4)
    lowest = np.concatenate([trials[f"{arm}: lowest"] for arm in table.names])
    lowest = lowest[np.isfinite(lowest)]
    if lowest.min(initial=np.inf) > 0.0 and lowest.max() > _WIDE * lowest.min():
        right.set_xscale("log")
    else:
        right.locator_params(axis="x", nbins=5)
    # On the side of the line that has room.
    place = right.transAxes.inverted().transform(right.transData.transform((threshold, 0.0)))[0]
    right.annotate(
        "threshold of success",
        (threshold, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(4 if place < 0.5 else -4, 3),
        textcoords="offset points",
        ha="left" if place < 0.5 else "right",
        va="bottom",
        fontsize=12,
    )
    right.set_xlabel("lowest action of each seed; median |")
    right.tick_params(left=False)
    if title:
        figure.suptitle(title)
    return figure


@styled
def evaluations(table: Listing, trials: Listing, title: str = "") -> Figure:
    """Share of seeds that have succeeded within so many gradient evaluations.

    Args:
        table: One row for each arm.
        trials: One row for each seed.
        title: Title, if any.
    """
    figure = Figure(figsize=(10, 5.0))
    axes = figure.add_subplot()
    end = max(float(np.nanmax(trials[f"{arm}: used"])) for arm in table.names)
    first = end
    for i, arm in enumerate(table.names):
        hit = trials[f"{arm}: hit"]
        hits = np.sort(hit[np.isfinite(hit)])
        share = np.arange(1, hits.size + 1) / hit.size
        x = np.concatenate([[1.0], hits, [end]])
        y = np.concatenate([[0.0], share, [share[-1] if share.size else 0.0]])
        axes.step(x, y, where="post", color=_colour(i), linestyle=_dash(i), label=arm)
        axes.plot(
            end, y[-1], MARKERS[i % len(MARKERS)], color=_colour(i), clip_on=False, markersize=8
        )
        first = min(first, float(hits[0])) if hits.size else first
    axes.set_xscale("log")
    axes.set_xlim(max(1.0, 0.5 * first), end)
    axes.set_ylim(-0.02, 1.02)
    axes.set(xlabel="gradient evaluations", ylabel="share of seeds that succeeded", title=title)
    figure.legend(loc="outside right center")
    return figure


def _strip(axes: Axes, lowest: Array, row: int) -> None:
    """All seeds as points, spread in a fixed order so that they do not hide each other."""
    spread = 0.56 * (((np.arange(lowest.size) * 0.618034) % 1.0) - 0.5)
    axes.plot(lowest, row + spread, ".", color=_colour(row), alpha=0.55, markersize=7)
    # What is left empty in the file was infinite: a seed that never came to the action that is compared.
    middle = np.median(np.where(np.isnan(lowest), np.inf, lowest))
    if np.isfinite(middle):
        axes.plot([middle] * 2, [row - 0.36, row + 0.36], color=_colour(row), linewidth=3)


def _colour(i: int) -> str:
    return (*LINES, FAINT, "black")[i % (len(LINES) + 2)]


def _dash(i: int) -> str:
    return _DASHES[i % len(_DASHES)]
