"""Newton's method with bounds for the actions of many paths at once, each with its own damping.

Every path solves ``(H + mu M) s = -dA/du`` on the unknowns that no bound holds and takes the step
``P(u + s) - u``, projected on the bounds, if the action falls as the quadratic model says. ``H`` is
the exact second variation where that is positive definite, else its Gauss-Newton part, which never is
indefinite; a cold start is made with the latter until the action falls slowly. ``mu`` grows where a
step is refused, and falls to zero where the model is good, which leaves Newton's quadratic
convergence. ``M`` is the diagonal of the Gauss-Newton matrix scaled to the curvature of the
measurements, so that ``mu`` does not depend on ``R_f``. Paths that are done leave the batch.

K. Levenberg (1944), D. W. Marquardt (1963), doi:10.1137/0111030; for the bounds D. P. Bertsekas,
SIAM J. Control Optim. 20 (1982) 221-246, doi:10.1137/0320018.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.action.paths.action import Curvature, PathParts, Paths
from fem_deepest.errors import Interrupted, NumericalFailure
from fem_deepest.solve.paths.bounds import Bounds
from fem_deepest.solve.paths.tridiagonal import Arrow, Layout

Array = NDArray[np.float64]

_FIRST = 0.1  # damping where there was none and some is needed
_MOST = 1e20  # damping beyond which a path is given up
_ENOUGH = 1e-4  # part of the promised decrease that a step must bring
_SLOW = 0.1  # relative decrease of the action below which a start is not cold any more
_ROUNDING = 1e-12
_LEAST = 1e-3  # damping below which there is none


@dataclass(frozen=True)
class PathResult:
    """Ends of many paths; arrays of shape (B,) but ``u``.

    Attributes:
        u: Unknowns, (B, size).
        parts: The action and its parts.
        converged: Whether the decrease that Newton's model still promises is below the tolerance, or
            the action zero to rounding.
        iterations: Accepted steps.
        evaluations: Points at which the action (with or without derivatives) was taken.
        hessians: Points at which the second derivatives were taken.
        factorisations: Linear systems.
    """

    u: Array
    parts: PathParts
    converged: NDArray[np.bool_]
    iterations: NDArray[np.int64]
    evaluations: NDArray[np.int64]
    hessians: NDArray[np.int64]
    factorisations: NDArray[np.int64]


class NewtonPaths:
    """Newton's method on one action.

    Args:
        paths: The action.
        bounds: Bounds of the unknowns; default: none.
        tolerance: A path is done when the decrease promised by Newton's model is at most this
            fraction of its action, or its action is zero to rounding (``paths.floor``).
        iterations: Largest number of steps of a path.

    Attributes:
        layout: Where the unknowns stand.
        unit: Curvature of one observation, the unit of the damping.

    Nothing here is collective.
    """

    def __init__(
        self,
        paths: Paths,
        bounds: Bounds | None = None,
        *,
        tolerance: float = 1e-10,
        iterations: int = 200,
    ) -> None:
        self.paths, self.bounds = paths, bounds or Bounds.of(paths)
        self.tolerance, self.iterations = tolerance, iterations
        self.layout = Layout(paths)
        precision = paths.observations.precision
        self.unit = 2.0 * paths.measurement_weight * float(precision[precision > 0.0].mean())

    def minimise(
        self,
        u: Array,
        R_f: ArrayLike,
        cold: bool = False,
        iterations: ArrayLike | None = None,
        asked: Callable[[], bool] = lambda: False,
    ) -> PathResult:
        """Minimise from ``u`` (B, size) at the precisions ``R_f``, a number or (B,).

        Args:
            u: Starts; those outside of the bounds are projected.
            R_f: Precision of the model.
            cold: Whether the starts are far away: damped Gauss-Newton steps come first.
            iterations: Largest number of steps, a number or (B,), if not that of the method.
            asked: Whether to leave; asked before every step.

        Raises:
            Interrupted: It was asked to leave.
            NumericalFailure: The action of a start is not finite.
        """
        many = u.shape[0]
        most = np.broadcast_to(self.iterations if iterations is None else iterations, (many,))
        u = self.bounds.project(u)
        R_f = np.broadcast_to(np.asarray(R_f, dtype=np.float64), (many,))
        mu = np.full(many, _FIRST if cold else 0.0)
        near = np.full(many, not cold)
        counts = np.zeros((4, many), dtype=np.int64)
        steps, evaluations, hessians, factorisations = counts
        converged = np.zeros(many, dtype=bool)
        parts = np.empty((4, many))
        live = np.arange(many)
        evaluations += 1
        while live.size:
            now, g, curvature = self.paths.curvature(u[live], R_f[live])
            parts[:, live] = _stack(now)
            if not np.isfinite(now.action).all():
                bad = live[~np.isfinite(now.action)][0]
                raise NumericalFailure(f"the action of path {bad} is not finite")
            hessians[live] += 1
            system = _Systems(self, u[live], g, curvature)
            going, exact = np.zeros(live.size, dtype=bool), near[live]
            trying = np.arange(live.size)
            while trying.size:
                if asked():
                    raise Interrupted("asked to leave between two steps of Newton's method")
                own, action = live[trying], now.action[trying]
                factorisations[own] += 1
                step, predicted, positive = system.step(trying, mu[own], exact[trying])
                trial, value = u[own] + step, np.full(own.size, np.inf)
                # A direction that the projection spoils is refused.
                some = np.flatnonzero(positive & (predicted >= 0.0))
                if some.size:
                    with np.errstate(over="ignore", invalid="ignore"):
                        there = self.paths.value(trial[some], R_f[own[some]])
                    value[some] = np.where(np.isfinite(there.action), there.action, np.inf)
                    evaluations[own[some]] += 1
                decrease = action - value
                last = positive & exact[trying] & (mu[own] == 0.0) & (predicted >= 0.0)
                last &= predicted <= self.tolerance * np.abs(action)
                last |= np.abs(action) <= self.paths.floor
                with np.errstate(divide="ignore", invalid="ignore"):
                    ratio = np.where(np.isfinite(value), decrease / predicted, -1.0)
                # The decrease that the last step brings is below the rounding of the action.
                good = np.where(last, decrease >= -_ROUNDING * np.abs(action), ratio > _ENOUGH)
                u[own[good]] = trial[good]
                steps[own[good]] += 1
                converged[own[last]] = True
                if some.size:
                    kept = good[some]
                    parts[:, own[some[kept]]] = _stack(there)[:, kept]
                near[own[good & (decrease < _SLOW * np.abs(action))]] = True
                # Where the second variation is indefinite its Gauss-Newton part is next.
                indefinite = ~positive & exact[trying]
                exact[trying[indefinite]] = False
                mu[own] = np.where(indefinite, mu[own], _damping(mu[own], ratio))
                going[trying[good & ~last]] = True
                trying = trying[~good & ~last & (mu[own] < _MOST)]
            live = live[going & (steps[live] < most[live])]
        return PathResult(u, PathParts(*parts), converged, *counts)

    def factorise(self, u: Array, R_f: ArrayLike) -> tuple[Arrow, NDArray[np.bool_]]:
        """Factors of ``A''`` at stationary points on the free unknowns, and which those are."""
        _, g, curvature = self.paths.curvature(u, R_f)
        system, many = _Systems(self, u, g, curvature), u.shape[0]
        return system.arrow(np.arange(many), np.zeros(many), np.ones(many, bool))[0], system.free


class _Systems:
    """Newton's systems of some paths at one point each, for any damping."""

    def __init__(self, newton: NewtonPaths, u: Array, g: Array, curvature: Curvature) -> None:
        self._newton, self._u = newton, u
        paths = newton.paths
        self.free = newton.bounds.free(u, g)
        self._g = np.where(self.free, g, 0.0)
        self._first, self._rest = curvature.gauss_newton, curvature.rest
        states = paths.shapes[0][1] * paths.defects.transcription.nodes.size
        diagonal = np.einsum("...ii->...i", self._first)
        mean = diagonal[..., :states].mean(axis=(-1, -2))
        self._scale = diagonal * (newton.unit / mean)[:, None, None]
        self._held = None
        if not self.free.all():
            free = paths.gather(self.free.astype(np.float64))
            both = free[..., None] * free[..., None, :]
            self._first, self._rest = self._first * both, self._rest * both
            self._held = 1.0 - free

    def arrow(
        self, some: NDArray[np.int64], mu: Array, exact: NDArray[np.bool_]
    ) -> tuple[Arrow, Array]:
        """Factors of ``H + mu M`` of some paths, the identity on what a bound holds; and ``H``."""
        matrix = self._first[some]
        matrix[exact] += self._rest[some[exact]]
        damped, diagonal = matrix, np.einsum("...ii->...i", matrix)
        if self._held is not None or mu.any():
            damped = matrix.copy()
            diagonal = np.einsum("...ii->...i", damped)
            diagonal += mu[:, None, None] * self._scale[some]
        if self._held is not None:
            diagonal += self._held[some]
        return Arrow(self._newton.layout, damped), matrix

    def step(
        self, some: NDArray[np.int64], mu: Array, exact: NDArray[np.bool_]
    ) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Projected steps, the decrease the model promises, and whether the matrix is positive."""
        arrow, matrix = self.arrow(some, mu, exact)
        u = self._u[some]
        step = self._newton.bounds.project(u - arrow.solve(self._g[some])) - u
        local = self._newton.paths.gather(step)
        curved = np.sum(local * (matrix @ local[..., None])[..., 0], axis=(-1, -2))
        predicted = -np.sum(self._g[some] * step, axis=-1) - 0.5 * curved
        return step, predicted, arrow.positive


def _damping(mu: Array, ratio: Array) -> Array:
    """Next damping from the ratio of the decrease to what the model promised."""
    more = np.maximum(_FIRST, 8.0 * mu)
    less = np.where(mu > _LEAST, mu / 8.0, 0.0)
    # A step that is lost in the rounding of the point has the ratio 0/0 and must not be tried again.
    return np.where(ratio > 0.6, less, np.where(ratio >= 0.25, mu, more))


def _stack(parts: PathParts) -> Array:
    return np.stack([parts.action, parts.measurement, parts.model, parts.prior])
