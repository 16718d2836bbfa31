"""A problem for annealed flows, and its replicas on the ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.annealed.landscape import Landscape
from fem_deepest.annealed.search import Descend
from fem_deepest.errors import InputError
from fem_deepest.solve.annealing.search import Lowest

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class FlowSetup:
    """A problem for annealed flows.

    Attributes:
        comm: All ranks.
        dealt: Whether each rank has replicas of its own; otherwise all ranks share each of them.
        title: One line that says what it is.
        landscape: The action.
        start: Starts (n, S) of the replicas with these numbers.
        descend: Solver for the end.
        names: Names (n,) of the rows of this rank, the same on any number of ranks.
        source: The configuration of the problem, as far as it is in another file.
        checksum: Of the data.
        show: What to tell of a column (n,). Collective on the ranks of the landscape.
        draw: Writes fields of a column into a folder; collective likewise.
    """

    comm: MPI.Intracomm
    dealt: bool
    title: str
    landscape: Landscape
    start: Callable[[Numbers], Array]
    descend: Descend
    names: Words
    source: dict[str, Any]
    checksum: int
    show: Callable[[Array], Lowest]
    draw: Callable[[Path, Array], None]

    def own(self, many: int) -> Numbers:
        """Numbers of the replicas of this rank. Not collective.

        Raises:
            InputError: There are fewer replicas to deal out than ranks.
        """
        if not self.dealt:
            return np.arange(many)
        if many < self.comm.size:
            raise InputError(
                f"{many} replicas were asked for on {self.comm.size} ranks, where each needs one of its "
                "own; take more replicas or fewer ranks"
            )
        return np.array_split(np.arange(many), self.comm.size)[self.comm.rank]

    def gathered(self, own: Array) -> Array:
        """Numbers (.., R) of all replicas, in their order, from those of this rank. Collective."""
        return np.concatenate(self.comm.allgather(own), axis=-1) if self.dealt else own

    def column(self, U: Array, numbers: Numbers, number: int) -> Array:
        """One replica's rows of this rank; one that was dealt is sent to all. Collective."""
        if not self.dealt:
            return U[:, number]
        own = np.flatnonzero(numbers == number)
        found = self.comm.allgather(U[:, own[0]] if own.size else None)
        return next(u for u in found if u is not None)

    def gradient(self, u: Array) -> float:
        """Dual norm of the gradient at a column. Collective."""
        _, G = self.landscape.gradient(u[:, None])
        return float(np.sqrt(max(self.landscape.inner(G, self.landscape.solve(G))[0], 0.0)))
