"""Active contours: the energy as it cools, the contour on its image, and a film of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.figures.flow import film, triangles
from fem_deepest.figures.style import LINES, styled
from fem_deepest.io.frames import Frame

__all__ = ["animate", "cooling", "segmentation"]

_EDGE, _START = LINES[4], LINES[5]


@styled
def cooling(history: Mapping[str, NDArray]) -> Figure:
    """Energy, and Dice's coefficient where it is known, with the temperature. Not collective.

    Args:
        history: Columns ``step``, ``energy``, ``best``, ``temperature``, ``dice``, (rows,).
    """
    known = bool(np.isfinite(history["dice"]).any())
    figure = Figure(figsize=(13 if known else 9, 4.6))
    panels: Any = figure.subplots(1, 3 if known else 2)
    step = history["step"]
    panels[0].plot(step, history["energy"], color=LINES[0], linewidth=1.4, label="now")
    panels[0].plot(step, history["best"], "--", color=LINES[1], label="lowest so far")
    panels[0].set_ylabel("energy $E$")
    panels[0].legend(loc="best")
    noisy = np.isfinite(history["temperature"]) & (history["temperature"] > 0.0)
    if noisy.any():
        panels[1].semilogy(step[noisy], history["temperature"][noisy], color=LINES[2])
    panels[1].set_ylabel(r"temperature $\theta$")
    if known:
        panels[2].plot(step, history["dice"], color=LINES[0])
        panels[2].set_ylim(-0.02, 1.02)
        panels[2].set_ylabel("Dice coefficient")
    for axes in panels:
        axes.set_xlabel("evaluations of the energy")
    return figure


@styled
def segmentation(image: NDArray, first: Frame, last: Frame) -> Figure:
    """The contour at the end, and dashed that at the start, on the image. Not collective.

    Args:
        image: Grey values from 0 to 1, (rows, columns), the first row on top.
        first: Phase field at the start.
        last: Phase field at the end.
    """
    low, high = first.points.min(axis=0), first.points.max(axis=0)
    figure = Figure(figsize=(6.0 * (high[0] - low[0]) / (high[1] - low[1]) + 0.6, 6.0))
    axes = figure.add_subplot()
    draw(axes, image, first)
    edge(axes, first, _START, "--")
    edge(axes, last, _EDGE, "-")
    axes.set_title("contour at the start (dashed) and at the end")
    return figure


@styled
def animate(image: NDArray, frames: Sequence[Frame], path: str | Path) -> Path:
    """Write a film of the contour on the image as an animated GIF. Not collective.

    Args:
        image: Grey values from 0 to 1, (rows, columns), the first row on top.
        frames: Phase fields in order.
        path: File, ending in ``.gif``.

    Raises:
        InputError: The file cannot be written.
    """
    low, high = frames[0].points.min(axis=0), frames[0].points.max(axis=0)
    figure = Figure(figsize=(5.0 * (high[0] - low[0]) / (high[1] - low[1]) + 0.6, 5.4))
    axes = figure.add_subplot()
    draw(axes, image, frames[0])
    drawn: list[Any] = []

    def show(frame: Frame) -> list[Any]:
        while drawn:
            drawn.pop().remove()
        drawn.append(edge(axes, frame, _EDGE, "-"))
        axes.set_title(f"step {frame.t:.0f}")
        return drawn

    return film(figure, show, frames, Path(path))


def draw(axes: Any, image: NDArray, frame: Frame) -> None:
    """The image in the box around a mesh. Not collective."""
    low, high = frame.points.min(axis=0), frame.points.max(axis=0)
    box = (low[0], high[0], low[1], high[1])
    axes.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, extent=box)
    axes.grid(False)
    axes.set_xlabel("$x$")
    axes.set_ylabel("$y$")


def edge(axes: Any, frame: Frame, colour: str, style: str) -> Any:
    """The zero level of a phase field. Not collective."""
    # A field of one sign has no contour, of which Matplotlib would warn.
    level = [0.0] if frame.values.min() < 0.0 < frame.values.max() else []
    return axes.tricontour(
        triangles(frame),
        frame.values,
        levels=level,
        colors=colour,
        linestyles=style,
        linewidths=2.2,
    )
