"""The screened inverse Laplace operator of a neuron index, applied to whole tiles of samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

Array = NDArray[np.float64]

_DENSE = 1024  # nodes up to which a product with the inverse is faster than the triangular solves


class Screened:
    """``v = E x``: ``(kappa^2 - Laplace) v = x`` with ``dv/dn = 0``, that is ``(kappa^2 M + K) v = M x``.

    Its Green's function decays like ``exp(-kappa |s - s'|)``: every neuron hears all the others, but one
    sparse factorisation, kept, is all it takes. Constants are divided by ``kappa^2``, exactly.

    Args:
        mass: ``M`` of one channel, (nodes, nodes).
        stiffness: ``K``.
        kappa: ``kappa > 0``.

    States may have several channels and networks side by side, all solved at once. Nothing here is
    collective.
    """

    def __init__(self, mass: sparse.csr_array, stiffness: sparse.csr_array, kappa: float) -> None:
        self._mass = sparse.csr_array(mass)
        self.nodes = self._mass.shape[0]
        self._factor = splu(
            sparse.csc_matrix(kappa**2 * self._mass + sparse.csr_array(stiffness)),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,  # symmetric and positive: pivots need no search
            options={"SymmetricMode": True},
        )
        self._inverse = self._factor.solve(self._mass.toarray()) if self.nodes <= _DENSE else None

    def apply(self, x: Array, out: Array) -> None:
        """``out = E x`` into another array, both (..., channels * nodes, K)."""
        if self._inverse is not None:
            np.matmul(self._inverse, self._fields(x), out=self._fields(out))
        else:
            self._back(self._factor.solve(self._mass @ self._columns(x)), out)

    def transposed(self, y: Array, out: Array) -> None:
        """``out = E^T y = M (kappa^2 M + K)^{-1} y``; ``out`` may be ``y``."""
        if self._inverse is not None:
            out[...] = (np.matmul(self._inverse.T, self._fields(y))).reshape(out.shape)
        else:
            self._back(self._mass @ self._factor.solve(self._columns(y)), out)

    def _fields(self, x: Array) -> Array:
        """The fields of a state one by one, (..., channels, nodes, K)."""
        return x.reshape(*x.shape[:-2], -1, self.nodes, x.shape[-1])

    def _columns(self, x: Array) -> Array:
        """All fields over the nodes side by side, (nodes, fields)."""
        fields = x.reshape(-1, self.nodes, x.shape[-1])
        return np.swapaxes(fields, 0, 1).reshape(self.nodes, -1)

    def _back(self, columns: Array, out: Array) -> None:
        width = out.shape[-1]
        fields = columns.reshape(self.nodes, -1, width)
        out[...] = np.swapaxes(fields, 0, 1).reshape(out.shape)
