"""Parallel tempering: replicas at several temperatures that exchange them.

Between some steps of their flows, replicas ``i`` and ``j`` at neighbouring temperatures exchange them with
probability

    min(1, exp( (1/theta_i - 1/theta_j) (A_i - A_j) )),

which leaves the product of the laws ``exp(-A/theta_i)`` invariant. The hot ones cross barriers, the cold
ones find out what lies behind. Even and odd pairs take turns. R. H. Swendsen, J.-S. Wang, Phys. Rev. Lett.
57 (1986) 2607, doi:10.1103/PhysRevLett.57.2607; C. J. Geyer (1991).

Temperatures move, not states: only the actions travel between ranks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.annealed.flow import Accept, AnnealedFlow, Best, FlowState
from fem_deepest.annealed.landscape import Landscape
from fem_deepest.annealed.schedule import Constant
from fem_deepest.annealed.search import Descend, Ends, Found, descended
from fem_deepest.errors import InputError
from fem_deepest.noise.philox import log_uniforms
from fem_deepest.spaces.tasks import blocks, dealt

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
T = TypeVar("T")

_EXCHANGES = 2  # stream of the generator, behind those of the flow


class ReplicaState(NamedTuple):
    """All that replicas need to go on bit for bit.

    Attributes:
        rounds: Rounds so far, which name the exchanges.
        at: Number of the replica at each temperature, (R,).
        exchanges: Sums of the exchange probabilities, and their numbers, (2, R - 1).
        flows: States of the flows, batch by batch.
    """

    rounds: int
    at: Numbers
    exchanges: Array
    flows: list[FlowState]


class Replicas:
    """``R`` replicas, one at each temperature, dealt out over the ranks in batches.

    Args:
        make: Makes the landscape of a rank, on ``MPI.COMM_SELF``; called once if the rank has a batch.
        temperatures: ``theta``, (R,), increasing.
        start: ``start(numbers)`` gives the starts (n, S) of the replicas with these numbers; or a state.
        step: ``k``.
        every: Steps between two exchanges.
        implicitness: ``vartheta``.
        accept: Rule of acceptance; "metropolis" for the exact laws.
        batch: Replicas side by side, a task of one rank.
        seed: Seed.
        comm: All ranks; the result does not depend on their number. An action that is spread over ranks
            itself takes ``MPI.COMM_SELF``: then all its ranks have all replicas.

    Attributes:
        temperatures: ``theta``, (R,).
        at: Number of the replica at each temperature, (R,), the same on every rank.
        rounds: Rounds so far.

    Raises:
        InputError: The temperatures do not increase or are not positive, a number is wrong, or a state
            has others.
        NumericalFailure: The action of a start is not finite.

    Collective on ``comm``: construction and every method.
    """

    def __init__(
        self,
        make: Callable[[], Landscape],
        temperatures: Array,
        start: Callable[[Numbers], Array] | ReplicaState,
        *,
        step: float,
        every: int = 1,
        implicitness: float = 0.5,
        accept: Accept = "metropolis",
        batch: int = 4,
        seed: int = 0,
        comm: MPI.Intracomm = MPI.COMM_WORLD,
    ) -> None:
        self.temperatures = theta = np.asarray(temperatures, dtype=np.float64)
        if theta.ndim != 1 or theta.size < 2 or not (np.diff(theta) > 0.0).all() or theta[0] <= 0.0:
            raise InputError(
                f"the temperatures of the replicas are {temperatures}, expected two or more positive "
                "numbers that increase"
            )
        if every < 1 or batch < 1:
            raise InputError(
                f"replicas exchange every {every} steps in batches of {batch}, expected 1 or more of both"
            )
        self.every, self.seed, self.comm = every, seed, comm
        many = theta.size
        given = start if isinstance(start, ReplicaState) else None
        self.rounds = given.rounds if given else 0
        self.at: Numbers = given.at.copy() if given else np.arange(many)
        self._exchanges: Array = given.exchanges.copy() if given else np.zeros((2, many - 1))
        self._parts, self._flows = blocks(range(many), batch), dict[int, AnnealedFlow]()
        if given and [flow.U.shape[1] for flow in given.flows] != [len(p) for p in self._parts]:
            raise InputError(
                f"replicas go on from a state in batches of {[f.U.shape[1] for f in given.flows]}, but "
                f"{many} temperatures in batches of {batch} were asked for; take those of the state"
            )
        landscape, own = cache(make), self._own_temperatures()

        def begin(part: range) -> None:
            numbers = np.array(part)
            U0 = given.flows[part.start // batch] if given else start(numbers)  # type: ignore[operator]
            self._flows[part.start] = AnnealedFlow(
                landscape(),
                Constant(own[numbers]),
                step=step,
                U0=U0,
                implicitness=implicitness,
                accept=accept,
                numbers=numbers,
                seed=seed,
            )

        dealt(self._parts, begin, comm)

    def advance(self) -> None:
        """So many steps of all replicas, then one round of exchanges."""
        own = self._own_temperatures()

        def steps(part: range) -> Array:
            flow = self._flows[part.start]
            flow.schedule = Constant(own[np.array(part)])
            for _ in range(self.every):
                flow.advance()
            return flow.values

        self._exchange(np.concatenate(dealt(self._parts, steps, self.comm)))
        self.rounds += 1

    @property
    def exchanged(self) -> Array:
        """Mean exchange probability of each pair of neighbouring temperatures, (R - 1,)."""
        total, count = self._exchanges
        return np.asarray(total / np.maximum(count, 1.0))

    @property
    def state(self) -> ReplicaState:
        """What is needed to go on from here, on every rank; give it as ``start``."""
        flows = self._told(lambda flow: flow.state)
        return ReplicaState(self.rounds, self.at.copy(), self._exchanges.copy(), flows)

    def values(self) -> Array:
        """``A`` of the replicas in the order of the temperatures, (R,), on every rank."""
        return np.concatenate(self._told(lambda flow: flow.values))[self.at]

    def gathered(self) -> Array:
        """States (n, R) in the order of the temperatures, on every rank."""
        return np.concatenate(self._told(lambda flow: flow.U), axis=1)[:, self.at]

    def best(self) -> Best:
        """Lowest iterates of the replicas by their numbers, (R,) and (n, R), on every rank."""
        found = self._told(lambda flow: flow.best)
        return Best(
            np.concatenate([b.values for b in found]), np.concatenate([b.U for b in found], axis=1)
        )

    def search(
        self,
        rounds: int,
        descend: Callable[[], Descend],
        *,
        ends: Ends = ("best", "last"),
        watch: Callable[[Replicas], None] = lambda replicas: None,
    ) -> Found:
        """Go on to this number of rounds, then take each replica down to a stationary point.

        Args:
            rounds: Rounds, those made before included.
            descend: Makes the solver of a rank; called for each of its batches.
            ends: Iterates that are taken down, see :class:`.Plan`.
            watch: Told after every round; an exception that it raises on all ranks ends the search.

        Returns:
            By the numbers of the replicas, on every rank.
        """
        while self.rounds < rounds:
            self.advance()
            watch(self)
        found = self._told(lambda flow: descended(flow, descend(), ends))
        columns = (np.concatenate(part, axis=-1) for part in zip(*found, strict=True))
        return Found(*columns)

    def _told(self, what: Callable[[AnnealedFlow], T]) -> list[T]:
        return dealt(self._parts, lambda part: what(self._flows[part.start]), self.comm)

    def _own_temperatures(self) -> Array:
        """Temperatures by the numbers of the replicas."""
        own = np.empty(self.temperatures.size)
        own[self.at] = self.temperatures
        return own

    def _exchange(self, values: Array) -> None:
        """Exchange the temperatures of even or odd pairs, given the actions by numbers."""
        pairs = np.arange(self.rounds % 2, self.at.size - 1, 2)
        cold, hot = self.at[pairs], self.at[pairs + 1]
        beta = 1.0 / self.temperatures
        log_ratio = (beta[pairs] - beta[pairs + 1]) * (values[cold] - values[hot])
        self._exchanges[0, pairs] += np.exp(np.minimum(log_ratio, 0.0))
        self._exchanges[1, pairs] += 1.0
        take = pairs[log_uniforms(self.seed, self.rounds, _EXCHANGES, pairs) < log_ratio]
        self.at[take], self.at[take + 1] = self.at[take + 1], self.at[take]
