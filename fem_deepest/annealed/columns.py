"""Any action as a landscape: one column after the other, through the protocol."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.action import FormAction
from fem_deepest.action.protocol import Action
from fem_deepest.annealed.landscape import Mass, Numbers
from fem_deepest.annealed.mass import NO_MASS, FormMass
from fem_deepest.annealed.root import root_of
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.noise.philox import normals
from fem_deepest.spaces.columns import Columns

Array = NDArray[np.float64]


class ActionLandscape:
    """``A(u)`` of any action, distributed over its ranks or not.

    Where the action fails numerically it is no number, so that the flow refuses to go there.

    Args:
        action: The action.

    Attributes:
        action: The action.
        comm: Its ranks.

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
        self._columns, self._g = Columns(action.create), action.create()
        self.comm: MPI.Intracomm = self._columns.comm.tompi4py()
        self._root = root_of(action, self._g)

    @property
    def rows(self) -> int:
        """Unknowns of this rank."""
        return self._columns.rows

    def value(self, U: Array) -> Array:
        """See :class:`.Landscape`."""
        return np.array([self._value(self._columns.column(U, s)) for s in range(U.shape[1])])

    def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
        """See :class:`.Landscape`."""
        return self.mapped(self.action.gradient, U)

    def apply(self, D: Array) -> Array:
        """See :class:`.Landscape`."""
        return self._columns(self.action.metric.apply, D)

    def solve(self, R: Array) -> Array:
        """See :class:`.Landscape`."""
        return self._columns(self.action.metric.solve, R)

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

    def mass(self) -> Mass:
        """``M`` of an action in UFL, see :class:`.HasMass`.

        Raises:
            InputError: The action is none.
        """
        if not isinstance(self.action, FormAction):
            raise InputError(NO_MASS)
        return FormMass(self.action)

    def mapped(
        self, gradient: Callable[[PETSc.Vec, PETSc.Vec], float], U: Array
    ) -> tuple[Array, Array]:
        """Values and gradients of all columns by ``value = gradient(u, g)``."""
        values = list[float]()

        def caught(u: PETSc.Vec, g: PETSc.Vec) -> None:
            try:
                values.append(gradient(u, g))
            except NumericalFailure:
                values.append(np.nan)

        with np.errstate(over="ignore", invalid="ignore"):
            G = self._columns(caught, U)
        return np.array(values), G

    def _value(self, u: PETSc.Vec) -> float:
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                return self.action.value(u)
        except NumericalFailure:
            return np.nan
