"""Which class is taken for which.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from fem_deepest.errors import InputError
from fem_deepest.figures.style import check_shape, styled

__all__ = ["confusion"]

READABLE = 26  # classes up to which every cell has its number


@styled
def confusion(counts: ArrayLike, classes: Sequence[str], title: str = "Test data") -> Figure:
    """The confusion matrix: number of samples by true and predicted class.

    The colour is the share of a row, that is of the true class, so that rare classes show as
    clearly as frequent ones; the number in a cell is the count. The title gets the accuracy.

    Args:
        counts: ``(C, C)``, row: true class, column: predicted class.
        classes: The ``C`` names.
        title: What the samples are, such as "Test data".

    Returns:
        A figure with two axes, the matrix and its colour bar.

    Raises:
        InputError: The shapes disagree, or there are no samples.
    """
    numbers = np.asarray(counts)
    size = len(classes)
    check_shape("the confusion matrix", numbers.shape, (size, size))
    if numbers.sum() == 0:
        raise InputError("the confusion matrix counts no samples; expected one or more.")
    shares = numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    accuracy = np.trace(numbers) / numbers.sum()

    inches = min(max(4.2, 0.62 * size), 13.0)
    figure = Figure(figsize=(inches + 2.0, inches + 1.0))
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    if size <= READABLE:
        for i, j in np.ndindex(size, size):
            colour = "white" if shares[i, j] > 0.55 else "0.7" if numbers[i, j] == 0 else "black"
            axes.text(j, i, f"{numbers[i, j]}", ha="center", va="center", color=colour)
    step = -(-size // (2 * READABLE))
    ticks = range(0, size, step)
    words = [classes[i] for i in ticks]
    long = 0.12 * max(map(len, words)) > inches / len(words)
    axes.set_xticks(ticks, words, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(ticks, words)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(f"{title}: accuracy {100 * accuracy:.2f} %")
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.85)
    return figure
