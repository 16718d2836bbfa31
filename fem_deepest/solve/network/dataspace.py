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
from scipy.linalg import blas, block_diag, cho_factor, cho_solve

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.linearised import with_one
from fem_deepest.solve.network.gauss_newton import WeightMap

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
            damped = self._gram.copy(order="F")
            damped[np.diag_indices_from(damped)] += tau
            self._factors = {
                tau: cho_factor(damped, lower=True, overwrite_a=True, check_finite=False)
            }
        return self._factors[tau]

    def _assembled(self) -> Array:
        """Lower triangle of ``G`` on the owner.

        The rows of ``J_w`` are products of a sensitivity and a state; these are what is gathered.
        With the depth factor ``L D L^T`` of the prior the rows of ``L^{-1} J_w^T`` follow node by
        node, and no more than two nodes of them exist at a time.
        """
        lin, prior, network = self._weights.lin, self._weights.prior, self._weights.lin.network
        v, v0 = lin.sensitivity
        n, k, size = lin.slope.shape
        slope, full = lin.slope.transpose(1, 0, 2), lin.full.transpose(1, 0, 2)
        v = self._gathered(v.reshape(k, v.shape[1], n, size) * slope[:, None])
        full, v0 = self._gathered(full), self._gathered(v0)
        blocks, whiten = self._gathered(lin.forcing_gram), self._gathered(lin.whiten)
        last, inputs = self._gathered(lin.nodes[-1]), self._gathered(lin.inputs)
        if not self._weights.grid.owner:
            return np.empty((0, 0))
        k, c = blocks.shape[:2]
        # In the white coordinates of the prior's factors, rows of J_w are such products still.
        field, readout, lift = prior.field, prior.readout, prior.lift
        v = field.half(v, -2)
        full = field.half(field.columns.apply_mass(full, -1), -1)
        gram = np.asfortranarray(block_diag(*blocks))
        pivots, below = field.depth_factor
        (place,) = network.scheme.abscissae
        before = np.zeros((k, c, size, size + 1))
        rows, stage = np.zeros_like(before), np.empty_like(before)
        for i in range(n + 1):
            if i > 0:
                rows *= -below[i - 1]
                before *= place
                rows += before
            if i < n:
                np.multiply(v[:, :, i, :, None], full[:, None, i, None, :], out=stage)
                np.multiply(stage, 1.0 - place, out=before)
                rows += before
                before, stage = stage, before
            _add_square(rows, pivots[i], gram)
        if network.linear_readout:
            last = readout.half(readout.columns.apply_mass(with_one(last), -1), -1)
            end = whiten[..., None] * last[:, None, None, :]
            _add_square(end, readout.depth_factor[0][0], gram)
        if network.linear_lift:
            end = lift.half(v0, -2)[..., None] * with_one(inputs)[:, None, None, :]
            _add_square(end, lift.depth_factor[0][0], gram)
        return gram


def _add_square(rows: Array, pivot: NDArray, gram: Array) -> None:
    """``gram += A pivot^{-1} A^T`` in the lower triangle, for ``rows`` (K, C, ...)."""
    scale = 1.0
    if pivot.ndim:
        rows = rows / np.sqrt(pivot)
    else:
        scale = 1.0 / float(pivot)
    flat = rows.reshape(len(gram), -1)
    blas.dsyrk(scale, flat.T, beta=1.0, c=gram, trans=1, lower=1, overwrite_c=1)
