"""Any action as a landscape: one column after the other, through the protocol."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Action
from fem_deepest.annealed.landscape import Numbers
from fem_deepest.annealed.root import root_of
from fem_deepest.errors import InputError
from fem_deepest.noise.philox import normals

Array = NDArray[np.float64]


class ActionLandscape:
    """``A(u)`` of any action, distributed over its ranks or not.

    Args:
        action: The action.

    Attributes:
        action: The action.
        comm: Its ranks.
        u: A vector of the space, for use in between.

    Raises:
        InputError: The action has a saddle point where others have a minimum, or its metric is
            spread over ranks and has no square root.

    Collective: construction and every method.
    """

    def __init__(self, action: Action) -> None:
        if getattr(action, "negative", 0):
            raise InputError(
                "the saddle form has no lower bound in its momenta, so no flow goes down to its "
                "solutions; take the state or the forcing form"
            )
        self.action = action
        self.u, self._g = action.create(), action.create()
        self.comm: MPI.Intracomm = self.u.comm.tompi4py()
        self._root = root_of(action, self.u)

    @property
    def rows(self) -> int:
        """Unknowns of this rank."""
        return int(self.u.getLocalSize())

    def value(self, U: Array) -> Array:
        """See :class:`.Landscape`."""
        values = np.empty(U.shape[1])
        for s in range(U.shape[1]):
            self.u.array[...] = U[:, s]
            values[s] = self.action.value(self.u)
        return values

    def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
        """See :class:`.Landscape`."""
        values, G = np.empty(U.shape[1]), np.empty_like(U)
        for s in range(U.shape[1]):
            self.u.array[...] = U[:, s]
            values[s] = self.action.gradient(self.u, self._g)
            G[:, s] = self._g.array_r
        return values, G

    def apply(self, D: Array) -> Array:
        """See :class:`.Landscape`."""
        return self.mapped(self.action.metric.apply, D)

    def solve(self, R: Array) -> Array:
        """See :class:`.Landscape`."""
        return self.mapped(self.action.metric.solve, R)

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int = 0) -> Array:
        """See :class:`.Landscape`."""
        root = self._root
        return root(normals(seed, root.keys, step, stream, numbers, root.width))

    def inner(self, a: Array, b: Array) -> Array:
        """See :class:`.Landscape`."""
        local = np.einsum("is,is->s", a, b)
        if self.comm.size > 1:
            self.comm.Allreduce(MPI.IN_PLACE, local)
        return np.asarray(local)

    def mapped(self, operation: Callable[[PETSc.Vec, PETSc.Vec], None], block: Array) -> Array:
        """A map of vectors on each column."""
        image = np.empty_like(block)
        for s in range(block.shape[1]):
            self.u.array[...] = block[:, s]
            operation(self.u, self._g)
            image[:, s] = self._g.array_r
        return image
