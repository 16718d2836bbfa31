"""One path of an SPDE: its measures in time, some of its states, and an animation of all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.figures.style import DIVERGING, LINES, SEQUENTIAL, styled, subsample
from fem_deepest.io.frames import Frame

__all__ = ["along", "animate", "film", "measures", "snapshots", "triangles"]

_SHOWN = 6
_DPI = 80  # of the animation, whose size grows with its square
_PER_SECOND = 12
_CORNERS = {6: 3, 9: 4}  # of curved cells, which come before their other nodes


@styled
def measures(history: Mapping[str, NDArray]) -> Figure:
    """Mean, extremes and norm against time, and the free energy where it is known. Not collective.

    Args:
        history: Columns ``time``, ``mean``, ``norm``, ``min``, ``max``, ``energy``, (rows,).
    """
    known = bool(np.isfinite(history["energy"]).any())
    figure = Figure(figsize=(12 if known else 7, 4.6))
    panels: Any = figure.subplots(1, 2 if known else 1, squeeze=False)
    t, left = history["time"], panels[0, 0]
    left.fill_between(t, history["min"], history["max"], color=LINES[5], alpha=0.35, label="range")
    left.plot(t, history["mean"], color=LINES[0], label="mean of $u$")
    left.plot(t, history["norm"], "--", color=LINES[1], label=r"$\|u\|_{L^2}$")
    left.set_ylabel("$u$")
    left.legend(loc="best")
    if known:
        panels[0, 1].plot(t, history["energy"], color=LINES[2])
        panels[0, 1].set_ylabel("free energy")
    for axes in panels.flat:
        axes.set_xlabel("time $t$")
    return figure


@styled
def snapshots(frames: Sequence[Frame]) -> Figure:
    """At most six states, evenly spread in time, in one scale. Not collective.

    Args:
        frames: States in one or two dimensions.

    Raises:
        InputError: The states have three coordinates.
    """
    some = [frames[i] for i in subsample(len(frames), _SHOWN)]
    low, high, colours = _scale(frames)
    if _curve(some[0]):
        figure = Figure(figsize=(8, 4.6))
        axes = figure.add_subplot()
        for colour, frame in zip(LINES, some, strict=False):
            axes.plot(*along(frame), color=colour, linewidth=1.6, label=f"$t = {frame.t:.3g}$")
        axes.set_xlabel("$x$")
        axes.set_ylabel("$u(x, t)$")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return figure
    columns = min(3, len(some))
    rows = -(-len(some) // columns)
    figure = Figure(figsize=(4.2 * columns + 1.0, 4.2 * rows))
    grid: Any = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(some) :]:
        axes.set_visible(False)
    for axes, frame in zip(grid.flat, some, strict=False):
        image = _map(axes, frame, low, high, colours)
        axes.set_title(f"$t = {frame.t:.3g}$")
    for axes in grid.flat[len(some) - columns : len(some)]:  # the lowest of each column
        axes.set_xlabel("$x$")
        axes.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("$y$")
    figure.colorbar(image, ax=grid, label="$u$", shrink=0.8)
    return figure


@styled
def animate(frames: Sequence[Frame], path: str | Path) -> Path:
    """Write all states as an animated GIF: to a temporary name, then renamed. Not collective.

    Args:
        frames: States in one or two dimensions, in order.
        path: File, ending in ``.gif``.

    Raises:
        InputError: The states have three coordinates, or the file cannot be written.
    """
    path = Path(path)
    low, high, colours = _scale(frames)
    figure = Figure(figsize=(6.4, 5.4))
    axes = figure.add_subplot()
    axes.set_xlabel("$x$")
    if _curve(frames[0]):
        (line,) = axes.plot(*along(frames[0]), color=LINES[0])
        axes.set_ylim(low, high)
        axes.set_ylabel("$u(x, t)$")

        def show(frame: Frame) -> list[Any]:
            line.set_data(*along(frame))
            axes.set_title(f"$t = {frame.t:.3f}$")
            return [line]

    else:
        image = _map(axes, frames[0], low, high, colours)
        axes.set_ylabel("$y$")
        figure.colorbar(image, ax=axes, label="$u$")

        def show(frame: Frame) -> list[Any]:
            image.set_array(frame.values)
            axes.set_title(f"$t = {frame.t:.3f}$")
            return [image]

    return film(figure, show, frames, path)


def film(
    figure: Figure, show: Callable[[Frame], list[Any]], frames: Sequence[Frame], path: Path
) -> Path:
    """Write an animated GIF: to a temporary name, then renamed. Not collective.

    Args:
        figure: What is drawn on.
        show: Draws a frame, and returns what it has changed.
        frames: Frames in order.
        path: File, ending in ``.gif``.

    Raises:
        InputError: The file cannot be written.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.gif")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The animation needs a canvas that draws; a Figure has one without any display.
        moving = FuncAnimation(figure, show, frames=list(frames), init_func=lambda: [], blit=False)
        moving.save(part, writer=PillowWriter(fps=_PER_SECOND), dpi=_DPI)
        part.replace(path)
    except OSError as error:
        raise InputError(
            f"{path}: the animation cannot be written ({error.strerror}); choose another folder."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # renamed already, or never written
            part.unlink()
    return path


def _scale(frames: Sequence[Frame]) -> tuple[float, float, str]:
    """Limits of the values, and colours: diverging about zero where they have both signs."""
    low = min(float(frame.values.min()) for frame in frames)
    high = max(float(frame.values.max()) for frame in frames)
    if low < 0.0 < high:
        most = max(-low, high)
        return -most, most, DIVERGING
    return low, high if high > low else low + 1.0, SEQUENTIAL


def along(frame: Frame) -> tuple[NDArray, NDArray]:
    """Coordinates along an interval, or arc lengths on a closed one, and values, in order."""
    x, u = frame.points[:, 0], frame.values
    if frame.points.shape[1] == 2:
        ends = frame.points[frame.cells]
        length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1).sum()
        x = length * np.mod(np.arctan2(frame.points[:, 1], x) / (2.0 * np.pi), 1.0)
    order = np.argsort(x, kind="stable")
    return x[order], u[order]


def _curve(frame: Frame) -> bool:
    """Whether the mesh is an interval, open or closed."""
    return frame.points.shape[1] == 1 or frame.cells.shape[1] == 2


def _map(axes: Any, frame: Frame, low: float, high: float, colours: str) -> Any:
    if frame.points.shape[1] != 2:
        raise InputError(
            f"the states have {frame.points.shape[1]} coordinates; figures show one or two, open "
            "fields/ in ParaView"
        )
    axes.set_aspect("equal")
    axes.grid(False)
    return axes.tripcolor(
        triangles(frame), frame.values, vmin=low, vmax=high, cmap=colours, shading="gouraud"
    )


def triangles(frame: Frame) -> Triangulation:
    """The mesh of a frame in the plane, other cells cut into triangles. Not collective."""
    cells = frame.cells[:, : _CORNERS.get(frame.cells.shape[1])]
    if cells.shape[1] == 4:  # quadrilaterals, whose corners go round
        cells = np.concatenate([cells[:, [0, 1, 2]], cells[:, [0, 2, 3]]])
    return Triangulation(frame.points[:, 0], frame.points[:, 1], cells)
