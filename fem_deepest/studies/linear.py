r"""The weak-constraint problem of a linear system, with the closed form of its Euler-Lagrange equation.

The dynamics ``F(x) = -lambda x`` is observed continuously, ``y(t) = cos(omega t)``:

    A(x) = int_0^T [ R_f/2 (x' + lambda x)^2 + R_m/2 (x - y)^2 ] dt.

With ``p = dL/dx' = R_f (x' + lambda x)`` the Euler-Lagrange equation ``p' = dL/dx`` reads
``p' = lambda p + R_m (x - y)``; ``p' = R_f (x'' + lambda x')`` on its left cancels the terms in
``x'``, which leaves

    R_f (x'' - lambda^2 x) = R_m (x - y),     p(0) = p(T) = 0  where the ends are free.

Insert ``x = c cos(omega t)``: ``-R_f (omega^2 + lambda^2) c = R_m (c - 1)``, so a solution is

    x_p = c cos(omega t),     c = R_m / ( R_m + R_f (omega^2 + lambda^2) ),

and those of the homogeneous equation are ``exp(-mu t)`` and ``exp(-mu (T - t))`` with
``mu^2 = lambda^2 + R_m / R_f``. Their two coefficients follow from the end conditions: of each end
either ``x' + lambda x = 0`` (natural), or the value of ``x`` (clamped).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.transcription import Transcription

Array = NDArray[np.float64]

_RULE = 8  # Gauss points of a cell where errors are integrated: exact to degree 15


@dataclass(frozen=True)
class LinearProblem:
    """The problem of this module; nothing here is collective.

    Attributes:
        rate: ``lambda``.
        R_f: Precision of the model.
        R_m: Precision of the measurements.
        depth: ``T``.
        frequency: ``omega``.
        left: ``x(0)``, or none where that end is free.
        right: ``x(T)``, or none likewise.
    """

    rate: float = 1.0
    R_f: float = 1.0
    R_m: float = 4.0
    depth: float = 2.0
    frequency: float = 3.0
    left: float | None = None
    right: float | None = None

    def target(self, t: Array) -> Array:
        """``y``."""
        return np.asarray(np.cos(self.frequency * t))

    def exact(self, t: Array) -> Array:
        """``x``, the minimiser."""
        c, mu, a, b = self._coefficients
        decay, growth = np.exp(-mu * t), np.exp(-mu * (self.depth - t))
        return np.asarray(c * np.cos(self.frequency * t) + a * decay + b * growth)

    def exact_derivative(self, t: Array) -> Array:
        """``x'``."""
        c, mu, a, b = self._coefficients
        decay, growth = np.exp(-mu * t), np.exp(-mu * (self.depth - t))
        wave = -c * self.frequency * np.sin(self.frequency * t)
        return np.asarray(wave - mu * a * decay + mu * b * growth)

    @cached_property
    def _coefficients(self) -> tuple[float, float, float, float]:
        """``c``, ``mu`` and the coefficients of the two exponentials."""
        omega, rate = self.frequency, self.rate
        c = self.R_m / (self.R_m + self.R_f * (omega**2 + rate**2))
        mu = float(np.sqrt(rate**2 + self.R_m / self.R_f))
        matrix, rhs = np.empty((2, 2)), np.empty(2)
        for row, (t, value) in enumerate(((0.0, self.left), (self.depth, self.right))):
            two = np.exp([-mu * t, -mu * (self.depth - t)])
            wave, slope = c * np.cos(omega * t), -c * omega * np.sin(omega * t)
            if value is None:
                matrix[row], rhs[row] = two * [rate - mu, rate + mu], -(slope + rate * wave)
            else:
                matrix[row], rhs[row] = two, value - wave
        a, b = np.linalg.solve(matrix, rhs)
        return c, mu, float(a), float(b)

    def transcribed(self, transcription: Transcription, cells: int) -> Array:
        """Minimiser of the transcribed action on equal cells, at all nodes in depth order.

        Model and measurement term are summed with the points and weights of the transcription. The
        action is quadratic: the normal equations of one linearisation at zero are the solution.
        """
        ends: Array = np.linspace(0.0, self.depth, cells + 1, dtype=np.float64)
        defects = Defects(_Decay(self.rate), transcription, ends)
        zero = np.zeros((defects.nodes.size, 1))
        _, jacobian = defects.linearise(zero, np.zeros(0))
        d, basis = jacobian[:, :, 0, :], transcription.basis
        weights = transcription.weights * defects.steps[:, None]
        local = self.R_f * np.einsum("nr,nra,nrb->nab", weights, d, d)
        local += self.R_m * np.einsum("nq,qa,qb->nab", weights, basis, basis)
        load = self.R_m * np.einsum("nq,qa,nq->na", weights, basis, self.target(defects.points))
        nodes = basis.shape[1]
        index = (nodes - 1) * np.arange(cells)[:, None] + np.arange(nodes)
        rows, columns = np.broadcast_arrays(index[:, :, None], index[:, None, :])
        hessian = sparse.csc_array((local.ravel(), (rows.ravel(), columns.ravel())))
        rhs = np.bincount(index.ravel(), load.ravel())
        x = np.zeros(rhs.size)
        free = np.ones(rhs.size, dtype=bool)
        for end, value in ((0, self.left), (-1, self.right)):
            if value is not None:
                x[end], free[end] = value, False
        rhs -= hessian @ x
        x[free] = spsolve(hessian[free][:, free], rhs[free])
        return x

    def errors(self, nodes: Array, values: Array, degree: int) -> dict[str, float]:
        """Errors of a continuous piecewise polynomial.

        Args:
            nodes: Its nodes in depth order, (n degree + 1,).
            values: Values there.
            degree: Degree on a cell.

        Returns:
            ``L2``, ``H1`` (seminorm) and ``ends``, the largest error at the ends of the cells.
        """
        span = degree * np.arange((nodes.size - 1) // degree)[:, None] + np.arange(degree + 1)
        t, x = nodes[span], values[span]
        s, weights = np.polynomial.legendre.leggauss(_RULE)
        left, steps = t[:, :1], t[:, -1:] - t[:, :1]
        # Powers of the local coordinate: at most cubics here, so the monomials are harmless.
        powers = np.arange(degree + 1)
        local = ((t - left) / steps)[:, :, None] ** powers
        c = np.linalg.solve(local, x[:, :, None])[:, :, 0]
        tau = 0.5 * (s + 1.0)
        at = c @ (tau[:, None] ** powers).T
        slope = c @ (powers * tau[:, None] ** np.maximum(powers - 1, 0)).T / steps
        points = left + steps * tau
        measure = 0.5 * steps * weights
        return {
            "L2": float(np.sqrt(np.sum(measure * (at - self.exact(points)) ** 2))),
            "H1": float(np.sqrt(np.sum(measure * (slope - self.exact_derivative(points)) ** 2))),
            "ends": float(np.abs(values - self.exact(nodes))[::degree].max()),
        }


@dataclass(frozen=True)
class _Decay:
    """``F(x) = -lambda x``; see :class:`fem_deepest.dynamics.dynamics.Dynamics`."""

    rate: float
    name = "decay"
    states = 1
    parameters = ()

    def value(self, t: Array, x: Array, w: Array) -> Array:
        return -self.rate * x

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        return np.full((*x.shape, 1), -self.rate), np.zeros((*x.shape, 0))

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        shape = x.shape[:-1]
        return np.zeros((*shape, 1, 1)), np.zeros((*shape, 1, 0)), np.zeros((*shape, 0, 0))
