"""Quadrature points of a mesh: functions of a space there, and integrals against basis functions.

With the basis functions ``phi_i`` at the points ``x_q`` of all cells of this rank, ``E_qi = phi_i(x_q)``,
and ``w_q`` the weight of the rule times the volume element,

    u(x_q) = (E u)_q,      int g phi_i dx = (E^T diag(w) g)_i,      M = E^T diag(w) E.

All of it acts on blocks. For a space with ``bs`` components a row of ``E`` stands for ``bs`` rows, point
by point; the matrix itself is kept for one component.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import basix
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest._compat import geometry_dofmap
from fem_deepest.errors import InputError
from fem_deepest.spaces.block import Blocks

Array = NDArray[np.float64]

_FLAT = 1e-10  # a cell is affine if its volume element varies less than this


def rule(cell: str, degree: int) -> tuple[Array, Array]:
    """Points (Q, d) and positive weights (Q,) on a reference cell, exact for polynomials of that degree.

    Some of the optimal rules on tetrahedra have negative weights; then the next degree without is taken.

    Args:
        cell: Name of the cell, as "triangle".
        degree: Degree, in each variable for tensor cells.

    Raises:
        InputError: There is no such rule.

    Not collective.
    """
    kind = getattr(basix.CellType, cell)
    for higher in range(degree, degree + 4):
        points, weights = (np.asarray(a) for a in basix.make_quadrature(kind, higher))
        if weights.min() > 0.0:
            return points, weights
    raise InputError(
        f"no rule of degree {degree} on a {cell} has positive weights; take a lower degree"
    )


class Quadrature:
    """Points of a rule on the owned cells of the mesh of a Lagrange space.

    Args:
        V: Lagrange space, scalar or vector-valued, continuous or not.
        degree: Degree of the rule; by default the least that integrates products of two basis functions
            exactly, ``2 p`` and what the volume element of cells that are not affine asks for.
        order: ``order(mesh, reference points) -> (cells, Q)``, numbers of the points of each owned cell;
            the rule's own order if None.

    Attributes:
        V: The space.
        blocks: Its blocks.
        degree: Degree of the rule.
        order: What orders the points of a cell, if not the rule.
        points: Points of this rank, ``n = cells * Q``.
        weights: ``w_q``, (n,).
        x: Coordinates, (n, geometric dimension).

    Raises:
        InputError: The space is not Lagrange.

    Collective.
    """

    def __init__(self, V: Any, degree: int | None = None, order: Any = None) -> None:
        element = V.ufl_element()
        if (
            element.is_mixed
            or element.is_symmetric
            or element.element_family is not basix.ElementFamily.P
            or V.element.needs_dof_transformations
        ):
            raise InputError(
                f"the space has the element {element}, expected Lagrange elements, scalar or "
                "vector-valued; give one space for each part of a mixed one"
            )
        self.V, self.blocks = V, Blocks(V)
        domain = V.mesh
        cell = domain.topology.cell_name()
        self._cells = domain.topology.index_map(domain.topology.dim).size_local
        least = 2 * element.degree
        if degree is None:
            degree = least if self._affine(cell, least) else least + self._excess(cell)
        self.degree = degree
        X, w = rule(cell, degree)
        number = np.broadcast_to(np.arange(len(w)), (self._cells, len(w)))
        number = number if order is None else order(domain, X)
        self.points, self.order = number.size, order
        basis, volume, x = self._tabulated(X)
        self._basis = basis[number]
        self.weights = np.take_along_axis(volume * w, number, axis=1).ravel()
        self.x = np.take_along_axis(x, number[:, :, None], axis=1).reshape(self.points, -1)

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """``E`` for one component, (n, local nodes)."""
        return self._matrix(np.ones(self.points))

    @cached_property
    def _integrals(self) -> sparse.csr_matrix:
        return self.transposed(self.weights)

    def transposed(self, scale: Array) -> sparse.csr_matrix:
        """``E^T diag(scale)`` for one component, (local nodes, n), by rows."""
        return self._matrix(scale).T.tocsr()

    def evaluate(self, block: Array) -> Array:
        """Values at the points, (n * bs, S). Collective."""
        local = self.blocks.ghosted(block)
        return self._apply(self.matrix, local)

    def integrate(self, values: Array) -> Array:
        """The block ``int g phi_i dx`` of the values of ``g`` at the points (n * bs, S). Collective."""
        return self.blocks.accumulate(self._apply(self._integrals, values))

    def _apply(self, matrix: sparse.csr_matrix, rows: Array) -> Array:
        """A matrix for one component, on all of them."""
        samples = rows.shape[1]
        wide = np.ascontiguousarray(rows).reshape(matrix.shape[1], self.blocks.bs * samples)
        return (matrix @ wide).reshape(-1, samples)

    def _matrix(self, scale: Array) -> sparse.csr_matrix:
        dofs = self.V.dofmap.list[: self._cells]
        count, nodes = self._basis.shape[1], dofs.shape[1]
        columns = np.broadcast_to(dofs[:, None, :], (self._cells, count, nodes))
        values = self._basis * scale.reshape(self._cells, count, 1)
        rows = np.arange(self.points + 1, dtype=np.int64) * nodes
        local = self.blocks.local // self.blocks.bs
        return sparse.csr_matrix((values.ravel(), columns.ravel(), rows), (self.points, local))

    def _tabulated(self, X: Array) -> tuple[Array, Array, Array]:
        """Basis functions (Q, nodes), volume elements (cells, Q), coordinates (cells, Q, gdim)."""
        domain = self.V.mesh
        basis = np.asarray(self.V.ufl_element().basix_element.tabulate(0, X))[0, :, :, 0]
        shapes = domain.ufl_domain().ufl_coordinate_element().basix_element.tabulate(1, X)[..., 0]
        corners = domain.geometry.x[geometry_dofmap(domain)[: self._cells], : domain.geometry.dim]
        # Sums over the nodes one by one: the same bits whatever the number of cells.
        both = np.zeros((len(shapes), self._cells, len(X), domain.geometry.dim))
        for a in range(corners.shape[1]):
            both += shapes[:, None, :, a, None] * corners[None, :, None, a, :]
        x, J = both[0], np.moveaxis(both[1:], 0, -1)
        if J.shape[-1] == J.shape[-2]:
            volume = np.abs(np.linalg.det(J))
        else:
            volume = np.sqrt(np.linalg.det(np.swapaxes(J, -1, -2) @ J))
        return basis, volume, x

    def _affine(self, cell: str, degree: int) -> bool:
        """Whether the volume element is constant on every cell of every rank."""
        volume = self._tabulated(rule(cell, degree + 2)[0])[1]
        spread = np.ptp(volume, axis=1) - _FLAT * volume.max(axis=1, initial=0.0)
        return bool(self.V.mesh.comm.allreduce(float(spread.max(initial=-1.0)), MPI.MAX) <= 0.0)

    def _excess(self, cell: str) -> int:
        """Degree of the volume element of a cell that is not affine."""
        dim, degree = self.V.mesh.topology.dim, self.V.mesh.geometry.cmap.degree
        simplex = cell in ("interval", "triangle", "tetrahedron")
        return dim * (degree - 1) if simplex else dim * degree - 1
