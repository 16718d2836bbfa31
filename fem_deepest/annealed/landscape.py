"""What an annealed flow needs from a problem: the action and its metric on blocks of columns.

A block is an array (n, S): the rows of this rank, one column for each replica or seed. ``P`` is the metric
of the action and ``C = P^{-1}``. Columns know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = Sequence[int] | NDArray[np.integer]


class Landscape(Protocol):
    """An action on blocks.

    Attributes:
        comm: Ranks that share each column.

    Collective on ``comm``: every method.
    """

    comm: MPI.Intracomm

    @property
    def rows(self) -> int:
        """Rows of this rank, ``n``."""

    def value(self, U: Array) -> Array:
        """``A(u)``, (S,), the same on every rank."""

    def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
        """``A(u)``, (S,), and ``dA/du``, a dual block (n, S).

        Args:
            U: (n, S).
            step: Number that names the minibatch, where there are any; all of the data if None.
        """

    def apply(self, D: Array) -> Array:
        """``P D``, a dual block."""

    def solve(self, R: Array) -> Array:
        """``C R`` of a dual block."""

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int = 0) -> Array:
        """Independent draws of ``N(0, C)``, (n, S).

        Column ``s`` is made from standard normals that are a function of the seed, the step,
        ``numbers[s]``, the stream and the name of an unknown or a cell alone: they are the same bit for
        bit on any number of ranks.
        """

    def inner(self, a: Array, b: Array) -> Array:
        """``<a_s, b_s>``, (S,), of a dual block and a block; the same on every rank."""


class Mass(Protocol):
    """``M`` on blocks, for white noise that no prior smooths.

    Attributes:
        dimension: Dimension of the domain.

    Collective: every method.
    """

    dimension: int

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int = 0) -> Array:
        """Loads of law ``N(0, M)``, a dual block (n, S); the numbers are keyed as by a landscape."""

    def solve(self, R: Array) -> Array:
        """``M^{-1} R``."""

    def shifted(self, a: float) -> Callable[[Array], Array]:
        """``R -> (M + a P)^{-1} R``."""


@runtime_checkable
class HasMass(Protocol):
    """A landscape that knows the mass matrix of its unknown."""

    def mass(self) -> Mass:
        """``M``. Collective at the first use."""


@runtime_checkable
class Minibatched(Protocol):
    """A landscape whose gradients with a number of a step are those of a minibatch.

    Attributes:
        fraction: Part of the data in a minibatch: what its gradient costs.
    """

    fraction: float
