"""The history of an annealed flow: rows of ``history.csv``, and lines for the user."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.flow import Best, FlowState
from fem_deepest.annealed.search import Plan
from fem_deepest.cli.progress import Reporter
from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig
from fem_deepest.io.rundir import RunDirectory
from fem_deepest.runs.annealed_setup import FlowSetup

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


class Noisy(Protocol):
    """What is looked at in an :class:`fem_deepest.annealed.flow.AnnealedFlow`, or in replicas."""

    @property
    def iteration(self) -> int:
        """Steps so far."""

    @property
    def temperature(self) -> Array:
        """``theta`` of the replicas of this rank, (S,)."""

    @property
    def values(self) -> Array:
        """Their actions, (S,)."""

    @property
    def best(self) -> Best:
        """Their lowest iterates."""

    @property
    def acceptance(self) -> Array:
        """Probabilities by which the last moves were accepted (or exchanges, in the mean), (S,)."""

    @property
    def gradients(self) -> Array:
        """Gradients so far, (S,)."""

    @property
    def state(self) -> FlowState:
        """All that is needed to go on."""


class Record:
    """Keeps rows until all ranks meet, then writes them and tells of them.

    Args:
        directory: The run directory.
        setup: The problem, which knows whose the replicas are.
        plan: Numbers of the noisy part.
        reporter: Told now and then.
        seconds: Wall time of the run so far.
    """

    def __init__(
        self,
        directory: RunDirectory,
        setup: FlowSetup,
        plan: Plan,
        reporter: Reporter,
        seconds: Callable[[], float],
    ) -> None:
        self._directory, self._setup, self._plan = directory, setup, plan
        self._reporter, self._seconds, self._told = reporter, seconds, time.monotonic()
        self._kept: list[tuple[int, float, Array]] = []

    def first(self, values: Array) -> None:
        """The row before the first step: nothing has been accepted or refused yet. Rank 0 writes."""
        many, schedule = values.size, self._plan.schedule
        theta = schedule.temperature(0, schedule.start(many))
        rows = np.stack([theta, values, values, np.ones(many), np.zeros(many)])
        self._write(0, self._seconds(), rows)

    def keep(self, flow: Noisy) -> None:
        """Keep a row of the replicas of this rank, if one is due. Not collective."""
        step = flow.iteration
        if step % -(-self._plan.steps // _ROWS) == 0 or step == self._plan.steps:
            best, accepted = flow.best.values, flow.acceptance
            own = np.stack([flow.temperature, flow.values, best, accepted, flow.gradients])
            self._kept.append((step, self._seconds(), own))

    def flush(self) -> None:
        """Write what is kept. Collective."""
        if not self._kept:
            return
        table = self._setup.gathered(np.stack([own for _, _, own in self._kept]))
        for i, (step, seconds, _) in enumerate(self._kept):
            self._write(step, seconds, table[i])
        self._kept.clear()

    def _write(self, step: int, seconds: float, rows: Array) -> None:
        """One row, from temperature, action, best, acceptance and work of all replicas, (5, R)."""
        theta, values, best, accepted, work = rows
        row = {
            "step": step,
            "time": step * self._plan.step,
            "seconds": seconds,
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
                f"{row['action']:.6g}, best {row['best']:.6g}, {seconds:.1f} s"
            )


def heading(setup: FlowSetup, config: AnnealedFlowConfig, plan: Plan) -> str:
    """One line that says what flows, and how."""
    many, ranks, theta = config.replicas.number, setup.comm.size, config.temperature
    every = config.replicas.exchange
    cooled = (
        f"temperatures from {theta.end:g} to {theta.start:g} that are exchanged every {every} steps"
        if every
        else f"{theta.schedule} temperatures from {theta.start:g}"
    )
    return (
        f"{setup.title}; {many} replica{'s' if many > 1 else ''}, {plan.steps} steps of {plan.step:g}, "
        f"{cooled}; {ranks} rank{'s' if ranks > 1 else ''}"
    )
