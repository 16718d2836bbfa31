"""Elliptic systems ``shift M + K`` of a neuron index that is spread over ranks, factorised once.

The matrices are PETSc's, dealt out like the nodes; MUMPS factorises them, or what ``-index_pc_type`` says.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.spaces.elliptic import Screened
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.factorised import CHOLESKY, Factorised
from fem_deepest.spaces.sparse_precision import SparsePrecision
from fem_deepest.spaces.spread import SpreadFactor, SpreadSpace

Array = NDArray[np.float64]


def distributed(factor: SpreadFactor, shift: float) -> PETSc.Mat:
    """``shift M + K``, rows numbered rank by rank in the order of the nodes. Collective."""
    ghosts, owned = factor.ghosts, factor.size
    first = ghosts.comm.exscan(owned) or 0
    size = ghosts.comm.allreduce(owned)
    number = np.empty((ghosts.local, 1))
    number[:owned, 0] = first + np.arange(owned)
    ghosts.fill(number)
    local = sparse.csr_matrix(factor.stiffness + shift * sparse.eye(owned, ghosts.local).multiply(
        factor.weights[:, None]
    ))  # fmt: skip
    columns = number[:, 0].astype(np.int64)[local.indices]
    rows = sparse.csr_matrix((local.data, columns, local.indptr), shape=(owned, size))
    rows.sort_indices()
    return PETSc.Mat().createAIJ(
        ((owned, size), (owned, size)),
        csr=(rows.indptr.astype(PETSc.IntType), rows.indices.astype(PETSc.IntType), rows.data),
        comm=ghosts.comm,
    )


class SpreadScreened(Screened):
    """``(kappa^2 - Laplace)^{-1}`` on the nodes of a rank, see :class:`.Screened`.

    Args:
        index: Neuron index.
        kappa: ``kappa > 0``.

    Collective on the ranks of the index: the construction and every method.
    """

    def __init__(self, index: SpreadSpace, kappa: float) -> None:
        factor = index.factor.parts[0]
        assert isinstance(factor, SpreadFactor)
        self._mass, self.nodes = sparse.csr_array(factor.mass), index.nodes
        self._factor = Factorised(distributed(factor, kappa**2), "index", CHOLESKY)
        self._inverse = None


class SpreadPrecision(SparsePrecision):
    """``P`` of a field on an index that is spread over ranks: the elliptic matrices are distributed.

    Collective on the ranks of the index: ``apply`` and ``solve``, where the prior smooths along the index.
    """

    def inverse_root(self, z: Array, out: Array) -> None:
        """``out = R z`` with ``R R^T = P^{-1}``; for ``ell = 0`` alone.

        Raises:
            InputError: The prior smooths along the index: a distributed factor has no root to draw with.
        """
        if self.mixed:
            raise InputError(
                "a draw of the prior with ell > 0 was asked for on a neuron index that is spread over "
                "ranks; take ell = 0, or an index that is not spread"
            )
        super().inverse_root(z, out)

    @cached_property
    def _systems(self) -> tuple[Array, list[Shifted]]:  # type: ignore[override]
        """``Psi``, and ``nu M + K`` for each ``nu``."""
        values, vectors = linalg.eigh(*self._pencil())
        factor = self.rows if self.rows.has_stiffness else self.columns
        return np.asarray(vectors), [Shifted(factor, float(nu)) for nu in values]


class Shifted:
    """``(nu M + K)^{-1}`` of a direct sum of channels, all the same, and of points.

    Args:
        factor: The sum.
        nu: The shift.

    Collective on the ranks of the index: the construction and :meth:`solve`.
    """

    def __init__(self, factor: Factor, nu: float) -> None:
        fields = [part for part in factor.parts if isinstance(part, SpreadFactor)]
        self._nodes, self._channels = fields[0].size, len(fields)
        self._points = nu * factor.weights[self._nodes * self._channels :, None]
        self._system = Factorised(distributed(fields[0], nu), "index", CHOLESKY)

    def solve(self, r: Array) -> Array:
        """A new block of ``r`` (size, S)."""
        end = self._nodes * self._channels
        fields = r[:end].reshape(self._channels, self._nodes, -1).swapaxes(0, 1)
        x = self._system.solve(np.ascontiguousarray(fields).reshape(self._nodes, -1))
        x = x.reshape(self._nodes, self._channels, -1).swapaxes(0, 1)
        return np.concatenate([x.reshape(end, -1), r[end:] / self._points])
