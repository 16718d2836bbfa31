"""How the action fell.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.figures.style import FAINT, LINES, styled

__all__ = ["history"]

PARTS = (
    ("action", "action", LINES[0], "-"),
    ("misfit", "misfit", LINES[1], "--"),
    ("model", "model error", LINES[3], ":"),
    ("prior", "prior", LINES[2], "-."),
)
NEEDED = ("evaluations", "action", "misfit", "model", "prior", "gradient")


@styled
def history(
    columns: Mapping[str, NDArray[np.float64]], levels: Sequence[tuple[float, str]] = ()
) -> Figure:
    """The action, its parts and the norm of its gradient against gradient evaluations.

    Both axes of ordinates are logarithmic; values that are not positive are left out. A part that is
    never positive, such as the model error of a network without one, is not drawn at all.

    Args:
        columns: ``evaluations`` (cumulative over all depth levels), ``action``, ``misfit``,
            ``model``, ``prior``, ``gradient``, each ``(iterations,)``; others are not looked at.
        levels: Where each depth level begins (cumulative evaluations) and its label, such as
            ``(0, "4 cells")``.

    Returns:
        A figure with two axes: action and parts above, gradient norm below.

    Raises:
        InputError: A column is missing, their lengths disagree, or the evaluations decrease.
    """
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        raise InputError(f"the history has no column '{missing[0]}'; expected {', '.join(NEEDED)}.")
    data = {name: np.asarray(columns[name], dtype=np.float64) for name in NEEDED}
    sizes = {name: values.size for name, values in data.items()}
    evaluations = data["evaluations"]
    if evaluations.size == 0 or len(set(sizes.values())) > 1:
        raise InputError(f"the history has columns of sizes {sizes}; expected one size, not 0.")
    if (np.diff(evaluations) < 0).any():
        raise InputError(
            "the evaluations of the history decrease; add those of earlier depth levels to them."
        )

    figure = Figure(figsize=(10, 6.6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
    marker = "o" if evaluations.size <= 25 else ""
    for name, label, colour, dashes in PARTS:
        values = _positive(data[name])
        if np.isnan(values).all():
            continue
        width = 2.8 if name == "action" else 2.0
        upper.plot(
            evaluations, values, dashes, color=colour, label=label, marker=marker, linewidth=width
        )
    gradient = _positive(data["gradient"])
    lower.plot(evaluations, gradient, color=LINES[0], marker=marker, label="gradient")
    for axes, label in ((upper, "action and its parts"), (lower, "gradient norm")):
        if any(np.isfinite(line.get_ydata()).any() for line in axes.lines):
            axes.set_yscale("log")
        axes.set_ylabel(label)
        axes.margins(x=0.02)
        for start, _ in levels:
            axes.axvline(start, color=FAINT, linewidth=1.0, zorder=1)
    # Labels of levels that begin close to each other stand steeper.
    starts = np.sort([start for start, _ in levels])
    crowded = (np.diff(starts) < 0.06 * (np.ptp(evaluations) or 1.0)).any()
    frame = blended_transform_factory(upper.transData, upper.transAxes)
    for start, label in levels:
        upper.text(
            start,
            1.01,
            label,
            transform=frame,
            rotation=70 if crowded else 35,
            ha="left",
            va="bottom",
            fontsize=11,
        )
    upper.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.8)
    lower.set_xlabel("gradient evaluations")
    figure.align_ylabels([upper, lower])
    return figure


def _positive(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(values > 0, values, np.nan)
