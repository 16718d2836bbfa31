"""The states of all samples on their way through the depth.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError
from fem_deepest.figures.style import (
    LINES,
    SEQUENTIAL,
    check_shape,
    class_look,
    depths,
    styled,
    subsample,
)

__all__ = ["features", "principal_plane"]

Floats = NDArray[np.float64]


@styled
def features(
    t: Sequence[float],
    states: Sequence[Floats],
    labels: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
) -> Figure:
    """The states at five depths, projected to one plane and coloured by class or target.

    One plane and one frame serve all depths, so that a sample that does not move stays where it
    is and every motion seen is one of the flow; a plane fitted to each depth anew would turn and
    rescale between the panels. It is the plane of largest variance (principal components) of the
    states of all the depths shown, taken together. States of two neurons are drawn as they are,
    without a projection.

    Args:
        t: Depths.
        states: At each depth the states ``(N, K)``, one column per sample. Of more than five
            depths, five are shown; of more than 2000 samples, 2000 evenly spread ones.
        labels: ``(K,)``: class indices if ``classes`` is given, else the regression targets, or
            None for one colour.
        classes: Names of the classes.

    Returns:
        A figure with one axes per depth; the title has the share of the variance that is seen.

    Raises:
        InputError: The shapes disagree.
    """
    if len(states) == 0 or len(t) != len(states):
        raise InputError(f"{len(t)} depths for {len(states)} states; expected one depth per state.")
    shape = np.shape(states[0])
    if len(shape) != 2 or 0 in shape:
        raise InputError(f"the states have shape {shape}; expected (neurons, samples).")
    for state in states:
        check_shape("a state", np.shape(state), shape)
    chosen, samples = depths(len(states)), subsample(shape[1])
    shown = np.stack([np.asarray(states[i], dtype=np.float64)[:, samples] for i in chosen])
    if labels is not None:
        check_shape("labels", np.shape(labels), (shape[1],))
        labels = np.asarray(labels)[samples]

    points, names, share = principal_plane(shown)
    panels = len(chosen)
    needed = panels + (labels is not None)  # the last one for the legend
    columns = 2 if needed == 4 else min(needed, 3)
    rows = -(-needed // columns)
    # Cells wider than high: the square panels are then limited by their height, for which the
    # layout leaves room for labels; limited by their width, it would cut the labels.
    figure = Figure(figsize=(3.8 * columns, 3.1 * rows + 0.6))
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    low, high = points.min(axis=(0, 2)), points.max(axis=(0, 2))
    middle, half = (low + high) / 2, 0.54 * max(float((high - low).max()), 1e-12)
    artist: Any = None
    for axes, place, node in zip(cells, points, chosen, strict=False):
        artist = _scatter(axes, np.asarray(place), labels, classes)
        axes.set_xlim(middle[0] - half, middle[0] + half)
        axes.set_ylim(middle[1] - half, middle[1] + half)
        axes.set_aspect("equal")
        axes.locator_params(nbins=5)
        axes.set_title(f"$t = {t[int(node)]:.3g}$")
        axes.set_xlabel(names[0])
        axes.set_ylabel(names[1])
    for axes in cells[needed:]:
        axes.remove()
    if labels is not None:
        cells[panels].set_axis_off()
        _key(figure, cells[panels], cells[0], artist, classes)
    seen = "" if share is None else f", {100 * share:.0f} % of the variance"
    figure.suptitle(f"States of {shape[0]} neurons over the depth{seen}", fontsize=15)
    return figure


def _key(
    figure: Figure, rest: Axes, drawn: Axes, artist: Any, classes: Sequence[str] | None
) -> None:
    """Legend of the classes, or colour bar of the target, in the place of one panel."""
    if classes is not None:
        handles, words = drawn.get_legend_handles_labels()
        rest.legend(
            handles,
            words,
            loc="center",
            title="class",
            ncols=2 if len(words) > 6 else 1,
            markerscale=1.7,
        )
    else:
        cell = rest.get_subplotspec()
        assert cell is not None
        bar = figure.add_subplot(cell.subgridspec(1, 9)[3])
        figure.colorbar(artist, cax=bar, label="target")


def principal_plane(states: Floats) -> tuple[Floats, tuple[str, str], float | None]:
    """Project states ``(depths, N, K)`` to the plane of largest variance of all of them.

    Returns:
        Points ``(depths, 2, K)``, the labels of the two axes, and the share of the variance in
        the plane; for ``N <= 2`` the states themselves and None. The sign of each direction is
        such that its largest component is positive.
    """
    neurons = states.shape[1]
    if neurons <= 2:
        padded = np.concatenate([states, np.zeros_like(states[:, : 2 - neurons])], axis=1)
        return padded, ("$x_1$", "$x_2$" if neurons == 2 else ""), None
    together = states.transpose(1, 0, 2).reshape(neurons, -1)
    centred = together - together.mean(axis=1, keepdims=True)
    variances, directions = np.linalg.eigh(centred @ centred.T)
    plane = directions[:, [-1, -2]]
    plane = plane * np.sign(plane[np.abs(plane).argmax(axis=0), [0, 1]])
    total = float(variances.sum())
    share = float(variances[-2:].sum()) / total if total > 0 else 1.0
    points = (plane.T @ centred).reshape(2, states.shape[0], -1).transpose(1, 0, 2)
    return points, ("1st component", "2nd component"), share


def _scatter(
    axes: Axes, place: Floats, labels: NDArray[Any] | None, classes: Sequence[str] | None
) -> Any:
    """Draw the points ``(2, K)``; returns the artist that carries the colours."""
    if labels is None:
        return axes.scatter(place[0], place[1], s=14, color=LINES[0], alpha=0.7, linewidths=0)
    if classes is None:
        return axes.scatter(
            place[0], place[1], s=16, c=labels, cmap=SEQUENTIAL, alpha=0.8, linewidths=0
        )
    artist = None
    for c, (colour, marker) in enumerate(class_look(len(classes))):
        own = place[:, labels == c]
        artist = axes.scatter(
            own[0],
            own[1],
            s=18,
            color=colour,
            marker=marker,
            alpha=0.75,
            linewidths=0,
            label=classes[c],
        )
    return artist
