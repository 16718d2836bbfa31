"""The weight system in the data space: exact, with a dense matrix of the size of the data.

With ``G = J P^{-1} J^T``, (K C, K C), the dual (representer) equations are

    (tau 1 + G) eta = J P^{-1} r,    tau d = P^{-1} (r - J^T eta)

(Bennett, Inverse Modeling of the Ocean and Atmosphere, 2002, doi:10.1017/CBO9780511535895). ``G`` does
not depend on the damping ``tau``: another trial step costs one Cholesky factorisation.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from fem_deepest._petsc import PETSc
from fem_deepest.solve.gauss_newton import WeightMap

Array = NDArray[np.float64]


class DataSpace:
    """Direct solver of size ``K C``; the owner factorises. See :class:`WeightSolver`.

    Args:
        weights: ``J_w`` and the prior.

    Attributes:
        iterations: 0.

    Collective: construction and every method.
    """

    def __init__(self, weights: WeightMap) -> None:
        self._weights, self._comm = weights, weights.grid.data
        self.iterations = 0
        self._factors: dict[float, tuple[Array, bool]] = {}
        self._work = weights.space.create()
        self._gram = self._assembled()

    def solve(self, b: Array, r: PETSc.Vec, tau: float, d: PETSc.Vec) -> Array:
        """See :class:`WeightSolver`."""
        weights = self._weights
        weights.prior.solve(r, self._work)
        rhs = self._gathered(weights.outputs(self._work) + b)
        eta = np.empty_like(rhs)
        if weights.grid.owner:
            eta = cho_solve(self._factor(tau), rhs.ravel(), check_finite=False).reshape(rhs.shape)
        local = np.empty_like(b)
        self._comm.Scatterv([eta, self._counts, None, MPI.DOUBLE], local, root=0)
        weights.outputs_transposed(local, self._work)
        self._work.aypx(-1.0, r)
        self._work.scale(1.0 / tau)
        weights.prior.solve(self._work, d)
        return local

    @cached_property
    def _counts(self) -> list[int]:
        """Whitened outputs of every rank."""
        k, c, _ = self._weights.lin.forcing_gram.shape
        return [size * c for size in self._comm.allgather(k)]

    def _gathered(self, local: Array) -> Array:
        """Rows of all samples, in order, on the owner."""
        rows = local.shape[0]
        per_row = local[0].size if rows else 1
        total = self._comm.reduce(rows, op=MPI.SUM, root=0) or 0
        sizes = self._comm.gather(rows * per_row, root=0)
        out = np.empty((total, *local.shape[1:]))
        self._comm.Gatherv(np.ascontiguousarray(local), [out, sizes, None, MPI.DOUBLE], root=0)
        return out

    def _factor(self, tau: float) -> tuple[Array, bool]:
        if tau not in self._factors:
            damped = self._gram + tau * np.eye(len(self._gram))
            self._factors = {
                tau: cho_factor(damped, lower=True, overwrite_a=True, check_finite=False)
            }
        return self._factors[tau]

    def _assembled(self) -> Array:
        """``G`` on the owner."""
        lin = self._weights.lin
        k, c, _ = lin.forcing_gram.shape
        rows = self._gathered(self._half_rows().reshape(k, -1))
        blocks = self._gathered(lin.forcing_gram)
        if not self._weights.grid.owner:
            return np.empty((0, 0))
        rows = rows.reshape(len(blocks) * c, -1)
        gram = rows @ rows.T
        at = np.arange(len(blocks))
        gram.reshape(len(blocks), c, len(blocks), c)[at, :, at, :] += blocks
        return gram

    def _half_rows(self) -> Array:
        """``J_w F^{-T}`` with ``Gamma = F F^T``, (K, C, parameters)."""
        lin, prior, network = self._weights.lin, self._weights.prior, self._weights.lin.network
        v, v0 = lin.sensitivity
        n, k, size = lin.slope.shape
        c = v.shape[1]
        v = v.reshape(k, c, n, size).transpose(2, 0, 1, 3) * lin.slope[:, :, None]
        stages = v[..., None] * lin.full[:, :, None, None, :]
        theta = np.empty((n + 1, k, c, size, size + 1))
        network.stage_matrices_transposed(stages[:, None], theta)
        prior.half_solve(theta)
        parts = [theta.transpose(1, 2, 0, 3, 4).reshape(k, c, -1)]
        scale = 1.0 / np.sqrt(prior.strength)
        if network.linear_readout:
            last = np.concatenate([lin.nodes[-1], np.ones((k, 1))], axis=1) * scale
            whitened = lin.whiten[..., None] * last[:, None, None, :]
            parts.append(whitened.reshape(k, c, -1))
        if network.linear_lift:
            z = np.concatenate([lin.inputs, np.ones((k, 1))], axis=1) * scale
            parts.append((v0[..., None] * z[:, None, None, :]).reshape(k, c, -1))
        return np.concatenate(parts, axis=2)
