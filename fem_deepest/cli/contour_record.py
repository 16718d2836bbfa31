"""The history of contours: rows of ``history.csv``, and lines for the user."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from fem_deepest.cli.progress import Reporter
from fem_deepest.contours.flow import ContourFlow
from fem_deepest.io.rundir import RunDirectory
from fem_deepest.runs.contour import ContourProblem

Array = NDArray[np.float64]

COLUMNS = (
    "step",
    "seconds",
    "temperature",
    "energy",
    "mean",
    "best",
    "acceptance",
    "dice",
    "area",
    "length",
)

_ROWS = 1000  # of the history, at most about
_TOLD = 5.0  # seconds between two lines


class ContourRecord:
    """Writes rows of the history, and tells of them now and then.

    Args:
        directory: The run directory.
        problem: The problem.
        reporter: Told.

    Collective on the communicator of the directory: :meth:`step` and :meth:`end`.
    """

    def __init__(
        self, directory: RunDirectory, problem: ContourProblem, reporter: Reporter
    ) -> None:
        self._directory, self._problem, self._reporter = directory, problem, reporter
        self._steps, self._told = problem.config.time.steps, time.monotonic()

    def due(self, step: int) -> bool:
        """Whether a step has a row. Not collective."""
        return step % -(-self._steps // _ROWS) == 0 or step == self._steps

    def step(self, flow: ContourFlow, seconds: float) -> None:
        """The row of a step with noise."""
        row = {
            "temperature": float(flow.temperature.mean()),
            "best": float(flow.best.values.min()),
            "acceptance": float(flow.acceptance.mean()),
        }
        row |= self._write(flow.step, flow.U, flow.energies, seconds, row)
        now = time.monotonic()
        if now - self._told < _TOLD and flow.step < self._steps:
            return
        self._told = now
        dice = f", Dice {row['dice']:.3f}" if np.isfinite(row["dice"]) else ""
        self._reporter.note(
            f"step {flow.step} of {self._steps}: temperature {row['temperature']:.3g}, energy "
            f"{row['energy']:.6g}, best {row['best']:.6g}{dice}, {seconds:.1f} s"
        )

    def end(
        self, flow: ContourFlow, step: int, U: Array, energies: Array, seconds: float
    ) -> dict[str, float]:
        """The row after the descent, which is returned."""
        best = min(float(flow.best.values.min()), float(energies.min()))
        row = {"temperature": 0.0, "best": best, "acceptance": 1.0}
        return row | self._write(step, U, energies, seconds, row)

    def _write(
        self, step: int, U: Array, energies: Array, seconds: float, row: dict[str, float]
    ) -> dict[str, float]:
        """Measure the lowest contour, and write the row with what is known already."""
        measured = {
            "energy": float(energies.min()),
            "mean": float(energies.mean()),
            **self._problem.measure(lowest(U, energies)),
        }
        self._directory.append({"step": step, "seconds": seconds, **row, **measured})
        return measured


def lowest(U: Array, energies: Array) -> Array:
    """The contour of lowest energy, (owned, 1). Not collective."""
    best = int(np.argmin(energies))
    return U[:, best : best + 1]
