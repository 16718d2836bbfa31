"""Deflation: a factor that blows up at the stationary points that are known already.

    M(u) = prod_i ( 1 / |u - u_i|^p + sigma ),        G(u) = M(u) dA/du,

in the norm of the metric. ``G`` has the other zeros of ``dA/du`` and none at ``u_i``, so Newton's
method cannot go there again. Its Jacobian is that of ``dA/du`` plus a matrix of rank one, hence its
Newton step is a multiple of the plain one (Sherman-Morrison): with ``d = -A''(u)^{-1} dA/du``,

    d_deflated = d / (1 - M'(u) d / M(u)).

P. E. Farrell, A. Birkisson, S. W. Funke, Deflation techniques for finding distinct solutions of
nonlinear partial differential equations (2015), doi:10.1137/140984798.
"""

from __future__ import annotations

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Metric


class Deflation:
    """The factor ``M`` of some known points.

    Args:
        metric: Riesz map ``P`` that measures distances.
        power: ``p``.
        shift: ``sigma``; with 1 the equations far from all known points are the plain ones.

    Attributes:
        roots: The known points, kept as copies.

    Every method is collective on the communicator of the vectors.
    """

    def __init__(self, metric: Metric, *, power: float = 2.0, shift: float = 1.0) -> None:
        self._metric, self._power, self._shift = metric, power, shift
        self.roots: list[PETSc.Vec] = []

    def add(self, root: PETSc.Vec) -> None:
        """Deflate one more point."""
        self.roots.append(root.copy())

    def distance(self, u: PETSc.Vec, root: PETSc.Vec) -> float:
        """``|u - root|`` in the metric."""
        difference, dual = u.copy(), u.duplicate()
        difference.axpy(-1.0, root)
        self._metric.apply(difference, dual)
        square = difference.dot(dual)
        difference.destroy()
        dual.destroy()
        return float(np.sqrt(max(square, 0.0)))

    def value(self, u: PETSc.Vec) -> float:
        """``M(u)``; infinite at a known point."""
        product = 1.0
        for root in self.roots:
            distance = self.distance(u, root)
            product *= distance**-self._power + self._shift if distance > 0.0 else np.inf
        return float(product)

    def slope(self, u: PETSc.Vec, d: PETSc.Vec) -> float:
        """``M'(u) d / M(u)``, the derivative of ``log M``."""
        total, difference, dual = 0.0, u.duplicate(), u.duplicate()
        for root in self.roots:
            u.copy(difference)
            difference.axpy(-1.0, root)
            self._metric.apply(difference, dual)
            square = difference.dot(dual)
            if square > 0.0:
                size = square ** (-0.5 * self._power)
                total -= self._power * size / (size + self._shift) * dual.dot(d) / square
        difference.destroy()
        dual.destroy()
        return float(total)

    def step(self, u: PETSc.Vec, d: PETSc.Vec) -> float:
        """Factor from the plain Newton step ``d`` at ``u`` to the deflated one."""
        denominator = 1.0 - self.slope(u, d)
        return float(1.0 / denominator) if denominator != 0.0 else np.inf
