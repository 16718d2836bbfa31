"""The one look of all figures, and how they are written.

Figures are `matplotlib.figure.Figure` objects made without pyplot: nothing stays open, and no
display is needed. Type and lines are large enough to be read when a figure is shown at half size.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.errors import InputError

__all__ = [
    "DIVERGING",
    "DPI",
    "LINES",
    "MARKERS",
    "POINTS",
    "SEQUENTIAL",
    "class_look",
    "save",
    "styled",
    "subsample",
]

DPI = 150
POINTS = 2000  # most samples drawn in a scatter plot
SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"
MARKERS = "os^Dv<>Phd"
FAINT = "0.55"

# M. Okabe, K. Ito, "Color universal design" (2008): blue, vermilion, green, purple, orange, sky.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# P. Tol, "Colour schemes" (2021), scheme "muted", and a dark grey: ten classes.
MANY = (
    *("#332288", "#CC6677", "#117733", "#DDAA33", "#88CCEE"),
    *("#882255", "#44AA99", "#999933", "#AA4499", "#555555"),
)

RC: Any = {
    "figure.constrained_layout.use": True,
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.labelsize": 13,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.fontsize": 12,
    "legend.frameon": False,
    "lines.linewidth": 2.2,
    "lines.markersize": 6,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "image.interpolation": "nearest",
}

styled = rc_context(RC)  # used as a decorator: @styled def figure(...) -> Figure


def class_look(classes: int) -> list[tuple[str, str]]:
    """Colour and marker of each class; no two alike up to a hundred classes."""
    colours = LINES if classes <= len(LINES) else MANY
    return [
        (colours[c % len(colours)], MARKERS[(c + c // len(colours)) % len(MARKERS)])
        for c in range(classes)
    ]


def subsample(samples: int, most: int = POINTS) -> NDArray[np.int64]:
    """At most ``most`` sample numbers, evenly spread and always the same."""
    return np.unique(np.linspace(0, samples - 1, min(samples, most)).round().astype(np.int64))


def depths(nodes: int, most: int = 5) -> NDArray[np.int64]:
    """At most five node numbers from the first to the last, evenly spread."""
    return subsample(nodes, most)


def check_shape(name: str, shape: Sequence[int], expected: Sequence[int]) -> None:
    """Refuse arrays that do not belong together."""
    if tuple(shape) != tuple(expected):
        raise InputError(f"{name} has shape {tuple(shape)}; expected {tuple(expected)}.")


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG, 150 dots per inch: to a temporary name, then renamed.

    Raises:
        InputError: The name does not end in ``.png``, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: figures are written as PNG; let the name end in .png.")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})
        part.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: the figure cannot be written ({error.strerror}); choose another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # renamed already, or never written
            part.unlink()
    return path
