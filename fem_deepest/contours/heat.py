"""The heat flow of P1 elements with lumped masses, ``exp(-t M_L^{-1} K)``, on blocks.

With the eigenvalues of ``L = M_L^{-1} K`` in ``[0, b]`` and ``a = t b / 2`` (Tal-Ezer, Kosloff 1984,
doi:10.1063/1.448136),

    exp(-t L) = e^{-a} I_0(a) + 2 sum_k (-1)^k e^{-a} I_k(a) T_k( 2 L / b - 1 ),

whose terms vanish faster than any power from ``k ~ a`` on: some ten products with ``K`` for all samples
together, no linear system, and the error is that of rounding. On a mesh without obtuse angles the flow
obeys the maximum principle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import ufl
from numpy.typing import NDArray
from scipy.special import ive

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.spaces.lumped import Lumped
from fem_deepest.spde.pencil import Pencil

Array = NDArray[np.float64]

_TOLERANCE = 1e-12
_SLACK = 1.0 + 1e-12


class HeatFlow:
    """``du/dt = Laplace u`` with no flux through the boundary, exact in time.

    Args:
        V: Scalar Lagrange space of degree one.

    Attributes:
        masses: ``M_L``, (owned, 1).
        bound: ``b``, by the row sums of ``|L|`` (Gershgorin).

    Raises:
        InputError: The space has another element.

    Collective on the mesh: construction and every method.
    """

    def __init__(self, V: Any) -> None:
        if V.ufl_element().degree != 1 or V.dofmap.bs != 1:
            raise InputError(
                f"contours were asked for on {V.ufl_element()}; expected a scalar Lagrange space of "
                "degree 1, whose lumped masses are positive"
            )
        u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        nodes = Lumped(V)
        self._pencil = Pencil(V, ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx, (), nodes)
        self.masses: Array = nodes.weights[:, None]
        self.bound = self._row_sum()

    def stiffness(self, U: Array) -> Array:
        """``K U``, a dual block."""
        return self._pencil.stiffness(U)

    def flow(self, U: Array, t: float) -> Array:
        """``exp(-t L) U``.

        Args:
            U: (owned, S).
            t: Time, not negative.
        """
        if t == 0.0:
            return U.copy()
        c = coefficients(0.5 * t * self.bound)
        before, last = U, self._scaled(U)
        total = c[0] * before + c[1] * last
        for number in c[2:]:
            after = self._scaled(last)
            after *= 2.0
            after -= before
            before, last = last, after
            total += number * last
        return total

    def _scaled(self, U: Array) -> Array:
        """``(2 L / b - 1) U``."""
        out = self._pencil.stiffness(U)
        out *= 2.0 / (self.bound * self.masses)
        out -= U
        return out

    def _row_sum(self) -> float:
        K = self._pencil.matrix(0.0, 1.0)
        inverse = K.createVecLeft()
        inverse.array_w[...] = 1.0 / self.masses[:, 0]
        K.diagonalScale(inverse)
        bound = float(K.norm(PETSc.NormType.NORM_INFINITY)) * _SLACK
        inverse.destroy()
        K.destroy()
        return bound


def coefficients(a: float) -> Array:
    """The numbers before ``T_0, T_1, ...``, to where they are below 1e-12, two at least."""
    k = np.arange(int(a + 12.0 * np.sqrt(a + 1.0)) + 20)
    c = np.where(k == 0, 1.0, 2.0 * (-1.0) ** k) * ive(k, a)
    return c[: max(2, int(np.flatnonzero(np.abs(c) > _TOLERANCE)[-1]) + 1)]
