"""Square roots of a covariance ``C = P^{-1}``: from standard normals to draws of ``N(0, C)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.spaces.columns import Columns

Array = NDArray[np.float64]
Words = NDArray[np.uint64]


class Root(Protocol):
    """A map ``R`` with ``R R^T = C``, from normals that have names to blocks (n, S).

    Attributes:
        keys: Names (m,) of the normals of this rank, see :func:`fem_deepest.noise.philox.normals`: the
            same for the same part of the unknown on any number of ranks.
        width: Normals of each name.
    """

    keys: Words
    width: int

    def __call__(self, z: Array) -> Array:
        """``R z``, (n, S), of the normals (m * width, S). Collective."""


class Loads(Protocol):
    """A map ``B`` with ``B B^T = A`` for a matrix ``A`` that is a sum over cells.

    Attributes:
        keys: Names (m,) of the cells of this rank.
        width: Normals of each.
    """

    keys: Words
    width: int

    def __call__(self, z: Array) -> Array:
        """``B z``, a dual block (n, S), of the normals (m * width, S). Collective."""


class Numbered:
    """A root with one normal for each unknown, named by its number.

    Args:
        numbers: Numbers (n,) of the unknowns of this rank.
        inverse_root: ``z -> R z`` on blocks.
    """

    width = 1

    @classmethod
    def of(
        cls, create: Callable[[], PETSc.Vec], inverse_root: Callable[[PETSc.Vec, PETSc.Vec], None]
    ) -> Numbered:
        """From a map of vectors. Collective."""
        columns = Columns(create)
        return cls(columns.numbers, lambda z: columns(inverse_root, z))

    def __init__(self, numbers: range, inverse_root: Callable[[Array], Array]) -> None:
        self.keys: Words = np.arange(numbers.start, numbers.stop, dtype=np.uint64)
        self._inverse_root = inverse_root

    def __call__(self, z: Array) -> Array:
        """See :class:`Root`."""
        return self._inverse_root(z)


class Loaded:
    """``R = C B`` with loads ``B z ~ N(0, P)``: a sum over cells, each with its own normals.

    Args:
        loads: ``B``.
        solve: ``C`` on blocks.

    Attributes:
        loads: ``B``.
    """

    def __init__(self, loads: Loads, solve: Callable[[Array], Array]) -> None:
        self.loads, self._solve = loads, solve
        self.keys, self.width = loads.keys, loads.width

    def __call__(self, z: Array) -> Array:
        """See :class:`Root`."""
        return self._solve(self.loads(z))
