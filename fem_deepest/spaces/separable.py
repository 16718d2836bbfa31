"""The tensor-product H1 precision: a field over depth x rows x columns, solved exactly.

With a depth factor and two finite-element factors,

    P = A (x) M_r (x) M_c + B (x) ( K_r (x) M_c + M_r (x) K_c ),

``A`` and ``B`` symmetric tridiagonal in depth, ``A`` positive definite, ``B`` semidefinite. In the
eigenvectors of the factors, ``K Phi = M Phi diag(mu)`` with ``Phi^T M Phi = 1``, it is the tridiagonal
matrix ``T_ij = A + (mu_i + mu_j) B`` for each pair of modes (fast diagonalisation: Lynch, Rice, Thomas
1964, doi:10.1007/BF01386067), so

    P^{-1} = (Phi_r (x) Phi_c) T^{-1} (Phi_r (x) Phi_c)^T.

A solve is two products of matrices each way and one elimination in depth for all pairs at once, whose
factors are set up once. (Eigenvectors in depth too would replace the elimination by two more products;
with 16 cells that takes 1.4 times as long, with 256 six times.) Without ``B`` the factors do not mix:
one elimination serves all of them.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.tridiagonal import inverse_root

Array = NDArray[np.float64]
Bands = tuple[
    Array, Array
]  # of a symmetric tridiagonal matrix: diagonal (m,), off-diagonal (m - 1,)


class SeparablePrecision:
    """``P`` of the equation above, on arrays (m, ..., R, C): depth first, the two factors last.

    Args:
        depth: ``A``: diagonal (m,) and off-diagonal (m - 1,).
        along: ``B``, likewise; None for none.
        rows: Factor of ``R`` unknowns.
        columns: Factor of ``C`` unknowns.

    Attributes:
        mixed: Whether there is a ``B``, and a factor with a stiffness for it.

    Nothing here is collective.
    """

    def __init__(self, depth: Bands, along: Bands | None, rows: Factor, columns: Factor) -> None:
        self.depth, self.rows, self.columns = depth, rows, columns
        self.mixed = along is not None and (rows.has_stiffness or columns.has_stiffness)
        self._along = along if along is not None else (0.0 * depth[0], 0.0 * depth[1])
        self._lumped = rows.mass_lumped and columns.mass_lumped
        self._work: dict[tuple[int, ...], tuple[Array, Array]] = {}

    @cached_property
    def measure(self) -> Array:
        """Lumped ``M_r (x) M_c`` as an array (R, C)."""
        return np.multiply.outer(self.rows.weights, self.columns.weights)

    @property
    def is_diagonal(self) -> bool:
        """Whether ``P = A (x) diag(measure)``."""
        return self._lumped and not self.mixed

    @cached_property
    def _unit(self) -> bool:
        return self._lumped and bool(np.all(self.measure == 1.0))

    def apply(self, a: Array, out: Array) -> None:
        """``out = P a``."""
        _banded(self.depth, a, out)
        if self._lumped:
            if not self._unit:
                out *= self.measure
        elif out.size:
            out[...] = self.columns.apply_mass(self.rows.apply_mass(out, -2), -1)
        if self.mixed and out.size:
            b = np.empty_like(out)
            _banded(self._along, a, b)
            out += self.columns.apply_mass(self.rows.apply_stiffness(b, -2), -1)
            out += self.rows.apply_mass(self.columns.apply_stiffness(b, -1), -2)

    def solve(self, r: Array, out: Array) -> None:
        """``out = P^{-1} r``."""
        if not r.size:
            return
        if self.mixed:
            x = self._modal(r)
            pivots, below = self.depth_factor
            for i in range(len(below)):
                x[i + 1] -= below[i] * x[i]
            self._substitute(np.divide(x, _beside(pivots, x), out=x))
            self._nodal(x, out)
        elif self._lumped:
            out[...] = self._eliminated(r)
            if not self._unit:
                out /= self.measure
        else:
            out[...] = self.columns.solve_mass(self.rows.solve_mass(self._eliminated(r), -2), -1)

    def inverse_root(self, z: Array, out: Array) -> None:
        """``out = R z`` with ``R R^T = P^{-1}``, of standard normals a draw of ``N(0, P^{-1})``."""
        if not z.size:
            return
        if self.mixed:
            pivots, _ = self.depth_factor
            x = z / np.sqrt(_beside(pivots, z))
            self._substitute(x)
            self._nodal(x, out)
            return
        if len(z) == 1:
            x = z / np.sqrt(self.depth[0][0])
        else:
            x = inverse_root(self.depth_factor, z.reshape(len(z), -1)).reshape(z.shape)
        if self._lumped:
            out[...] = x
            if not self._unit:
                out /= np.sqrt(self.measure)
        else:
            self._nodal(x, out)

    @cached_property
    def depth_factor(self) -> Bands:
        """``D`` and the subdiagonal of ``L`` of ``T = L D L^T``: (m,) and (m - 1,), of pairs (m, R, C)."""
        if not self.mixed:
            diagonal, off = self.depth
            if diagonal.size == 1:
                return diagonal, off
            pivots, below = lapack.dpttrf(diagonal, off)[:2]
            return pivots, below
        shift = np.add.outer(self.rows.modes[0], self.columns.modes[0])
        (diagonal, off), (b_diagonal, b_off) = self.depth, self._along
        pivots, below = np.empty((diagonal.size, *shift.shape)), np.empty((off.size, *shift.shape))
        pivots[0] = diagonal[0] + b_diagonal[0] * shift
        for i in range(off.size):
            beside = off[i] + b_off[i] * shift
            np.divide(beside, pivots[i], out=below[i])
            pivots[i + 1] = diagonal[i + 1] + b_diagonal[i + 1] * shift - below[i] * beside
        return pivots, below

    def half(self, a: Array, axis: int) -> Array:
        """``Q^T a`` along rows (``axis = -2``) or columns (-1); these are the last axis of ``a``.

        ``P^{-1} = (Q_r (x) Q_c) T^{-1} (Q_r (x) Q_c)^T`` with ``T = L D L^T`` of :attr:`depth_factor`.
        """
        factor = self.rows if axis == -2 else self.columns
        if self.mixed or not self._lumped:
            return a if factor.is_plain else a @ factor.modes[1]
        return a if factor.uniform == 1.0 else a / np.sqrt(factor.weights)

    def galerkin(self, prolongation: Array) -> Array:
        """``Z^T P Z``, (q R C, q R C), of a prolongation ``Z`` (m, q) in depth."""
        (M_r, K_r), (M_c, K_c) = (_dense(factor) for factor in (self.rows, self.columns))
        matrix = np.kron(_projected(self.depth, prolongation), np.kron(M_r, M_c))
        if self.mixed:
            along = np.kron(K_r, M_c) + np.kron(M_r, K_c)
            matrix += np.kron(_projected(self._along, prolongation), along)
        return matrix

    def _eliminated(self, r: Array) -> Array:
        """``A^{-1} r``."""
        if len(r) == 1:
            return r / self.depth[0][0]
        x = lapack.dpttrs(*self.depth_factor, r.reshape(len(r), -1))[0]
        return np.asarray(x).reshape(r.shape)

    def _substitute(self, x: Array) -> None:
        """``L^{-T} x`` for all pairs of modes, in place."""
        below = self.depth_factor[1]
        for i in reversed(range(len(below))):
            x[i] -= below[i] * x[i + 1]

    def _buffers(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        if shape not in self._work:
            self._work = {shape: (np.empty(shape), np.empty(shape))}
        return self._work[shape]

    def _modal(self, a: Array) -> Array:
        """``Phi_r^T a Phi_c``, in a buffer."""
        one, two = self._buffers(a.shape)
        if self.columns.is_plain:
            return np.matmul(self.rows.modes[1].T, a, out=two)
        x = np.matmul(a, self.columns.modes[1], out=one)
        return x if self.rows.is_plain else np.matmul(self.rows.modes[1].T, x, out=two)

    def _nodal(self, x: Array, out: Array) -> None:
        """``Phi_r x Phi_c^T``."""
        if self.columns.is_plain:
            np.matmul(self.rows.modes[1], x, out=out)
        elif self.rows.is_plain:
            np.matmul(x, self.columns.modes[1].T, out=out)
        else:
            one, _ = self._buffers(x.shape)
            np.matmul(self.rows.modes[1], x, out=one)
            np.matmul(one, self.columns.modes[1].T, out=out)


def _beside(pivots: Array, x: Array) -> Array:
    """Pivots (m, R, C) as a factor of an array (m, ..., R, C)."""
    return pivots.reshape(len(pivots), *[1] * (x.ndim - 3), *pivots.shape[1:])


def _banded(bands: Bands, a: Array, out: Array) -> None:
    along = (-1, *[1] * (a.ndim - 1))
    diagonal, off = bands[0].reshape(along), bands[1].reshape(along)
    np.multiply(diagonal, a, out=out)
    out[:-1] += off * a[1:]
    out[1:] += off * a[:-1]


def _projected(bands: Bands, prolongation: Array) -> Array:
    image = np.empty_like(prolongation)
    _banded(bands, prolongation, image)
    return prolongation.T @ image


def _dense(factor: Factor) -> tuple[Array, Array]:
    one = np.eye(factor.size)
    return factor.apply_mass(one, 0), factor.apply_stiffness(one, 0)
