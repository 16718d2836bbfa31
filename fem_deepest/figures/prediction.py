"""What the network predicts, against what was observed.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError
from fem_deepest.figures.style import LINES, check_shape, class_look, styled, subsample

__all__ = ["decision", "prediction"]

Floats = NDArray[np.float64]
PANELS = 6


@styled
def prediction(
    observed: ArrayLike, predicted: ArrayLike, names: Sequence[str] | None = None
) -> Figure:
    """Regression: predicted against observed targets, with the diagonal of perfect agreement.

    Args:
        observed: ``(K,)`` or ``(K, m)``, in the units of the data.
        predicted: The same shape.
        names: The ``m`` names of the targets. Of more than six targets, six are shown.

    Returns:
        A figure with one axes per target; each title has the root mean square error over all
        samples. Of more than 2000 samples, 2000 evenly spread ones are drawn.

    Raises:
        InputError: The shapes disagree.
    """
    y, z = np.asarray(observed, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    check_shape("the prediction", z.shape, y.shape)
    if y.ndim == 1:
        y, z = y[:, np.newaxis], z[:, np.newaxis]
    if y.ndim != 2 or 0 in y.shape:
        raise InputError(f"the targets have shape {y.shape}; expected (samples, outputs), not 0.")
    if names is None:
        names = [f"target {j + 1}" for j in range(y.shape[1])] if y.shape[1] > 1 else ["target"]
    elif len(names) != y.shape[1]:
        raise InputError(f"{len(names)} names for {y.shape[1]} targets; give one name per target.")

    panels = min(y.shape[1], PANELS)
    columns = 2 if panels == 4 else min(panels, 3)
    rows = -(-panels // columns)
    figure = Figure(figsize=(1.0 + 4.2 * columns, 0.6 + 4.2 * rows))
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    shown = subsample(len(y))
    for j, axes in enumerate(cells[:panels]):
        error = np.sqrt(np.mean((z[:, j] - y[:, j]) ** 2))
        ends = np.array([min(y[:, j].min(), z[:, j].min()), max(y[:, j].max(), z[:, j].max())])
        ends = ends + 0.04 * (np.ptp(ends) or 1.0) * np.array([-1.0, 1.0])
        axes.plot(ends, ends, color="0.4", linewidth=1.8, label="perfect agreement", zorder=1)
        axes.scatter(y[shown, j], z[shown, j], s=22, color=LINES[0], alpha=0.5, linewidths=0)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_aspect("equal")
        axes.set_xlabel(f"observed {names[j]}")
        axes.set_ylabel(f"predicted {names[j]}")
        axes.set_title(f"RMSE {error:.3g}")
    for axes in cells[panels:]:
        axes.remove()
    cells[0].legend(loc="upper left", handlelength=1.4)
    return figure


@styled
def decision(
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    probability: Floats,
    inputs: Floats,
    labels: ArrayLike,
    classes: Sequence[str],
    columns: tuple[str, str] = ("$x_1$", "$x_2$"),
) -> Figure:
    """Classification of two inputs: the region of each class, with the samples on top.

    A region has the colour of its most probable class, the paler the less sure; the black lines
    are where two classes are equally probable.

    Args:
        xlim: First and last value of the first input on the grid.
        ylim: The same for the second input.
        probability: ``(m, m, C)``; entry ``[i, j, c]`` belongs to the ``j``-th value of the first
            and the ``i``-th of the second input, as ``numpy.meshgrid(x, y)`` orders them.
        inputs: Samples ``(K, 2)``. Of more than 2000, 2000 evenly spread ones are drawn.
        labels: ``(K,)`` class indices.
        classes: The ``C`` names.
        columns: The names of the two inputs.

    Returns:
        A figure with one axes and a legend of the classes.

    Raises:
        InputError: The shapes disagree.
    """
    p, x, label = np.asarray(probability), np.asarray(inputs), np.asarray(labels)
    size = len(classes)
    if p.ndim != 3 or size < 2:
        raise InputError(f"the grid has shape {p.shape}; expected (m, m, C) with C >= 2 classes.")
    check_shape("the grid of probabilities", p.shape, (*p.shape[:2], size))
    check_shape("the inputs", x.shape, (label.size, 2))

    look = class_look(size)
    best = p.argmax(axis=2)
    sure = (p.max(axis=2) - 1.0 / size) / (1.0 - 1.0 / size)
    depth = (0.08 + 0.37 * sure)[..., np.newaxis]
    colours = np.array([to_rgb(colour) for colour, _ in look])
    figure = Figure(figsize=(7.6, 6.2))
    axes = figure.subplots()
    # A grid value is the middle of its pixel.
    steps = [(high - low) / (n - 1) / 2 for (low, high), n in ((xlim, p.shape[1]), (ylim, len(p)))]
    extent = (xlim[0] - steps[0], xlim[1] + steps[0], ylim[0] - steps[1], ylim[1] + steps[1])
    width, height = xlim[1] - xlim[0], ylim[1] - ylim[0]
    alike = 0.5 <= width / height <= 2.0  # inputs in different units need a frame of their own
    picture = 1.0 - depth * (1.0 - colours[best])
    axes.imshow(picture, origin="lower", extent=extent, aspect="equal" if alike else "auto")
    grid = (np.linspace(*xlim, p.shape[1]), np.linspace(*ylim, len(p)))
    for c in range(size - 1 if size == 2 else size):
        lead = p[:, :, c] - np.delete(p, c, axis=2).max(axis=2)
        if lead.min() < 0 < lead.max():
            axes.contour(*grid, lead, levels=[0.0], colors="black", linewidths=1.8)
    shown = subsample(label.size)
    for c, (colour, marker) in enumerate(look):
        own = x[shown][label[shown] == c]
        axes.scatter(
            own[:, 0],
            own[:, 1],
            s=26,
            color=colour,
            marker=marker,
            edgecolor="white",
            linewidth=0.4,
            label=classes[c],
        )
    axes.set_xlim(*xlim)
    axes.set_ylim(*ylim)
    axes.grid(False)
    axes.set_xlabel(columns[0])
    axes.set_ylabel(columns[1])
    axes.set_title("Class regions")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title="class", markerscale=1.4)
    return figure
