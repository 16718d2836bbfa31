"""The weight field over the depth.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.figures.style import DIVERGING, LINES, SEQUENTIAL, check_shape, depths, styled

__all__ = ["weights"]

Floats = NDArray[np.float64]
SINGULAR_VALUES = 8


@styled
def weights(t: Floats, W: Floats, b: Floats) -> Figure:
    """Size and singular values of ``W(t)`` and ``b(t)``, and ``W`` itself at five depths.

    Args:
        t: Depth nodes, ``(n+1,)``.
        W: Weight matrices at the nodes, ``(n+1, N, N)``; row ``s``: to, column ``s'``: from.
        b: Biases at the nodes, ``(n+1, N)``.

    Returns:
        A figure with the axes: Frobenius norm of ``W`` and Euclidean norm of ``b``; the largest
        eight singular values of ``W``; at most five images with one colour scale, symmetric
        about 0; the colour bar.

    Raises:
        InputError: The shapes disagree.
    """
    t, W, b = (np.asarray(array, dtype=np.float64) for array in (t, W, b))
    if t.ndim != 1 or b.ndim != 2 or 0 in b.shape:
        raise InputError(f"t has shape {t.shape} and b {b.shape}; expected (n+1,) and (n+1, N).")
    check_shape("b", b.shape, (t.size, b.shape[1]))
    check_shape("W", W.shape, (t.size, b.shape[1], b.shape[1]))

    figure = Figure(figsize=(11, 6.8))
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.45, 1))
    top, bottom = halves
    left, right = top.subplots(1, 2)
    marker = "o" if t.size <= 17 else ""

    left.plot(t, np.linalg.norm(W, axis=(1, 2)), color=LINES[0], marker=marker, label=r"$|W|_F$")
    left.plot(t, np.linalg.norm(b, axis=1), "--", color=LINES[1], marker=marker, label=r"$|b|_2$")
    left.set_ylabel("norm")
    left.set_title("Size of weights and bias")
    left.legend()

    values = np.linalg.svd(W, compute_uv=False)[:, :SINGULAR_VALUES]
    shades = matplotlib.colormaps[SEQUENTIAL](np.linspace(0.0, 0.85, values.shape[1]))
    for i, shade in enumerate(shades):
        right.plot(t, values[:, i], color=shade, label=rf"$\sigma_{{{i + 1}}}$")
    right.set_ylabel("singular value")
    right.set_title(f"Largest singular values of $W$ ({values.shape[1]} of {b.shape[1]})")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=1.2)
    for axes in (left, right):
        axes.set_xlabel("depth $t$")
        axes.set_ylim(bottom=0.0)
        axes.margins(x=0.02)

    chosen = depths(t.size)
    scale = float(np.abs(W[chosen]).max()) or 1.0
    panels = np.atleast_1d(bottom.subplots(1, chosen.size, sharex=True, sharey=True))
    for axes, node in zip(panels, chosen, strict=True):
        image = axes.imshow(W[node], cmap=DIVERGING, vmin=-scale, vmax=scale)
        axes.set_title(f"$t = {t[node]:.3g}$")
        axes.set_xlabel("from neuron $s'$")
        axes.grid(False)
        axes.spines[:].set_visible(True)
        axes.locator_params(nbins=4, integer=True)
    panels[0].set_ylabel("to neuron $s$")
    bottom.colorbar(image, ax=list(panels), label="$W(t)$", shrink=0.7, aspect=14)
    return figure
