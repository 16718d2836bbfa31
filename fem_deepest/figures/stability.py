"""Regions of mean-square stability of time schemes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fem_deepest.errors import InputError
from fem_deepest.figures.style import LINES, MARKERS, check_shape, styled

__all__ = ["stability"]

_TOP = 8.0  # height of the axes at most; the boundary of the equation itself is 2


@styled
def stability(z: ArrayLike, boundaries: Mapping[str, ArrayLike], title: str = "") -> Figure:
    """Largest stable ``sigma^2 / lambda`` against ``k lambda``; a scheme is stable below its line.

    Args:
        z: ``k lambda``, (m,), increasing.
        boundaries: For each scheme its boundary, (m,). One called "exact" is that of the equation, and
            the region below it is shaded: there a scheme ought to be stable, and nowhere else.
        title: Title, if any.

    Returns:
        A figure with one pair of axes.

    Raises:
        InputError: The shapes disagree, or there is no boundary.
    """
    steps = np.asarray(z, dtype=np.float64)
    if not boundaries or steps.ndim != 1 or steps.size == 0:
        raise InputError("a figure of stability needs one step and one scheme at least")
    figure = Figure(figsize=(9, 5.4))
    axes = figure.add_subplot()
    colour = 0
    for i, (name, values) in enumerate(boundaries.items()):
        y = np.asarray(values, dtype=np.float64)
        check_shape(f"the boundary of {name}", y.shape, steps.shape)
        if name == "exact":
            axes.fill_between(steps, 0.0, y, color="0.88", linewidth=0.0)
            axes.plot(steps, y, color="0.25", linewidth=3.5, label="the equation itself", zorder=1)
            continue
        axes.plot(
            steps,
            y,
            ("-", "--", "-.")[i % 3],
            marker=MARKERS[i % len(MARKERS)],
            color=LINES[colour % len(LINES)],
            label=name,
        )
        colour += 1
    # A boundary that grows exponentially must not squeeze the others.
    axes.set_ylim(0.0, min(max(float(np.max(list(boundaries.values()))), 1.0) * 1.05, _TOP))
    axes.set_xlim(0.0, 1.02 * float(steps[-1]))
    axes.set_xlabel(r"$k \lambda$")
    axes.set_ylabel(r"$\sigma^2 / \lambda$, stable below the line")
    if title:
        axes.set_title(title)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
