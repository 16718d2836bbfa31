"""The coefficient fields ``w_m(t,s)`` of a coupling by operators, or its kernels ``w(t, s - s')``.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.figures.style import DIVERGING, LINES, check_shape, depths, styled

__all__ = ["coefficients"]

Floats = NDArray[np.float64]

MOST = 6
SHARES = ((1.0, "all"), (0.9, "90 %"), (0.5, "50 %"))


@styled
def coefficients(
    t: Floats,
    fields: Floats,
    names: Sequence[str],
    places: Floats,
    shape: Sequence[int] | None = None,
    along: str = "index $s$",
) -> Figure:
    """Fields over the index: images at five depths, or over depth x index, or lines over the depth.

    Of more than six fields the six largest are shown, each with a colour scale of its own, symmetric
    about 0: operators have different units. Behind lines, shades say between what values half, nine
    tenths and all coefficients are.

    Args:
        t: Depth nodes, (n + 1,).
        fields: (fields, n + 1, nodes); of one node, constants along the index.
        names: A name for each.
        places: Coordinates of the nodes, (nodes, 1 or 2).
        shape: Rows and columns if the nodes are a grid like the pixels of an image.
        along: What the coordinate on a line is.

    Returns:
        A figure with, in the plane, one row of at most five images for each field and its colour bar;
        on a line one image over depth and index for each; else one axes with the lines.

    Raises:
        InputError: The shapes disagree.
    """
    t, fields, places = (np.asarray(a, dtype=np.float64) for a in (t, fields, places))
    if fields.ndim != 3 or not fields.size:
        raise InputError(
            f"fields has shape {fields.shape}; expected (fields, {t.size}, nodes), one at least."
        )
    check_shape("fields", fields.shape, (len(names), t.size, fields.shape[2]))
    order = np.argsort(-np.abs(fields).max(axis=(1, 2)), kind="stable")
    chosen = np.sort(order[:MOST])
    if fields.shape[2] == 1:
        return _lines(t, fields[:, :, 0], names, chosen)
    check_shape("places", places.shape, (fields.shape[2], places.shape[-1]))
    if places.shape[1] == 1:
        return _bands(t, fields[chosen], [names[i] for i in chosen], places[:, 0], along)
    return _images(t, fields[chosen], [names[i] for i in chosen], places, shape)


def _lines(t: Floats, values: Floats, names: Sequence[str], chosen: NDArray[np.int64]) -> Figure:
    figure = Figure(figsize=(9.0, 4.8))
    axes = figure.subplots()
    many = len(names) > len(chosen)
    if many:
        for (part, percent), grey in zip(SHARES, ("0.92", "0.84", "0.72"), strict=True):
            low, high = np.quantile(values, [0.5 - part / 2, 0.5 + part / 2], axis=0)
            axes.fill_between(t, low, high, color=grey, linewidth=0, label=percent)
    for colour, i in enumerate(chosen):
        style = ("-", "--")[colour % 2]
        axes.plot(t, values[i], color=LINES[colour], linestyle=style, label=names[int(i)])
    axes.axhline(0.0, color="0.4", linewidth=0.8)
    axes.set_xlim(t[0], t[-1])
    axes.set_xlabel("depth $t$")
    axes.set_ylabel("coefficient")
    axes.set_title(
        f"The largest {len(chosen)} of {len(names)} coefficients" if many else "Coefficients"
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _bands(t: Floats, fields: Floats, names: Sequence[str], s: Floats, along: str) -> Figure:
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(4.1 * columns, 3.4 * rows))
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axes, field, name in zip(panels, fields, names, strict=False):
        scale = float(np.abs(field).max()) or 1.0
        image = axes.pcolormesh(
            t, s, field.T, cmap=DIVERGING, vmin=-scale, vmax=scale, shading="gouraud"
        )
        axes.set_title(name)
        axes.set_xlabel("depth $t$")
        axes.set_ylabel(along)
        axes.grid(False)
        figure.colorbar(image, ax=axes)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    return figure


def _images(
    t: Floats,
    fields: Floats,
    names: Sequence[str],
    places: Floats,
    shape: Sequence[int] | None,
) -> Figure:
    nodes = depths(t.size)
    figure = Figure(figsize=(2.1 * nodes.size + 1.6, 2.05 * len(names) + 0.5))
    grid: Any = figure.subplots(len(names), nodes.size, squeeze=False, sharex=True, sharey=True)
    for i, (row, name) in enumerate(zip(grid, names, strict=True)):
        scale = float(np.abs(fields[i]).max()) or 1.0
        for axes, node in zip(row, nodes, strict=True):
            image = _image(axes, fields[i, node], scale, places, shape)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_aspect("equal")
            axes.grid(False)
            axes.spines[:].set_visible(True)
        row[0].set_ylabel(name)
        figure.colorbar(image, ax=list(row), aspect=10, pad=0.01)
    for axes, node in zip(grid[0], nodes, strict=True):
        axes.set_title(f"$t = {t[node]:.3g}$")
    return figure


def _image(
    axes: Axes, values: Floats, scale: float, places: Floats, shape: Sequence[int] | None
) -> Any:
    if shape is not None:
        image = values.reshape(tuple(shape))
        return axes.imshow(image, cmap=DIVERGING, vmin=-scale, vmax=scale)
    return axes.tripcolor(
        places[:, 0],
        places[:, 1],
        values,
        cmap=DIVERGING,
        vmin=-scale,
        vmax=scale,
        shading="gouraud",
    )
