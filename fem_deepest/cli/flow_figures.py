"""The figures of a flow, from what its run directory holds: those of an SPDE, and how all are drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fem_deepest.errors import InputError
from fem_deepest.io.frames import read_frames
from fem_deepest.io.rundir import RunDirectory
from fem_deepest.spaces.tasks import on_root


def redraw(directory: RunDirectory) -> list[Path]:
    """Draw the figures of a flow again from its history and frames. Not collective.

    Raises:
        InputError: There are no frames, or they cannot be read.
    """
    from fem_deepest.figures import flow as figures
    from fem_deepest.figures import save

    frames = read_frames(directory.fields)
    if not frames:
        raise InputError(f"{directory.fields} holds no frames; run the flow first")
    paths = [save(figures.measures(directory.history()), directory.figures / "measures.png")]
    if frames[0].points.shape[1] < 3:
        paths.append(save(figures.snapshots(frames), directory.figures / "snapshots.png"))
        paths.append(figures.animate(frames, directory.figures / "animation.gif"))
    return paths


def draw(directory: RunDirectory, redraw: Callable[[RunDirectory], object]) -> None:
    """Let rank 0 draw the figures of a run that has ended; where it cannot, all ranks say so.

    Raises:
        InputError: It cannot.

    Collective.
    """

    def complete() -> None:
        try:
            redraw(directory)
        except (InputError, OSError) as error:
            raise InputError(f"the run is complete, but its figures are not: {error}") from None

    on_root(complete, directory.comm)
