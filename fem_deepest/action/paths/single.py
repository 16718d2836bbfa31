"""The action of one path at one precision ``R_f``, in the protocol that all solvers are written for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve_banded, cholesky_banded, lapack

from fem_deepest._petsc import PETSc
from fem_deepest.action.paths.action import Curvature, PathParts, Paths
from fem_deepest.action.root import Numbered
from fem_deepest.errors import InputError

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


class PathMetric:
    """``P = 2 c_m R_m (M_t/T) + 2 c_f R_f K_t`` on ``x`` and the prior, or the identity, on ``w``.

    The first is the second variation of an observed path without dynamics, with the mean precision
    of the observations spread evenly over the depth: H1 in depth at any ``R_f``, and one banded
    factorisation serves all components. P1 between neighbouring nodes.
    """

    def __init__(self, paths: Paths, model_precision: float) -> None:
        self._paths = paths
        defects = paths.defects
        h = np.diff(defects.nodes)
        length = defects.nodes[-1] - defects.nodes[0]
        precision = paths.observations.precision
        zeroth = 2.0 * paths.measurement_weight * precision.sum() / (precision.shape[1] * length)
        first = 2.0 * model_precision * float(np.mean(paths.model_weights / defects.steps))
        self._x = _h1(h, zeroth, first)
        self._w = None
        weight = paths.prior.strength
        self._scale = np.where(weight > 0.0, weight, 1.0)
        if defects.varying:
            self._w = _h1(defects.steps, paths.prior.kappa**2 or 1.0, 1.0)
        self._factor = cholesky_banded(self._x)
        self._varying = None if self._w is None else cholesky_banded(self._w)

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``. Not collective."""
        r.array_w[...] = self.product(d.array_r)

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``. Not collective."""
        d.array_w[...] = self.solution(r.array_r)

    def product(self, d: Array) -> Array:
        """``P d`` of many vectors, (..., size)."""
        x, w = self._paths.split(d)
        w = self._scale * (w if self._w is None else _times(self._w, w))
        return self._paths.join(_times(self._x, x), w)

    def solution(self, r: Array) -> Array:
        """``P^{-1} r`` of many vectors, (..., size)."""
        x, w = self._paths.split(r)
        upper, varying = self._factor, self._varying
        if varying is not None:
            w = _in_depth(lambda b: cho_solve_banded((varying, False), b), w)
        return self._paths.join(
            _in_depth(lambda b: cho_solve_banded((upper, False), b), x), w / self._scale
        )

    @property
    def root(self) -> Numbered:
        """``R`` with ``R R^T = P^{-1}``, for draws."""
        return Numbered(range(self._paths.size), lambda z: self.inverse_root(z.T).T)

    def inverse_root(self, z: Array) -> Array:
        """``R z`` of many vectors of standard normals, (..., size): ``R R^T = P^{-1}``."""
        x, w = self._paths.split(z)
        upper, varying = self._factor, self._varying
        if varying is not None:
            w = _in_depth(lambda b: _upper_solution(varying, b), w)
        return self._paths.join(
            _in_depth(lambda b: _upper_solution(upper, b), x), w / np.sqrt(self._scale)
        )


def _in_depth(operation: Callable[[Array], Array], x: Array) -> Array:
    """An operation on columns (m, ..) that stand in the last but one axis of ``x`` (.., m, D)."""
    columns = np.moveaxis(x, -2, 0)
    return np.moveaxis(operation(columns.reshape(len(columns), -1)).reshape(columns.shape), 0, -2)


def _upper_solution(upper: Array, b: Array) -> Array:
    """``U^{-1} b`` of an upper banded factor ``U^T U``."""
    return np.asarray(lapack.dtbtrs(upper, b, uplo="U")[0])


def _h1(h: Array, zeroth: float, first: float) -> Array:
    """``zeroth M_t + first K_t`` of P1 functions, upper banded (2, m)."""
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
