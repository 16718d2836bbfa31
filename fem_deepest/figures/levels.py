"""Action levels against the precision of the model.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fem_deepest.errors import InputError
from fem_deepest.figures.style import FAINT, LINES, check_shape, styled
from fem_deepest.solve.annealing.levels import cluster

__all__ = ["levels"]

_GAP = 100.0  # between the last finite precision and the infinite one


@styled
def levels(
    ratio: ArrayLike,
    action: ArrayLike,
    measurement: ArrayLike,
    model: ArrayLike,
    expected: tuple[float, float] | None = None,
    tolerance: float = 1e-4,
    floor: float = 0.0,
) -> Figure:
    """Action, measurement error and model error of every path against ``R_f/R_m``, log-log.

    Every path is a thin line; on it a circle for each level, its area proportional to the number of
    paths that share it.

    Args:
        ratio: ``R_f/R_m``, (n,); a last one may be infinite, and stands beyond a gap.
        action: (B, n).
        measurement: (B, n).
        model: (B, n).
        expected: Mean and deviation of the measurement term at the truth (chi-square): a line and a
            band of two deviations.
        tolerance: Relative difference of actions on the same level.
        floor: Actions that differ by less are on the same level too.

    Returns:
        A figure with three axes.

    Raises:
        InputError: The shapes disagree, or there is nothing to draw.
    """
    r, a = np.asarray(ratio, dtype=np.float64), np.asarray(action, dtype=np.float64)
    if a.ndim != 2 or a.size == 0:
        raise InputError(
            f"the actions have shape {a.shape}; expected (paths, precisions), not empty."
        )
    tables = [a, np.asarray(measurement, dtype=np.float64), np.asarray(model, dtype=np.float64)]
    for name, table in zip(("action", "measurement", "model"), tables, strict=True):
        check_shape(name, table.shape, (a.shape[0], r.size))
    exact = r.size > 0 and bool(np.isinf(r[-1]))
    if exact:
        r = np.append(r[:-1], _GAP * r[-2] if r.size > 1 else 1.0)
    figure = Figure(figsize=(15, 5.4))
    axes = figure.subplots(1, 3, sharex=True)
    titles = ("action $A$", "measurement error", "model error")
    for place, table, title, colour in zip(axes, tables, titles, LINES, strict=False):
        shown = np.where(table > 0.0, table, np.nan)  # no logarithm, no mark
        place.plot(r, shown.T, color=colour, linewidth=0.8, alpha=0.45)
        for beta in range(r.size):
            numbers = cluster(a[:, beta], tolerance, floor)
            for level in range(numbers.max(initial=-1) + 1):
                on = numbers == level
                place.scatter(
                    r[beta],
                    np.median(shown[on, beta]),
                    s=12.0 + 160.0 * on.mean(),
                    facecolor="white",
                    edgecolor=colour,
                    linewidth=1.4,
                    zorder=3,
                )
        place.set_xscale("log")
        place.set_yscale("log")
        place.set_xlabel("$R_f / R_m$")
        place.set_title(title)
        place.margins(x=0.04)
        if exact:
            place.axvline(r[-1] / np.sqrt(_GAP), color=FAINT, linewidth=1.0, linestyle=":")
            low, high = np.log10(r[[0, -2]]) if r.size > 1 else (1.0, -1.0)
            powers = np.arange(np.ceil(low), np.floor(high) + 1.0)
            powers = powers[:: 1 + powers.size // 7]
            words = [f"$10^{{{power:.0f}}}$" for power in powers]
            place.set_xticks([*10.0**powers, r[-1]], [*words, "$\\infty$"])
            place.minorticks_off()
    if expected is not None and expected[0] > 0.0:
        mean, deviation = expected
        low = max(mean - 2.0 * deviation, 1e-3 * mean)
        for place in axes[:2]:
            place.axhspan(low, mean + 2.0 * deviation, color=FAINT, alpha=0.25, linewidth=0)
            place.axhline(mean, color="black", linewidth=1.4, linestyle="--")
        axes[1].text(
            0.03,
            mean,
            "expected ($\\chi^2$)",
            transform=axes[1].get_yaxis_transform(),
            va="bottom",
            fontsize=12,
        )
    starts = f"{a.shape[0]} start" + ("s" if a.shape[0] > 1 else "")
    figure.suptitle(
        f"Action levels of {starts}; circles: levels, area: starts on them", fontsize=15
    )
    return figure
