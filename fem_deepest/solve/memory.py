"""Limited-memory BFGS operator whose initial inverse Hessian is the metric, ``H_0 = gamma P^{-1}``.

The compact form of Byrd, Nocedal, Schnabel (1994), doi:10.1007/BF01582063, with steps ``s_i``,
gradient changes ``y_i`` and their Riesz representers ``z_i = P^{-1} y_i``:

    H = gamma P^{-1} + [S, gamma Z] [ R^-T (D + gamma Y^T Z) R^-1, -R^-T; -R^-1, 0 ] [S, gamma Z]^T,

``R`` the upper triangle and ``D`` the diagonal of ``S^T Y``. It costs four passes over the pairs,
and each pair is a pair of *fields*: it is prolonged to a finer depth mesh as they are, so that a
finer level starts with the curvature that the coarser one has seen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Metric

_FLAT = 1e-12  # a pair with less curvature, relative to |y|^2 in the dual norm, is left out


class LimitedMemory:
    """Inverse Hessian from the last pairs of steps and gradient changes.

    Args:
        metric: Riesz map ``P`` of the space.
        size: Largest number of pairs kept.

    Attributes:
        scale: ``gamma``: ``s.y / y.P^{-1}y`` of the newest pair.

    Every method is collective on the communicator of the vectors.
    """

    def __init__(self, metric: Metric, size: int) -> None:
        self.metric, self.size = metric, size
        self.scale = 1.0
        self.s: list[PETSc.Vec] = []
        self.y: list[PETSc.Vec] = []
        self._z: list[PETSc.Vec] = []
        self._sy: NDArray[np.float64] = np.zeros((0, 0))
        self._yz: NDArray[np.float64] = np.zeros((0, 0))

    def push(self, s: PETSc.Vec, y: PETSc.Vec) -> None:
        """Take over a pair and forget the oldest one when there are too many."""
        z = y.duplicate()
        self.metric.solve(y, z)
        curvature, square = s.dot(y), y.dot(z)
        if not curvature > _FLAT * square:
            for vec in (s, y, z):
                vec.destroy()
            return
        if len(self.s) == self.size:
            for store in (self.s, self.y, self._z):
                store.pop(0).destroy()
            self._sy, self._yz = self._sy[1:, 1:], self._yz[1:, 1:]
        m = len(self.s)
        sy, yz = np.zeros((m + 1, m + 1)), np.zeros((m + 1, m + 1))
        sy[:m, :m], yz[:m, :m] = self._sy, self._yz
        sy[m, m], yz[m, m] = curvature, square
        if m:
            sy[:m, m] = y.mDot(self.s)
            yz[m, :m] = yz[:m, m] = y.mDot(self._z)
        self.s.append(s)
        self.y.append(y)
        self._z.append(z)
        self._sy, self._yz = sy, yz
        self.scale = curvature / square

    def apply(self, g: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = H g``: minus the quasi-Newton direction."""
        self.metric.solve(g, d)
        d.scale(self.scale)
        if not self.s:
            return
        r, gamma = np.triu(self._sy), self.scale
        a, b = np.asarray(g.mDot(self.s)), gamma * np.asarray(g.mDot(self._z))
        ra = solve_triangular(r, a)
        top = solve_triangular(r, np.diag(self._sy) * ra + gamma * (self._yz @ ra) - b, trans="T")
        d.maxpy([*top, *(-gamma * ra)], [*self.s, *self._z])

    def moved(
        self,
        metric: Metric,
        primal: Callable[[PETSc.Vec], PETSc.Vec],
    ) -> LimitedMemory:
        """The same memory on another space.

        Args:
            metric: Riesz map of the other space.
            primal: Gives a new vector, the prolongation of a vector of this space.

        Steps are prolonged as they are, gradient changes through their representers, so that all
        inner products are kept exactly when the spaces are nested and their metrics agree on the
        coarser one, see :func:`.prolong`.
        """
        other = LimitedMemory(metric, self.size)
        for s, z in zip(self.s, self._z, strict=True):
            fine = primal(z)
            y = fine.duplicate()
            metric.apply(fine, y)
            fine.destroy()
            other.push(primal(s), y)
        other.scale = self.scale
        return other

    def clear(self) -> None:
        """Forget all pairs; the scale stays."""
        for store in (self.s, self.y, self._z):
            for vec in store:
                vec.destroy()
            store.clear()
        self._sy, self._yz = np.zeros((0, 0)), np.zeros((0, 0))


def dual_norm(metric: Metric, g: PETSc.Vec) -> float:
    """``|g|`` in the dual of the metric, ``sqrt(g . P^{-1} g)``: a gradient's norm on any mesh."""
    d = g.duplicate()
    metric.solve(g, d)
    square = g.dot(d)
    d.destroy()
    return float(np.sqrt(max(square, 0.0)))
