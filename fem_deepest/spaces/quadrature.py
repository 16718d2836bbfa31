"""Quadrature points of a mesh: functions of a space there, and integrals against basis functions.

With the basis functions ``phi_i`` at the points ``x_q`` of all cells of this rank, ``E_qi = phi_i(x_q)``,
and ``w_q`` the weight of the rule times the volume element,

    u(x_q) = (E u)_q,      int g phi_i dx = (E^T diag(w) g)_i,      M = E^T diag(w) E.

All of it acts on blocks. For a space with ``bs`` components a row of ``E`` stands for ``bs`` rows, point
by point; the matrix itself is kept for one component.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

import basix
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest._compat import geometry_dofmap
from fem_deepest.errors import InputError
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.volume import volume_elements

Array = NDArray[np.float64]

_FLAT = 1e-10  # a cell is affine if its volume element varies less than this


class Rule(Protocol):
    """Points with positive weights, and functions of one space there."""

    V: Any
    blocks: Blocks
    points: int
    weights: Array
    x: Array

    def evaluate(self, block: Array) -> Array:
        """Values at the points, (n * bs, S). Collective."""
        ...

    def gradient(self, block: Array) -> Array:
        """Gradients at the points, (n * bs, S, geometric dimension). Collective."""
        ...

    def integrate(self, values: Array) -> Array:
        """The block ``int g phi_i dx`` of the values of ``g``, (n * bs, S). Collective."""
        ...

    def transposed(self, scale: Array) -> sparse.csr_matrix:
        """``E^T diag(scale)`` for one component, (local nodes, n)."""
        ...

    def on(self, V: Any) -> Any:
        """The same points for another space of the mesh, a ``Rule``. Collective."""
        ...


def check_lagrange(V: Any) -> None:
    """Refuse spaces whose basis functions are not polynomials in each component on its own.

    Raises:
        InputError: The space is not Lagrange.
    """
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
        points: Points of this rank, ``n = cells * Q``.
        weights: ``w_q``, (n,).
        x: Coordinates, (n, geometric dimension).

    Raises:
        InputError: The space is not Lagrange.

    Collective.
    """

    def __init__(self, V: Any, degree: int | None = None, order: Any = None) -> None:
        check_lagrange(V)
        self.V, self.blocks = V, Blocks(V)
        domain = V.mesh
        cell = domain.topology.cell_name()
        self._cells = domain.topology.index_map(domain.topology.dim).size_local
        least = 2 * V.ufl_element().degree
        if degree is None:
            degree = least if self._affine(cell, least) else least + self._excess()
        self.degree, self._order = degree, order
        X, w = rule(cell, degree)
        number = np.broadcast_to(np.arange(len(w)), (self._cells, len(w)))
        number = number if order is None else order(domain, X)
        self.points = number.size
        volume, x, _ = self._geometry(X)
        self._X, self._number = X, number
        self.weights: Array = np.take_along_axis(volume * w, number, axis=1).ravel()
        self.x: Array = np.take_along_axis(x, number[:, :, None], axis=1).reshape(self.points, -1)

    def on(self, V: Any) -> Quadrature:
        """The same points for another space of the mesh. Collective."""
        return Quadrature(V, self.degree, self._order)

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """``E`` for one component, (n, local nodes)."""
        return self._sparse(self._basis[self._number])

    def transposed(self, scale: Array) -> sparse.csr_matrix:
        """``E^T diag(scale)`` for one component, (local nodes, n), by rows."""
        values = self._basis[self._number] * scale.reshape(*self._number.shape, 1)
        return self._sparse(values).T.tocsr()

    def evaluate(self, block: Array) -> Array:
        """Values at the points, (n * bs, S). Collective."""
        return self._apply(self.matrix, self.blocks.ghosted(block))

    def gradient(self, block: Array) -> Array:
        """Gradients at the points, (n * bs, S, geometric dimension). Collective."""
        local = self.blocks.ghosted(block)
        return np.stack([self._apply(D, local) for D in self._derivatives], axis=-1)

    def integrate(self, values: Array) -> Array:
        """The block ``int g phi_i dx`` of the values of ``g``, (n * bs, S). Collective."""
        return self.blocks.accumulate(self._apply(self._integrals, values))

    @cached_property
    def _integrals(self) -> sparse.csr_matrix:
        return self.transposed(self.weights)

    @cached_property
    def _basis(self) -> Array:
        """``phi_i`` at the reference points, (Q, nodes)."""
        return np.asarray(self.V.ufl_element().basix_element.tabulate(0, self._X))[0, :, :, 0]

    @cached_property
    def _derivatives(self) -> list[sparse.csr_matrix]:
        """The derivatives of the basis functions in each direction, as :attr:`matrix`."""
        reference = np.asarray(self.V.ufl_element().basix_element.tabulate(1, self._X))[1:, :, :, 0]
        inverse = np.linalg.pinv(self._geometry(self._X)[2])  # also of a surface
        slopes = np.einsum("kqa,cqki->icqa", reference, inverse)
        number = self._number[:, :, None]
        return [self._sparse(np.take_along_axis(s, number, axis=1)) for s in slopes]

    def _apply(self, matrix: sparse.csr_matrix, rows: Array) -> Array:
        """A matrix for one component, on all of them."""
        samples = rows.shape[1]
        wide = np.ascontiguousarray(rows).reshape(matrix.shape[1], self.blocks.bs * samples)
        return (matrix @ wide).reshape(-1, samples)

    def _sparse(self, values: Array) -> sparse.csr_matrix:
        """Matrix (n, local nodes) of values (cells, Q, nodes)."""
        dofs = self.V.dofmap.list[: self._cells]
        columns = np.broadcast_to(dofs[:, None, :], values.shape)
        rows = np.arange(self.points + 1, dtype=np.int64) * dofs.shape[1]
        local = self.blocks.local // self.blocks.bs
        return sparse.csr_matrix((values.ravel(), columns.ravel(), rows), (self.points, local))

    def _geometry(self, X: Array) -> tuple[Array, Array, Array]:
        """Volume elements (cells, Q), coordinates (cells, Q, gdim), Jacobians (cells, Q, gdim, tdim).

        The Jacobian of a flat simplex is given at one point, (cells, 1, ...).
        """
        domain = self.V.mesh
        element = domain.ufl_domain().ufl_coordinate_element().basix_element
        shapes = np.asarray(element.tabulate(1, X))[..., 0]
        slopes = shapes[1:, :1] if self._flat else shapes[1:]
        corners = domain.geometry.x[geometry_dofmap(domain)[: self._cells], : domain.geometry.dim]
        # Sums over the nodes one by one: the same bits whatever the number of cells.
        x = np.zeros((self._cells, len(X), domain.geometry.dim))
        J = np.zeros((self._cells, slopes.shape[1], domain.geometry.dim, len(slopes)))
        for a in range(corners.shape[1]):
            corner = corners[:, a, None]
            x += shapes[0, :, a, None] * corner
            J += slopes[:, :, a].T[:, None, :] * corner[..., None]
        return np.broadcast_to(volume_elements(J), x.shape[:2]), x, J

    @property
    def _simplex(self) -> bool:
        return self.V.mesh.topology.cell_name() in ("interval", "triangle", "tetrahedron")

    @property
    def _flat(self) -> bool:
        return self._simplex and self.V.mesh.geometry.cmap.degree == 1

    def _affine(self, cell: str, degree: int) -> bool:
        """Whether the volume element is constant on every cell of every rank."""
        if self._flat:
            return True
        volume = self._geometry(rule(cell, degree + 2)[0])[0]
        spread = np.ptp(volume, axis=1) - _FLAT * volume.max(axis=1, initial=0.0)
        return bool(self.V.mesh.comm.allreduce(float(spread.max(initial=-1.0)), MPI.MAX) <= 0.0)

    def _excess(self) -> int:
        """Degree of the volume element of a cell that is not affine."""
        dim, degree = self.V.mesh.topology.dim, self.V.mesh.geometry.cmap.degree
        return dim * (degree - 1) if self._simplex else dim * degree - 1
