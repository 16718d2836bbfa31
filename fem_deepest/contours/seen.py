r"""What the nodes of a mesh see of an image: its histogram under each basis function.

    H_bi = int phi_i [ I = b ] dx,      sum_b H_bi = m_i,

for the grey levels ``b`` and the nodes ``i``. A region energy knows the image through the histograms of
the inside and of the outside alone, ``H h`` and ``H (1 - h)`` with the indicator ``h`` at the nodes; and
an energy ``sum_b e_b (H h)_b`` has the derivative ``H^T e`` in ``h``. So this one sparse matrix is the
whole data term, for any mesh and any image.

The image is constant on each pixel. The integrals are sums over the midpoints of the pixels, or of equal
parts of them where the mesh is finer than the image, and every column is scaled to ``m_i``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.contours.image import LEVELS, Image
from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.contours.pixels import Pixels
from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_MOST = 2**24  # points
_CHUNK = 16  # levels that are summed over the ranks together


class Seen:
    """An image on a mesh, as it lies there by :mod:`fem_deepest.contours.pixels`.

    Args:
        field: Contours on the mesh.
        image: The image.

    Attributes:
        grey: Grey values of the levels that there are, (B,).
        histogram: ``H``, (B, owned).

    Raises:
        InputError: The mesh has cells that are much smaller than the pixels.

    Collective on the mesh: construction and every method.
    """

    def __init__(self, field: PhaseField, image: Image) -> None:
        self._field, domain = field, field.V.mesh
        levels, number = np.unique(image.pixels, return_inverse=True)
        self.grey: Array = levels / (LEVELS - 1.0)
        number = number.reshape(image.shape)
        parts = 1
        while number.size * parts**2 <= _MOST:
            raw = _integrals(field, number, levels.size, parts)
            total = np.asarray(raw.sum(axis=0)).ravel()
            if domain.comm.allreduce(bool((total > 0.0).all()), MPI.LAND):
                break
            parts *= 2
        else:
            raise InputError(
                f"an image of {image.shape[0]} by {image.shape[1]} pixels was put on a mesh with cells "
                "much smaller than a pixel; take a coarser mesh"
            )
        self.histogram: sparse.csr_matrix = (raw @ sparse.diags(field.masses[:, 0] / total)).tocsr()
        self._transposed = self.histogram.T.tocsr()

    def inside(self, h: Array) -> Array:
        """``H h``, (B, S), the same on all ranks.

        Args:
            h: (owned, S).
        """
        return self._field.sum(self.histogram @ h)

    @property
    def whole(self) -> Array:
        """``H 1``: areas of the levels, (B, 1)."""
        return self.inside(np.ones((self.histogram.shape[1], 1)))

    def load(self, e: Array) -> Array:
        """``H^T e``, a dual block (owned, S). Not collective.

        Args:
            e: (B, S).
        """
        return self._transposed @ e

    def average(self) -> Array:
        """Mean grey value under each basis function, (owned, 1). Not collective."""
        return self.load(self.grey[:, None]) / self._field.masses


def _integrals(
    field: PhaseField, number: NDArray[Any], levels: int, parts: int
) -> sparse.csr_matrix:
    """``H`` before it is scaled, (levels, owned). Collective."""
    points = Pixels(field, (number.shape[0], number.shape[1]), parts)
    level, n = number[points.row, points.column], points.row.size
    sorted_out = sparse.csr_matrix((np.ones(n), level, np.arange(n + 1)), (n, levels))
    local = (points.matrix.T @ sorted_out).tocsc()
    pieces = [
        sparse.csr_matrix(field.blocks.accumulate(local[:, first : first + _CHUNK].toarray()))
        for first in range(0, levels, _CHUNK)
    ]
    return sparse.hstack(pieces).T.tocsr()
