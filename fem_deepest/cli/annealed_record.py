"""The history of an annealed flow: rows of ``history.csv``, and lines for the user."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.search import Plan
from fem_deepest.cli.progress import Reporter
from fem_deepest.io.rundir import RunDirectory

Array = NDArray[np.float64]

COLUMNS = (
    "step",
    "time",
    "seconds",
    "temperature",
    "action",
    "mean",
    "best",
    "acceptance",
    "evaluations",
)

_ROWS = 1000  # at most about
_TOLD = 5.0  # seconds between two lines


class Record:
    """Writes rows and tells of them.

    Args:
        directory: The run directory.
        plan: Numbers of the noisy part.
        reporter: Told now and then.
        seconds: Wall time of the run so far.
    """

    def __init__(
        self, directory: RunDirectory, plan: Plan, reporter: Reporter, seconds: Callable[[], float]
    ) -> None:
        self._directory, self._plan, self._reporter = directory, plan, reporter
        self._seconds, self._told = seconds, time.monotonic()

    def due(self, step: int) -> bool:
        """Whether a step has a row."""
        return step % -(-self._plan.steps // _ROWS) == 0 or step == self._plan.steps

    def row(
        self, step: int, theta: Array, values: Array, best: Array, accepted: Array, work: Array
    ) -> None:
        """Add the row of a step, from numbers of all replicas, (R,). Rank 0 writes.

        Args:
            step: Number of the step.
            theta: Temperatures.
            values: Actions now.
            best: Lowest actions so far.
            accepted: Acceptance probabilities of the step.
            work: Gradients so far.
        """
        row = {
            "step": step,
            "time": step * self._plan.step,
            "seconds": self._seconds(),
            "temperature": float(theta.mean()),
            "action": float(values.min()),
            "mean": float(values.mean()),
            "best": float(best.min()),
            "acceptance": float(accepted.mean()),
            "evaluations": float(work.sum()),
        }
        self._directory.append(row)
        now = time.monotonic()
        if now - self._told > _TOLD or step == self._plan.steps:
            self._told = now
            self._reporter.note(
                f"step {step} of {self._plan.steps}: temperature {row['temperature']:.3g}, action "
                f"{row['action']:.6g}, best {row['best']:.6g}, {row['seconds']:.1f} s"
            )
