"""The metric of an action squared, for noise on domains of two dimensions.

The metric ``K`` of an action with first derivatives is of second order, and noise of covariance
``K^{-1}`` is not trace class on a plane domain: its mean square grows like the logarithm of the number of
nodes. With the lumped mass ``M``

    P = K M^{-1} K / c,      C = P^{-1} = c K^{-1} M K^{-1},

is of fourth order and trace class below four dimensions (Whittle-Matern with ``alpha = 2``). Where ``K``
is ``c M``, on constants say, ``P = K``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.action import FormAction
from fem_deepest.noise.keys import dof_keys
from fem_deepest.spaces.columns import Columns
from fem_deepest.spaces.lumped import Lumped

Array = NDArray[np.float64]


class SquaredRiesz:
    """``P = K M^{-1} K / c`` on the nodes of a Lagrange space without constraints.

    Args:
        action: Gives ``K`` and the space; one unknown, nothing clamped.
        c: ``c``.

    Attributes:
        root: Square root of ``C``, one normal for each node.

    Collective: construction and every method.
    """

    def __init__(self, action: FormAction, c: float) -> None:
        self._riesz, self._c = action.metric, c
        V = action.unknowns[0].function_space
        self._mass, self._w = action.create(), action.create()
        self._mass.array_w[...] = Lumped(V).weights
        self.root = SquaredRoot(action, self._mass, c)

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``, a dual vector."""
        self._riesz.apply(d, self._w)
        self._w.pointwiseDivide(self._w, self._mass)
        self._riesz.apply(self._w, r)
        r.scale(1.0 / self._c)

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = C r``."""
        self._riesz.solve(r, self._w)
        self._w.pointwiseMult(self._w, self._mass)
        self._riesz.solve(self._w, d)
        d.scale(self._c)


class SquaredRoot:
    """``R z = c^{1/2} K^{-1} M^{1/2} z``, so that ``R R^T = C``.

    See :class:`fem_deepest.action.root.Root`.

    Args:
        action: Gives ``K`` and the names of the nodes.
        mass: ``M``, a vector.
        c: ``c``.

    Attributes:
        keys: Names (n,) of the nodes of this rank.
        width: One.

    Collective: construction and the call.
    """

    width = 1

    def __init__(self, action: FormAction, mass: PETSc.Vec, c: float) -> None:
        self.keys = dof_keys(action.unknowns[0].function_space)
        self._scale = np.sqrt(c * mass.array_r)[:, None]
        self._solve, self._columns = action.metric.solve, Columns(action.create)

    def __call__(self, z: Array) -> Array:
        """``R z``, (n, S)."""
        return self._columns(self._solve, self._scale * z)


class SquaredAction:
    """An action in its metric squared; fulfils :class:`fem_deepest.action.protocol.Action`.

    Args:
        action: The action.
        c: See :class:`SquaredRiesz`.

    Attributes:
        metric: :class:`SquaredRiesz`.

    Collective: construction and every method.
    """

    def __init__(self, action: FormAction, c: float) -> None:
        self._action, self.metric = action, SquaredRiesz(action, c)

    def create(self) -> PETSc.Vec:
        """Zero vector of the space."""
        return self._action.create()

    def value(self, u: PETSc.Vec) -> float:
        """``A(u)``."""
        return self._action.value(u)

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """``g = dA/du``; returns ``A(u)``."""
        return self._action.gradient(u, g)

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = A''(u) d``."""
        self._action.hessian(u, d, r)
