"""The figure of an annealed flow, from what its run directory holds."""

from __future__ import annotations

from pathlib import Path

from fem_deepest.io.rundir import RunDirectory


def redraw(directory: RunDirectory) -> list[Path]:
    """Draw the figure of an annealed flow again from its history. Not collective.

    Raises:
        InputError: There is no run.
    """
    from fem_deepest.figures import annealed, save

    end = directory.read_json()["metrics"].get("action")
    return [save(annealed.cooling(directory.history(), end), directory.figures / "action.png")]
