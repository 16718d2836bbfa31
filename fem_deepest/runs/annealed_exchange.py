"""Replicas that exchange temperatures, in the place of a flow: the same view, the same checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.annealed.flow import Best, FlowState
from fem_deepest.annealed.replicas import Replicas, ReplicaState
from fem_deepest.annealed.search import Found, Plan
from fem_deepest.runs.annealed_setup import FlowSetup

Array = NDArray[np.float64]

_BATCH = 4  # replicas side by side; the result does not depend on the ranks, so it is fixed


class ReplicaView:
    """What a round has left, for the replicas of this rank: what is looked at in a flow.

    Args:
        replicas: The replicas.
        setup: The problem.

    Attributes:
        iteration: Steps so far.
        temperature: By replica, (S,).
        values: Actions, (S,).
        best: Lowest iterates.
        acceptance: Mean probability of an exchange so far, (S,).
        gradients: So far, (S,).
        state: The flows as one.
        exchange: The rest of what is needed to go on, JSON-able.

    Collective on all ranks of the problem.
    """

    def __init__(self, replicas: Replicas, setup: FlowSetup) -> None:
        told, many = replicas.state, replicas.temperatures.size
        own = setup.own(many)
        whole = [
            np.concatenate(part, axis=-1) for part in zip(*(f[1:] for f in told.flows), strict=True)
        ]
        self.iteration = told.flows[0].iteration
        self.state = FlowState(self.iteration, *(part[..., own] for part in whole))
        self.best = Best(self.state.best_values, self.state.best_U)
        self.gradients = self.state.gradients
        values, theta = np.empty(many), np.empty(many)
        values[replicas.at], theta[replicas.at] = replicas.values(), replicas.temperatures
        self.values, self.temperature = values[own], theta[own]
        self.acceptance = np.full(own.size, replicas.exchanged.mean())
        self.exchange = {
            "rounds": told.rounds,
            "at": told.at.tolist(),
            "exchanges": told.exchanges.tolist(),
        }


def exchanging(
    plan: Plan,
    temperatures: Array,
    every: int,
    setup: FlowSetup,
    kept: tuple[FlowState, Mapping[str, Any]] | None,
    watch: Callable[[ReplicaView], None],
) -> Found:
    """Flows at constant temperatures that are exchanged, then descent of the replicas of this rank.

    Args:
        plan: Numbers of the flows.
        temperatures: One for each replica, increasing, (R,).
        every: Steps between two exchanges.
        setup: The problem.
        kept: State of all replicas to go on from, and what :attr:`ReplicaView.exchange` was then; none:
            from the start.
        watch: Told after every round.

    Raises:
        InputError: What replicas refuse.

    Collective on all ranks of the problem.
    """
    many = temperatures.size
    begin: Callable[[NDArray[np.int64]], Array] | ReplicaState = setup.start
    if kept is not None:
        state, rest = kept
        flows = [
            FlowState(state.iteration, *(part[..., c : c + _BATCH] for part in state[1:]))
            for c in range(0, many, _BATCH)
        ]
        at, exchanges = np.array(rest["at"]), np.array(rest["exchanges"])
        begin = ReplicaState(rest["rounds"], at, exchanges, flows)
    replicas = Replicas(
        lambda: setup.landscape,
        temperatures,
        begin,
        step=plan.step,
        every=every,
        implicitness=plan.implicitness,
        accept=plan.accept,
        batch=_BATCH,
        seed=plan.seed,
        # Ranks that share a replica all have all of them.
        comm=setup.comm if setup.dealt else MPI.COMM_SELF,
    )
    found = replicas.search(
        plan.steps // every,
        lambda: setup.descend,
        watch=lambda replicas: watch(ReplicaView(replicas, setup)),
    )
    own = setup.own(many)
    return Found(
        found.U[:, own],
        found.values[own],
        found.converged[own],
        found.gradients[own],
        found.noisy[own],
        found.lost[own],
    )
