"""How an annealed flow ended: its stages, its numbers, its tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.flow import FlowState
from fem_deepest.annealed.search import Found
from fem_deepest.cli.levels import write_table
from fem_deepest.io.rundir import RunDirectory
from fem_deepest.runs.annealed_setup import FlowSetup
from fem_deepest.solve.annealing.search import Lowest

Array = NDArray[np.float64]


def noise_stage(setup: FlowSetup, many: int, state: FlowState) -> dict[str, Any]:
    """The noisy part for ``run.json``. Collective."""
    return {
        "stage": "noise",
        "steps": state.iteration,
        "replicas": many,
        "best": float(setup.gathered(state.best_values).min()),
        "evaluations": float(setup.gathered(state.gradients).sum()),
    }


@dataclass(frozen=True, eq=False)
class Ends:
    """Ends of all replicas, the same on every rank.

    Attributes:
        actions: Action at the end, (R,).
        converged: Whether that is a stationary point, (R,).
        work: Gradients, (R,).
        noisy: Lowest action with noise, (R,).
        lost: Whether the noise has exploded, (R,).
        best: Number of the lowest end.
        u: Its rows of this rank, (n,).
        gradient: Dual norm of its gradient.
        lowest: It, as its problem presents it.
    """

    actions: Array
    converged: NDArray[np.bool_]
    work: Array
    noisy: Array
    lost: NDArray[np.bool_]
    best: int
    u: Array
    gradient: float
    lowest: Lowest

    @classmethod
    def of(cls, setup: FlowSetup, numbers: NDArray[np.int64], found: Found) -> Ends:
        """What the replicas of this rank and of the others have found. Collective."""
        actions, converged, work, noisy, lost = (
            setup.gathered(getattr(found, name))
            for name in ("values", "converged", "gradients", "noisy", "lost")
        )
        best = int(np.argmin(np.where(np.isfinite(actions), actions, np.inf)))
        u = setup.column(found.U, numbers, best)
        return cls(
            actions,
            converged.astype(bool),
            work,
            noisy,
            lost.astype(bool),
            best,
            u,
            setup.gradient(u),
            setup.show(u),
        )

    @property
    def status(self) -> str:
        """Whether the lowest end is a stationary point, and no flow has exploded on the way."""
        good = self.converged[self.best] and not self.lost.any()
        return "converged" if good else "not_converged"

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers of the lowest end, and the work of all."""
        return {
            "action": float(self.actions[self.best]),
            "gradient": self.gradient,
            "replica": float(self.best),
            "evaluations": float(self.work.sum()),
            **self.lowest.metrics,
        }

    def stage(self, noise: float) -> dict[str, Any]:
        """The descent for ``run.json``, after so many gradients with noise."""
        return {
            "stage": "descent",
            "action": float(self.actions[self.best]),
            "gradient": self.gradient,
            "replicas": self.actions.size,
            "converged": int(self.converged.sum()),
            "evaluations": float(self.work.sum()) - noise,
        }


def write_ends(
    directory: RunDirectory, setup: FlowSetup, ends: Ends, start: Array, fields: bool
) -> None:
    """``replicas.csv``, the tables of the lowest end, and its fields if they are wanted. Collective.

    Args:
        directory: The run directory.
        setup: The problem.
        ends: How the replicas ended.
        start: Actions of the starts, (R,).
        fields: Whether to write fields.
    """
    if directory.comm.rank == 0:
        columns = {
            "replica": range(start.size),
            "start": start,
            "best": ends.noisy,
            "action": ends.actions,
            "converged": ends.converged.astype(int),
            "evaluations": ends.work,
            "exploded": ends.lost.astype(int),
        }
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        write_table(directory.path / "replicas.csv", list(columns), rows)
        for name, (head, table) in ends.lowest.tables.items():
            write_table(directory.path / name, list(head), list(table))
    if fields and (not setup.dealt or directory.comm.rank == 0):
        setup.draw(directory.fields, ends.u)
