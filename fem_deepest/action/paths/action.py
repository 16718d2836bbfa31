"""The weak-constraint action of a path in the state form, for many paths at once.

    A(x, w) = c_m sum_jl R_jl (H_j x_l - y_jl)^2 + R_f sum_i c_i sum_r omega_r |d_ir(x, w)|^2
              + 1/2 <w - w_0, P (w - w_0)> + Phi_0(x(0)) + Phi_T(x(T))

The unknown ``u = (x, w)`` is the path at its nodes (a periodic one without the last, which is the
first) and the parameters, constant or P1 in depth. All
derivatives are sums over the cells of dense arrays in the local unknowns of
:class:`fem_deepest.dynamics.defects.Defects`, so the second variation is block tridiagonal in depth
with a border for constant parameters; :mod:`fem_deepest.solve.paths.tridiagonal` factorises it.

J. C. Quinn, H. D. I. Abarbanel, Q. J. R. Meteorol. Soc. 136 (2010)
1855-1867, doi:10.1002/qj.690.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.action.paths.normalisation import Normalisation, integral
from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.paths.prior import WeightPrior
from fem_deepest.action.weak.ends import EndConditions, Gaussian
from fem_deepest.dynamics.defects import Defects

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PathParts:
    """The action of each path and its parts, arrays of shape (B,).

    Attributes:
        action: ``A = measurement + model + prior``.
        measurement: ``c_m sum R (H x - y)^2``.
        model: ``R_f sum_i c_i sum_r omega_r |d_ir|^2``.
        prior: ``1/2 <w - w_0, P (w - w_0)>`` and the terms of the ends.
    """

    action: Array
    measurement: Array
    model: Array
    prior: Array


@dataclass(frozen=True)
class Curvature:
    """Second derivatives by cell, in the local unknowns; their sums over the cells.

    Attributes:
        gauss_newton: (B, n, L, L), symmetric, never indefinite: the products of first derivatives.
        rest: (B, n, L, L): what is left of ``A''``, the second derivatives of ``F`` times the
            defects.
    """

    gauss_newton: Array
    rest: Array

    def apply(self, paths: Paths, d: Array) -> Array:
        """``A'' d``, (B, size)."""
        local = paths.gather(d)[..., None]
        return paths.scatter(((self.gauss_newton + self.rest) @ local)[..., 0])


class Paths:
    """Action of many paths with their own precisions ``R_f``.

    Args:
        defects: Dynamics, transcription and cells.
        observations: What is observed.
        normalisation: Constants ``c_m`` and ``c_i``.
        prior: ``lambda_p`` of each parameter, a number or (P,); 0 is no prior.
        reference: ``w_0``, a number or (P,).
        kappa: Inverse correlation length of varying parameters, ``P = lambda (kappa^2 M_t + K_t)``;
            of a constant one the prior is ``lambda/2 (w - w_0)^2``.
        conditions: What is known of the ends. Clamped values are held by
            :class:`fem_deepest.solve.paths.bounds.Bounds`: here they are unknowns like others.

    Attributes:
        size: Number of unknowns of a path.
        shapes: Shapes of ``x`` and ``w``.
        measurement_weight: ``c_m``.
        model_weights: ``c_i``, (n,).
        prior: Prior of the parameters.
        floor: ``eps c_m sum R y^2``: a smaller action is zero to rounding; the path agrees with data
            and model to half the digits that they have.
        fixed: Clamped values at the unknown nodes, (m, D), NaN where a node is free.

    Raises:
        InputError: A prior is negative, or observations or end conditions do not fit the path.

    Nothing here is collective.
    """

    def __init__(
        self,
        defects: Defects,
        observations: Observations,
        *,
        normalisation: Normalisation = integral,
        prior: ArrayLike = 0.0,
        reference: ArrayLike = 0.0,
        kappa: float = 1.0,
        conditions: EndConditions | None = None,
    ) -> None:
        self.defects, self.observations = defects, observations
        self.conditions = conditions or EndConditions()
        self.conditions.check(defects.dynamics.states)
        self.periodic = self.conditions.periodic
        self.observed = observations.on(defects)
        states, parameters = defects.dynamics.states, len(defects.dynamics.parameters)
        ends = defects.cells + 1
        w_shape = (ends, parameters) if defects.varying else (parameters,)
        nodes = defects.nodes.size - self.periodic
        self.shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((nodes, states), w_shape)
        self.fixed = self.conditions.fixed(nodes, states)
        both = ((0, self.conditions.start), (-1, self.conditions.end))
        self._ends = [(node, end) for node, end in both if isinstance(end, Gaussian)]
        self.size = int(np.prod(self.shapes[0]) + np.prod(w_shape))
        self.measurement_weight, self.model_weights = normalisation(observations, defects)
        squares = float(np.sum(observations.precision * observations.values**2))
        self.floor = float(np.finfo(np.float64).eps) * self.measurement_weight * squares
        self._omega = self.model_weights[:, None] * defects.transcription.weights
        self.prior = WeightPrior(prior, reference, kappa).on(defects)

    # Layout -------------------------------------------------------------------------------------

    def split(self, u: Array) -> tuple[Array, Array]:
        """Views ``x`` (..., m, D) and ``w`` (..., P) or (..., n + 1, P) of ``u`` (..., size)."""
        cut = int(np.prod(self.shapes[0]))
        lead = u.shape[:-1]
        return (
            u[..., :cut].reshape(*lead, *self.shapes[0]),
            u[..., cut:].reshape(*lead, *self.shapes[1]),
        )

    def path(self, u: Array) -> tuple[Array, Array]:
        """The whole path ``x`` (..., m, D), closed if it is periodic, and ``w``."""
        x, w = self.split(u)
        return (np.concatenate([x, x[..., :1, :]], axis=-2) if self.periodic else x), w

    def join(self, x: Array, w: Array) -> Array:
        """``u`` (..., size) from the unknown nodes and parameters."""
        lead = x.shape[:-2]
        return np.concatenate([x.reshape(*lead, -1), w.reshape(*lead, -1)], axis=-1)

    def gather(self, u: Array) -> Array:
        """Local unknowns (..., n, L) of ``u`` (..., size), a copy."""
        x, w = self.path(u)
        local = self.defects.gather(x)
        local = local.reshape(*local.shape[:-2], -1)
        return np.concatenate([local, self.prior.gather(w)], axis=-1)

    def scatter(self, local: Array, nodes: Array | None = None) -> Array:
        """Sum over the cells, (..., size), of ``local`` (..., n, L): the transpose of gathering.

        To the path ``nodes`` (..., m, D) is added, which it may overwrite.
        """
        lead, (_, states) = local.shape[:-2], self.shapes[0]
        n, w = self.defects.cells, np.zeros((*lead, *self.shapes[1]))
        x = np.zeros((*lead, self.defects.nodes.size, states)) if nodes is None else nodes
        count = self.defects.transcription.nodes.size
        cut, span = count * states, count - 1
        part = local[..., :cut].reshape(*local.shape[:-1], count, states)
        for a in range(count):
            x[..., a : a + span * (n - 1) + 1 : span, :] += part[..., a, :]
        rest = local[..., cut:]
        if self.defects.varying:
            half = rest.shape[-1] // 2
            w[..., :-1, :] += rest[..., :half]
            w[..., 1:, :] += rest[..., half:]
        else:
            w += rest.sum(axis=-2)
        if self.periodic:
            x[..., 0, :] += x[..., -1, :]
            x = x[..., :-1, :]
        return self.join(x, w)

    # The action ---------------------------------------------------------------------------------

    def value(self, u: Array, R_f: ArrayLike) -> PathParts:
        """The action of ``u`` (B, size) at the precisions ``R_f``, a number or (B,)."""
        x, w = self.path(u)
        return self._parts(x, self.observed.residual(x), self.defects.value(x, w), w, R_f)

    def gradient(self, u: Array, R_f: ArrayLike) -> tuple[PathParts, Array]:
        """The action and its gradient (B, size)."""
        x, w = self.path(u)
        residual, defects = self.observed.residual(x), self.defects.value(x, w)
        local = self.defects.adjoint(x, w, self._costate(defects, R_f))
        g = self._finish(local, x, residual, w)
        return self._parts(x, residual, defects, w, R_f), g

    def curvature(self, u: Array, R_f: ArrayLike) -> tuple[PathParts, Array, Curvature]:
        """The action, its gradient (B, size), and its second derivatives by cell."""
        x, w = self.path(u)
        residual = self.observed.residual(x)
        defects, jacobian = self.defects.linearise(x, w)
        p = self._costate(defects, R_f)
        rows = jacobian.reshape(*jacobian.shape[:-3], -1, jacobian.shape[-1])
        local = (p.reshape(*p.shape[:-2], 1, -1) @ rows)[..., 0, :]
        weighted = (jacobian * self._weights(R_f)[..., None, None]).reshape(rows.shape)
        matrix = np.swapaxes(rows, -1, -2) @ weighted
        self._add_quadratic(matrix)
        parts = self._parts(x, residual, defects, w, R_f)
        g = self._finish(local, x, residual, w)
        return parts, g, Curvature(matrix, self.defects.curvature(x, w, p))

    def by_precision(self, u: Array, R_f: ArrayLike) -> Array:
        """``d(dA/du)/d log R_f``, (B, size): what moves the minimiser along the annealing."""
        x, w = self.path(u)
        return self.scatter(
            self.defects.adjoint(x, w, self._costate(self.defects.value(x, w), R_f))
        )

    # Terms --------------------------------------------------------------------------------------

    def _weights(self, R_f: ArrayLike) -> Array:
        """``2 R_f c_i omega_r``, (B or 1, n, R)."""
        return 2.0 * np.reshape(np.asarray(R_f, dtype=np.float64), (-1, 1, 1)) * self._omega

    def _costate(self, defects: Array, R_f: ArrayLike) -> Array:
        """Derivative of the model term in the defects, (B, n, R, D)."""
        return self._weights(R_f)[..., None] * defects

    def _parts(
        self, x: Array, residual: Array, defects: Array, w: Array, R_f: ArrayLike
    ) -> PathParts:
        measurement = self.measurement_weight * self.observed.value(residual)
        weights = 0.5 * self._weights(R_f)
        model = np.sum(weights * np.sum(defects**2, axis=-1), axis=(-1, -2))
        prior = self.prior.value(w)
        for node, end in self._ends:
            e = x[..., node, :] - end.z
            prior = prior + 0.5 * np.sum(e * (e @ end.precision), axis=-1)
        return PathParts(measurement + model + prior, measurement, model, prior)

    def _finish(self, local: Array, x: Array, residual: Array, w: Array) -> Array:
        """Gradient from the local part of the model term, the other terms added."""
        riesz = self.prior.gradient(w)
        if riesz.shape[-1]:
            local[..., -riesz.shape[-1] :] += riesz
        force = 2.0 * self.measurement_weight * self.observed.gradient(residual, x.shape[-1])
        for node, end in self._ends:
            force[..., node, :] += (x[..., node, :] - end.z) @ end.precision
        return self.scatter(local, force)

    def _add_quadratic(self, matrix: Array) -> None:
        """Add the terms whose second derivatives are constants, by cell."""
        count, states = self.defects.transcription.nodes.size, self.shapes[0][1]
        cut, i = count * states, np.arange(states)
        observed = 2.0 * self.measurement_weight * self.observed.local
        for a in range(count):
            for b in range(count):
                matrix[..., a * states + i, b * states + i] += observed[:, a, b]
        self.prior.add(matrix[..., cut:, cut:])
        for node, end in self._ends:
            where = slice(0, states) if node == 0 else slice(cut - states, cut)
            matrix[..., node, where, where] += end.precision
