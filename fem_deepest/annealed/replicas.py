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

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.annealed.flow import Accept, Best
from fem_deepest.annealed.landscape import Landscape

Array = NDArray[np.float64]


class Replicas:
    """``R`` replicas, one at each temperature, dealt out over the ranks in batches.

    Args:
        make: Makes the landscape of a rank, on ``MPI.COMM_SELF``; called once if the rank has a batch.
        temperatures: ``theta``, (R,), all different.
        start: ``start(numbers)`` gives the starts (n, S) of the replicas with these numbers.
        step: ``k``.
        every: Steps between two exchanges.
        implicitness: ``vartheta``.
        accept: Rule of acceptance; "metropolis" for the exact laws.
        batch: Replicas side by side, a task of one rank.
        seed: Seed.
        comm: All ranks. The result does not depend on their number.

    Attributes:
        temperatures: Temperature of each replica, (R,), the same on every rank.
        exchanged: Mean exchange probability of each pair of neighbouring temperatures, (R - 1,).

    Raises:
        InputError: A temperature is not positive or twice there, or a number is wrong.

    Collective on ``comm``: construction and every method.
    """

    def __init__(
        self,
        make: Callable[[], Landscape],
        temperatures: Array,
        start: Callable[[NDArray[np.int64]], Array],
        *,
        step: float,
        every: int = 1,
        implicitness: float = 0.5,
        accept: Accept = "metropolis",
        batch: int = 4,
        seed: int = 0,
        comm: MPI.Intracomm = MPI.COMM_WORLD,
    ) -> None:
        raise NotImplementedError

    def advance(self) -> None:
        """So many steps of all replicas, then one round of exchanges."""

    def values(self) -> Array:
        """``A`` of the replicas in the order of the temperatures, (R,), on every rank."""
        raise NotImplementedError

    def gathered(self) -> Array:
        """States (n, R) in the order of the temperatures, on every rank."""
        raise NotImplementedError

    def best(self) -> Best:
        """Lowest iterates of the replicas by their numbers, (R,) and (n, R), on every rank."""
        raise NotImplementedError
