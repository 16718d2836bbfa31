"""The action of one path at one precision ``R_f``, in the protocol that all solvers are written for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.paths.action import Curvature, PathParts, Paths
from fem_deepest.action.paths.depth import InDepth, h1
from fem_deepest.action.root import Numbered
from fem_deepest.errors import InputError
from fem_deepest.spaces.tridiagonal import Tridiagonal

Array = NDArray[np.float64]


class PathAction:
    """``A(x, w)`` of :class:`fem_deepest.action.paths.action.Paths` for one path.

    Fulfils :class:`fem_deepest.action.protocol.Action`. A path lives on one process: the vectors are
    sequential, and different processes may work on different paths.

    Args:
        paths: The action of many paths.
        model_precision: ``R_f``, positive and finite: the state form has no other.

    Attributes:
        metric: See :class:`PathMetric`.
        parts: The action and its parts at the last point evaluated, arrays of one entry.

    Raises:
        InputError: ``R_f`` is not positive and finite, or an end is clamped or periodic.
    """

    def __init__(self, paths: Paths, model_precision: float) -> None:
        if not 0.0 < model_precision < np.inf:
            raise InputError(
                f"the state form needs a positive, finite R_f, got {model_precision}; use the saddle "
                "or the forcing form for an exact model"
            )
        if paths.periodic or np.isfinite(paths.fixed).any():
            raise InputError(
                "the action of one path in this room has natural or Gaussian ends; take "
                "make_form('state', ..) for a clamped or a periodic one"
            )
        self.paths, self.model_precision = paths, model_precision
        self.metric = PathMetric(paths, model_precision)
        self.parts: PathParts | None = None
        self._at: tuple[Array, Curvature] | None = None

    def create(self) -> PETSc.Vec:
        """Zero unknown ``(x, w)``. Not collective."""
        return PETSc.Vec().createSeq(self.paths.size, comm=PETSc.COMM_SELF)

    def value(self, u: PETSc.Vec) -> float:
        """``A(u)``. Not collective."""
        self.parts = self.paths.value(u.array_r[None], self.model_precision)
        return float(self.parts.action[0])

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """``g = dA/du``; returns ``A(u)``. Not collective."""
        self.parts, gradient = self.paths.gradient(u.array_r[None], self.model_precision)
        g.array_w[...] = gradient[0]
        return float(self.parts.action[0])

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = A''(u) d``, exact; the matrices of the last point are kept. Not collective."""
        point = u.array_r
        if self._at is None or not np.array_equal(self._at[0], point):
            curvature = self.paths.curvature(point[None], self.model_precision)[2]
            self._at = point.copy(), curvature
        r.array_w[...] = self._at[1].apply(self.paths, d.array_r[None])[0]


class PathMetric(InDepth):
    """``P = 2 c_m R_m (M_t/T) + 2 c_f R_f K_t`` on ``x`` and the prior, or the identity, on ``w``.

    The first is the second variation of an observed path without dynamics, with the mean precision
    of the observations spread evenly over the depth: H1 in depth at any ``R_f``, and one banded
    factorisation serves all components. P1 between neighbouring nodes.
    """

    def __init__(self, paths: Paths, model_precision: float) -> None:
        defects = paths.defects
        self._nodes, self._ends = np.diff(defects.nodes), defects.steps
        length = defects.nodes[-1] - defects.nodes[0]
        precision = paths.observations.precision
        zeroth = 2.0 * paths.measurement_weight * precision.sum() / (precision.shape[1] * length)
        first = 2.0 * model_precision * float(np.mean(paths.model_weights / defects.steps))
        weight = paths.prior.strength
        super().__init__(
            paths,
            h1(self._nodes, zeroth, first),
            h1(self._ends, paths.prior.kappa**2 or 1.0, 1.0) if defects.varying else None,
            np.where(weight > 0.0, weight, 1.0),
        )

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``. Not collective."""
        r.array_w[...] = self.product(d.array_r[:, None])[:, 0]

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``. Not collective."""
        d.array_w[...] = self.solution(r.array_r[:, None])[:, 0]

    @property
    def root(self) -> Numbered:
        """``R`` with ``R R^T = P^{-1}``, for draws."""
        return Numbered(range(self.paths.size), self.inverse_root)

    def with_mass(self, a: float) -> InDepth:
        """``M + a P`` with ``M_t`` on ``x``; on ``w``, in units of its prior, ``M_t`` or 1."""
        x = _sum(h1(self._nodes, 1.0, 0.0), a, self.x)
        if self.w is None:
            return InDepth(self.paths, x, None, (1.0 + a) * self.scale)
        return InDepth(self.paths, x, _sum(h1(self._ends, 1.0, 0.0), a, self.w), self.scale)


def _sum(M: Tridiagonal, a: float, P: Tridiagonal) -> Tridiagonal:
    """``M + a P``."""
    return Tridiagonal(M.diagonal + a * P.diagonal, M.off + a * P.off)
