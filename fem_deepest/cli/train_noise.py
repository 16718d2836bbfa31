"""``[search]`` of a training: noise on the coarsest depth mesh before the nested solves."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.annealed.descent import quasi_newton
from fem_deepest.annealed.flow import AnnealedFlow, FlowState
from fem_deepest.annealed.search import Plan, search
from fem_deepest.cli.interrupt import Interrupt
from fem_deepest.cli.progress import Reporter
from fem_deepest.configuration.train import Config
from fem_deepest.errors import Interrupted, NumericalFailure
from fem_deepest.io.annealed import load_flow, row_numbers, save_flow
from fem_deepest.io.rundir import COLUMNS, RunDirectory
from fem_deepest.io.search import find
from fem_deepest.io.succession import forget
from fem_deepest.runs.noise import make_schedule, network_landscape
from fem_deepest.runs.start import random_controls
from fem_deepest.solve.schedule import Search

Array = NDArray[np.float64]

_ROUGH = 10.0  # the ends are told apart at this multiple of the tolerance of the first level
_ROWS = 200  # of the history, at most about
_TOLD = 5.0  # seconds between two lines


class NoisyStart:
    """A search with noise by replicas, on the action of the coarsest mesh.

    The best and the last iterate of each replica go down roughly; the nested solves go on from the
    lowest. It has a checkpoint of its own, ``noise.h5``, until it is done.

    Args:
        config: Configuration.
        action: The action.
        directory: The run directory.
        interrupt: Asked after every step.
        reporter: Told how it goes.
        seconds: Wall time of the run so far.

    Raises:
        InputError: The schedule does not decrease, or the minibatches do not fit.

    Collective on the ranks of the action: construction and every method.
    """

    def __init__(
        self,
        config: Config,
        action: NetworkAction,
        directory: RunDirectory,
        interrupt: Interrupt,
        reporter: Reporter,
        seconds: Callable[[], float],
    ) -> None:
        self.config, self.action, self.directory = config, action, directory
        self.interrupt, self.reporter, self.seconds = interrupt, reporter, seconds
        section = config.search
        self.plan = Plan(
            schedule=make_schedule(section, section.steps),
            steps=section.steps,
            step=section.step * config.action.strength,
            look=section.look,
            seed=config.seed,
        )
        numbers = range(section.replicas)
        self.landscape = network_landscape(action, section.minibatch, config.seed, numbers)
        self.path = directory.path / "noise.h5"
        self.kept: dict[str, Any] | None = None

    def find(self, signature: dict[str, Any]) -> float:
        """Look for the checkpoint of a search to go on with; its wall time, zero without one.

        Raises:
            InputError: It is one of another run.
        """
        self.kept = find(self.path, signature, self.landscape.comm, self.reporter.note)
        return float(self.kept["seconds"]) if self.kept else 0.0

    @property
    def rows(self) -> int:
        """Rows of the history that the checkpoint knows of."""
        return int(self.kept["rows"]) if self.kept else 0

    def run(self, started: Search, tolerance: float, signature: dict[str, Any]) -> dict[str, Any]:
        """Search, and put the lowest end into the place where the nested solves start.

        Args:
            started: The nested solves, at their start.
            tolerance: Dual norm of the gradient to which they solve the first level.
            signature: What a checkpoint must agree with.

        Returns:
            The stage for ``run.json``.

        Raises:
            Interrupted: It was asked to leave; the checkpoint has been written.
            NumericalFailure: No replica has ended where the action is finite.
        """
        begun, comm = self.seconds(), self.landscape.comm
        names = row_numbers(comm, self.landscape.rows)
        numbers = np.arange(self.config.search.replicas)
        starts: Array | FlowState
        if self.kept:
            starts = load_flow(self.path, self.kept, names, numbers)
        else:
            self.forget()
            starts = random_controls(self.action, self.config, numbers)
        saved = told = time.monotonic()

        def watch(flow: AnnealedFlow) -> None:
            nonlocal saved, told
            now, step = time.monotonic(), flow.iteration
            if step % -(-self.plan.steps // _ROWS) == 0:
                self._row(flow)
            if now - told > _TOLD:
                told = now
                self._tell(flow)
            due = now - saved >= 60.0 * self.config.output.checkpoint_minutes
            flags = np.array([self.interrupt.asked, due and comm.rank == 0], dtype=np.int32)
            comm.Allreduce(MPI.IN_PLACE, flags, op=MPI.MAX)
            if flags.any():
                saved = now
                kept = {"signature": signature, "rows": self.directory.sync()}
                kept["seconds"] = self.seconds()
                save_flow(self.path, flow.state, names, kept, comm, dealt=False)
            if flags[0]:
                raise Interrupted

        solve = self.config.solve
        descend = quasi_newton(
            self.action,
            tolerance=_ROUGH * tolerance,
            iterations=solve.iterations,
            pairs=solve.memory,
        )
        found = search(self.landscape, starts, self.plan, descend, numbers=numbers, watch=watch)
        if not np.isfinite(found.values).any():
            raise NumericalFailure(
                "the search with noise has gone to where the action is not finite; take a smaller "
                "search.step or search.start"
            )
        if found.lost.any():
            self.reporter.note(
                f"the noise has exploded in {int(found.lost.sum())} of {numbers.size} replicas, which go "
                "on from their best iterates; take a smaller search.step or search.start"
            )
        best = int(np.nanargmin(found.values))
        started.u.array_w[...] = found.U[:, best]
        started.evaluations += int(np.ceil(found.gradients.sum()))
        self.action.value(started.u)
        parts = self.action.parts
        self.reporter.note(
            f"noise {self.action.network.depth.cells:4d} cells: action {parts.action:.6f} from replica "
            f"{best} of {numbers.size}, {started.evaluations} gradients, {self.seconds():.1f} s"
        )
        return {
            "stage": "noise",
            "cells": self.action.network.depth.cells,
            "neurons": self.action.network.index.neurons,
            "action": parts.action,
            "misfit": parts.misfit,
            "model": parts.model,
            "prior": parts.prior,
            "score": parts.score,
            "replicas": numbers.size,
            "noisy": float(found.noisy.min()),
            "exploded": int(found.lost.sum()),
            "iterations": self.plan.steps,
            "evaluations": started.evaluations,
            "seconds": self.seconds() - begun,
        }

    def forget(self) -> None:
        """Remove the checkpoint of the search: that of the solve has taken its place."""
        if self.landscape.comm.rank == 0:
            forget(self.path)

    def _row(self, flow: AnnealedFlow) -> None:
        row = dict.fromkeys(COLUMNS, float("nan")) | {
            "stage": "noise",
            "cells": self.action.network.depth.cells,
            "neurons": self.action.network.index.neurons,
            "iteration": flow.iteration,
            "evaluations": int(np.ceil(flow.gradients.sum())),
            "seconds": self.seconds(),
            "action": float(flow.values.min()),
        }
        self.directory.append(row)

    def _tell(self, flow: AnnealedFlow) -> None:
        self.reporter.note(
            f"noise step {flow.iteration} of {self.plan.steps}: temperature "
            f"{flow.temperature.mean():.3g}, action {flow.values.min():.6g}, best "
            f"{flow.best.values.min():.6g}, {self.seconds():.1f} s"
        )
