"""The weak-constraint action of a path in the state form, for many paths at once.

    A(x, w) = c_m sum_jl R_jl (H_j x_l - y_jl)^2 + R_f sum_i c_i sum_r omega_r |d_ir(x, w)|^2
              + 1/2 <w - w_0, P (w - w_0)>

The unknown ``u = (x, w)`` is the path at its nodes and the parameters, constant or P1 in depth. All
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
from fem_deepest.dynamics.defects import Defects

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PathParts:
    """The action of each path and its parts, arrays of shape (B,).

    Attributes:
        action: ``A = measurement + model + prior``.
        measurement: ``c_m sum R (H x - y)^2``.
        model: ``R_f sum_i c_i sum_r omega_r |d_ir|^2``.
        prior: ``1/2 <w - w_0, P (w - w_0)>``.
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

    Attributes:
        size: Number of unknowns of a path.
        shapes: Shapes of ``x`` and ``w``.
        measurement_weight: ``c_m``.
        model_weights: ``c_i``, (n,).
        prior: Prior of the parameters.

    Raises:
        InputError: A prior is negative, or the observations do not fit the path.

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
    ) -> None:
        self.defects, self.observations = defects, observations
        self.observed = observations.on(defects)
        states, parameters = defects.dynamics.states, len(defects.dynamics.parameters)
        ends = defects.cells + 1
        w_shape = (ends, parameters) if defects.varying else (parameters,)
        self.shapes: tuple[tuple[int, ...], tuple[int, ...]] = (
            (defects.nodes.size, states),
            w_shape,
        )
        self.size = int(np.prod(self.shapes[0]) + np.prod(w_shape))
        self.measurement_weight, self.model_weights = normalisation(observations, defects)
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

    def join(self, x: Array, w: Array) -> Array:
        """``u`` (..., size) from paths and parameters."""
        lead = x.shape[:-2]
        return np.concatenate([x.reshape(*lead, -1), w.reshape(*lead, -1)], axis=-1)

    def gather(self, u: Array) -> Array:
        """Local unknowns (..., n, L) of ``u`` (..., size), a copy."""
        x, w = self.split(u)
        local = self.defects.gather(x)
        local = local.reshape(*local.shape[:-2], -1)
        return np.concatenate([local, self.prior.gather(w)], axis=-1)

    def scatter(self, local: Array) -> Array:
        """Sum over the cells, (..., size), of ``local`` (..., n, L): the transpose of gathering."""
        out = np.zeros((*local.shape[:-2], self.size))
        x, w = self.split(out)
        n, (_, states) = self.defects.cells, self.shapes[0]
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
        return out

    # The action ---------------------------------------------------------------------------------

    def value(self, u: Array, R_f: ArrayLike) -> PathParts:
        """The action of ``u`` (B, size) at the precisions ``R_f``, a number or (B,)."""
        x, w = self.split(u)
        return self._parts(self.observed.residual(x), self.defects.value(x, w), w, R_f)

    def gradient(self, u: Array, R_f: ArrayLike) -> tuple[PathParts, Array]:
        """The action and its gradient (B, size)."""
        x, w = self.split(u)
        residual, defects = self.observed.residual(x), self.defects.value(x, w)
        local = self.defects.adjoint(x, w, self._costate(defects, R_f))
        g = self._finish(local, residual, w)
        return self._parts(residual, defects, w, R_f), g

    def curvature(self, u: Array, R_f: ArrayLike) -> tuple[PathParts, Array, Curvature]:
        """The action, its gradient (B, size), and its second derivatives by cell."""
        x, w = self.split(u)
        residual = self.observed.residual(x)
        defects, jacobian = self.defects.linearise(x, w)
        p = self._costate(defects, R_f)
        rows = jacobian.reshape(*jacobian.shape[:-3], -1, jacobian.shape[-1])
        local = (p.reshape(*p.shape[:-2], 1, -1) @ rows)[..., 0, :]
        weighted = (jacobian * self._weights(R_f)[..., None, None]).reshape(rows.shape)
        matrix = np.swapaxes(rows, -1, -2) @ weighted
        self._add_quadratic(matrix)
        parts = self._parts(residual, defects, w, R_f)
        g = self._finish(local, residual, w)
        return parts, g, Curvature(matrix, self.defects.curvature(x, w, p))

    def by_precision(self, u: Array, R_f: ArrayLike) -> Array:
        """``d(dA/du)/d log R_f``, (B, size): what moves the minimiser along the annealing."""
        x, w = self.split(u)
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

    def _parts(self, residual: Array, defects: Array, w: Array, R_f: ArrayLike) -> PathParts:
        measurement = self.measurement_weight * self.observed.value(residual)
        weights = 0.5 * self._weights(R_f)
        model = np.sum(weights * np.sum(defects**2, axis=-1), axis=(-1, -2))
        prior = self.prior.value(w)
        return PathParts(measurement + model + prior, measurement, model, prior)

    def _finish(self, local: Array, residual: Array, w: Array) -> Array:
        """Gradient from the local part of the model term, measurement and prior added."""
        riesz = self.prior.gradient(w)
        if riesz.shape[-1]:
            local[..., -riesz.shape[-1] :] += riesz
        g = self.scatter(local)
        x, _ = self.split(g)
        x += 2.0 * self.measurement_weight * self.observed.gradient(residual, x.shape[-1])
        return g

    def _add_quadratic(self, matrix: Array) -> None:
        """Add measurement and prior, whose second derivatives are constants, by cell."""
        count, states = self.defects.transcription.nodes.size, self.shapes[0][1]
        cut, i = count * states, np.arange(states)
        observed = 2.0 * self.measurement_weight * self.observed.local
        for a in range(count):
            for b in range(count):
                matrix[..., a * states + i, b * states + i] += observed[:, a, b]
        self.prior.add(matrix[..., cut:, cut:])
