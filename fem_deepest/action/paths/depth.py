"""Operators on paths that are tridiagonal in depth and know of no coupling, and their square roots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve_banded, cholesky_banded, lapack

from fem_deepest.action.paths.action import Paths

Array = NDArray[np.float64]


class InDepth:
    """``A = diag(A_x, scale A_w)``, symmetric positive definite, on many unknowns ``(x, w)`` at once.

    One tridiagonal matrix serves all components of ``x``, another all parameters that vary in depth.
    With the factor ``A = U^T U`` and standard normals ``z``, ``U^T z ~ N(0, A)`` and
    ``U^{-1} z ~ N(0, A^{-1})``.

    Args:
        paths: Gives the layout of the unknowns.
        x: ``A_x``, upper banded (2, m).
        w: ``A_w``, upper banded (2, n + 1); none for constant parameters, where it is 1.
        scale: One factor for each parameter, (P,).

    Nothing here is collective.
    """

    def __init__(self, paths: Paths, x: Array, w: Array | None, scale: Array) -> None:
        self.paths, self.x, self.w, self.scale = paths, x, w, scale
        self._x = cholesky_banded(x)
        self._w = None if w is None else cholesky_banded(w)

    def product(self, d: Array) -> Array:
        """``A d``, (..., size)."""
        x, w = self.paths.split(d)
        w = self.scale * (w if self.w is None else _times(self.w, w))
        return self.paths.join(_times(self.x, x), w)

    def solution(self, r: Array) -> Array:
        """``A^{-1} r``, (..., size)."""
        # A column that is not finite has no solution, and no say in those of the others.
        return self._mapped(
            lambda U, b: cho_solve_banded((U, False), b, check_finite=False), r, -1.0
        )

    def load(self, z: Array) -> Array:
        """``U^T z``, (..., size)."""
        return self._mapped(_lower_product, z, 0.5)

    def inverse_root(self, z: Array) -> Array:
        """``U^{-1} z``, (..., size)."""
        return self._mapped(_upper_solution, z, -0.5)

    def _mapped(self, operation: Callable[[Array, Array], Array], u: Array, power: float) -> Array:
        """An operation with the factors ``U`` on columns in depth; the scale is given a power."""
        x, w = self.paths.split(u)
        if self._w is not None:
            w = _in_depth(operation, self._w, w)
        return self.paths.join(_in_depth(operation, self._x, x), self.scale**power * w)


def _in_depth(operation: Callable[[Array, Array], Array], factor: Array, x: Array) -> Array:
    """An operation on columns (m, ..) that stand in the last but one axis of ``x`` (.., m, D)."""
    columns = np.moveaxis(x, -2, 0)
    image = operation(factor, columns.reshape(len(columns), -1))
    return np.moveaxis(image.reshape(columns.shape), 0, -2)


def _lower_product(U: Array, z: Array) -> Array:
    """``U^T z``."""
    out = U[1][:, None] * z
    out[1:] += U[0, 1:, None] * z[:-1]
    return out


def _upper_solution(upper: Array, b: Array) -> Array:
    """``U^{-1} b`` of an upper banded factor ``U^T U``."""
    return np.asarray(lapack.dtbtrs(upper, b, uplo="U")[0])


def h1(h: Array, zeroth: float, first: float) -> Array:
    """``zeroth M_t + first K_t`` of P1 functions, upper banded (2, m).

    Args:
        h: Lengths of the cells, (m - 1,).
        zeroth: Coefficient of the mass matrix.
        first: Coefficient of the stiffness matrix.
    """
    out = np.zeros((2, h.size + 1))
    for side in (slice(None, -1), slice(1, None)):
        out[1, side] += zeroth * h / 3.0 + first / h
    out[0, 1:] = zeroth * h / 6.0 - first / h
    return out


def _times(matrix: Array, x: Array) -> Array:
    """A symmetric tridiagonal matrix times columns in the last but one axis."""
    out = matrix[1][:, None] * x
    out[..., :-1, :] += matrix[0, 1:, None] * x[..., 1:, :]
    out[..., 1:, :] += matrix[0, 1:, None] * x[..., :-1, :]
    return out
