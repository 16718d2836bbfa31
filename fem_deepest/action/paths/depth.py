"""Operators on paths that are tridiagonal in depth and know of no coupling, and their square roots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.paths.action import Paths
from fem_deepest.spaces.tridiagonal import Tridiagonal

Array = NDArray[np.float64]


class InDepth:
    """``A = diag(A_x, scale A_w)``, symmetric positive definite, on blocks of unknowns ``(x, w)``.

    One tridiagonal matrix serves all components of ``x``, another all parameters that vary in depth. A
    block is an array (size, S), one path in each column.

    Args:
        paths: Gives the layout of the unknowns.
        x: ``A_x``, (m, m).
        w: ``A_w``, (n + 1, n + 1); none for constant parameters, where it is 1.
        scale: One factor for each parameter, (P,).

    Nothing here is collective.
    """

    def __init__(self, paths: Paths, x: Tridiagonal, w: Tridiagonal | None, scale: Array) -> None:
        self.paths, self.x, self.w, self.scale = paths, x, w, scale

    def product(self, d: Array) -> Array:
        """``A d``."""
        return self._mapped(Tridiagonal.apply, d, 1.0)

    def solution(self, r: Array) -> Array:
        """``A^{-1} r``."""
        return self._mapped(Tridiagonal.solve, r, -1.0)

    def load(self, z: Array) -> Array:
        """``L z`` with ``L L^T = A``: of covariance ``A`` if ``z`` are independent standard normals."""
        return self._mapped(Tridiagonal.root, z, 0.5)

    def inverse_root(self, z: Array) -> Array:
        """``R z`` with ``R R^T = A^{-1}``."""
        return self._mapped(Tridiagonal.inverse_root, z, -0.5)

    def _mapped(
        self, operation: Callable[[Tridiagonal, Array], Array], u: Array, power: float
    ) -> Array:
        """An operation with the matrices on columns in depth; the scale is given a power."""
        (nodes, states), (*ends, parameters) = self.paths.shapes
        out, cut = np.empty(u.shape), nodes * states
        out[:cut] = operation(self.x, u[:cut].reshape(nodes, -1)).reshape(cut, -1)
        if parameters:
            w = u[cut:]
            if self.w is not None:
                w = operation(self.w, w.reshape(ends[0], -1))
            weight = (self.scale**power)[:, None]
            out[cut:] = (weight * w.reshape(-1, parameters, u.shape[1])).reshape(len(u) - cut, -1)
        return out


def h1(h: Array, zeroth: float, first: float) -> Tridiagonal:
    """``zeroth M_t + first K_t`` of P1 functions.

    Args:
        h: Lengths of the cells, (m - 1,).
        zeroth: Coefficient of the mass matrix.
        first: Coefficient of the stiffness matrix.
    """
    diagonal = np.zeros(h.size + 1)
    for side in (slice(None, -1), slice(1, None)):
        diagonal[side] += zeroth * h / 3.0 + first / h
    return Tridiagonal(diagonal, zeroth * h / 6.0 - first / h)
