"""A strongly regularised network: its minimiser, and runs of stochastic gradient descent towards it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, solve_triangular

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.action.network.minibatch_replicas import MinibatchReplicas
from fem_deepest.action.network.prior import Prior
from fem_deepest.configuration.train import Config
from fem_deepest.errors import NotConverged
from fem_deepest.runs.problem import Problem
from fem_deepest.runs.start import random_start, start_readout
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.newton import polish
from fem_deepest.solve.sgd import Gains, advance
from fem_deepest.spaces import Parameters, ProcessGrid, Resolution, Shapes
from fem_deepest.studies.samples import draw

Array = NDArray[np.float64]

_STATIONARY = 1e-10  # dual norm of the gradient at the minimiser, relative to the start


@dataclass(frozen=True, eq=False)
class SideBySide:
    """The metric ``P`` for several weights in one vector, one after the other.

    Attributes:
        prior: ``P``.
        shapes: Shapes of the parameters.
        shape: Number of weights, and their size.
    """

    prior: Prior
    shapes: Shapes
    shape: tuple[int, int]

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``."""
        self.prior.on_parameters(self._view(d.array_r), self._view(r.array_w))

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``."""
        self.prior.solve_parameters(self._view(r.array_r), self._view(d.array_w))

    def _view(self, array: Array) -> Parameters:
        return Parameters.view(array.reshape(self.shape), self.shapes)


@dataclass(frozen=True, eq=False)
class Towards:
    """An action of this rank alone, where its search starts, and where it ends.

    Attributes:
        action: ``A``, of strength ``lambda``.
        start: ``u_0``, the start of a training.
        minimiser: ``u*``, by Newton's method.

    Errors are measured in ``|e|^2 = <e, P e> / lambda``, the metric that the steps are taken in. Nothing
    here is collective.
    """

    action: NetworkAction
    start: PETSc.Vec
    minimiser: PETSc.Vec

    def errors(self, gains: Gains, batch: int, steps: int, seed: int, runs: range) -> Array:
        """``|u_n - u*|`` after so many steps, (S,), of independent runs side by side.

        Args:
            gains: Lengths of the steps, in units of ``lambda P^{-1} grad A``.
            batch: ``B``.
            steps: ``n``.
            seed: Seed of the batches.
            runs: Numbers of the runs.
        """
        prior, shapes = self.action.metric, self.action.network.shapes
        replicas = MinibatchReplicas(self.action, batch, seed, runs)
        shape = (len(runs), replicas.size)

        def estimate(u: PETSc.Vec, g: PETSc.Vec, step: int) -> float:
            parts, gradient = replicas.gradient(u.array_r.reshape(shape), step)
            g.array_w.reshape(shape)[...] = gradient
            return float(parts.action.sum())

        u = PETSc.Vec().createMPI(len(runs) * replicas.size, comm=MPI.COMM_SELF)
        u.array_w.reshape(shape)[...] = self.start.array_r
        scaled, metric = (
            Gains(prior.strength * gains.eta, gains.nu),
            SideBySide(prior, shapes, shape),
        )
        advance(estimate, u, scaled, range(1, steps + 1), metric)
        u.array_w.reshape(shape)[...] -= self.minimiser.array_r
        r = u.duplicate()
        metric.apply(u, r)
        e, dual = (v.array_r.reshape(shape) for v in (u, r))
        found = np.sqrt(np.einsum("ri,ri->r", e, dual) / prior.strength)
        u.destroy()
        r.destroy()
        return found

    def linearised(self, gains: Gains, batch: int, steps: int) -> float:
        """``(E |u_n - u*|^2)^{1/2}`` of the iteration with ``A`` replaced by its second order at ``u*``.

        In the basis of eigenvectors of ``A''`` that is orthonormal for the metric, with the eigenvalues
        ``h_i`` and the variances ``s_i`` of a batch's gradient at ``u*``, the second moments are

            E e_ni^2 = (1 - g_n h_i)^2 E e_{n-1,i}^2 + g_n^2 s_i.

        What is left out is small against this as ``n`` grows.
        """
        action, size = self.action, self.start.getSize()
        scaled = action.metric.strength
        d, r = action.create(), action.create()
        hessian, metric, gradients = (np.empty((size, size)) for _ in range(3))
        for i in range(size):
            d.set(0.0)
            d.array_w[i] = 1.0
            action.hessian(self.minimiser, d, r)
            hessian[i] = r.array_r
            action.metric.apply(d, r)
            metric[i] = r.array_r / scaled
        single = Minibatches(action, 1, 0)
        gradients = np.empty((action.samples, size))
        for k in range(action.samples):
            single.of(np.array([k])).gradient(self.minimiser, r)
            gradients[k] = r.array_r
        first = self.start.array_r - self.minimiser.array_r
        d.destroy()
        r.destroy()
        factor = cholesky(metric, lower=True)
        inner = solve_triangular(factor, hessian, lower=True)
        values, vectors = eigh(solve_triangular(factor, inner.T, lower=True))
        noise = solve_triangular(factor, gradients.T, lower=True).T @ vectors
        left = (action.samples - batch) / (batch * (action.samples - 1))
        variance = left * noise.var(axis=0)
        second = (vectors.T @ (factor.T @ first)) ** 2  # at the start nothing is random
        for n in range(1, steps + 1):
            second = (1.0 - gains(n) * values) ** 2 * second + gains(n) ** 2 * variance
        return float(np.sqrt(second.sum()))


@lru_cache(maxsize=1)
def towards(text: str, samples: int, noise: float) -> Towards:
    """The problem of a configuration. Not collective: every rank has its own.

    Args:
        text: The configuration, as JSON.
        samples: ``K``.
        noise: Deviation of the noise in the targets, see :func:`fem_deepest.studies.samples.draw`.

    Raises:
        NotConverged: The minimiser was not found.
    """
    config = Config.model_validate(json.loads(text))
    data = draw(samples, noise, [config.seed])
    problem = Problem.create(config, data, None)
    action = problem.action(Resolution(config.network.cells), ProcessGrid.create(MPI.COMM_SELF))
    start, g = random_start(action, config), action.create()
    action.gradient(start, g)
    tolerance = _STATIONARY * dual_norm(action.metric, g)
    g.destroy()
    start_readout(action, start, config)
    u, memory = start.copy(), LimitedMemory(action.metric, 20)
    minimise(action, u, memory, tolerance=1e4 * tolerance, iterations=1000)
    memory.clear()
    if not polish(action, u, tolerance=tolerance, iterations=50).converged:
        raise NotConverged(
            "the minimiser of the network was not found; take a stronger prior, action.lambda"
        )
    return Towards(action, start, u)
