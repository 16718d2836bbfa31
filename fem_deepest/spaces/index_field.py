"""A scalar FE space on a whole mesh with node numbers of its own, for fields over the neuron index.

DOLFINx numbers dofs as suits it; a network needs numbers that a user can foresee and that no number of
ranks changes. So every rank has the whole mesh, and the nodes are numbered

* on an interval from left to right,
* on a rectangle row by row like the pixels of an image, the first row at the top,
* on a mesh file in the order of the file; the nodes that are no vertices (P2) follow, those of cells
  (P0) are in the order of the cells.

Nothing here is collective: the meshes live on ``MPI.COMM_SELF``.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, geometry
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest import _compat
from fem_deepest.errors import InputError
from fem_deepest.spaces.interpolation import pull_back

Array = NDArray[np.float64]

_OUTSIDE = 0.25  # of the size of a cell: how far outside of a curved domain a node may lie
_ZERO = 1e-13  # basis functions smaller than this are zero
_SAME = 1e-9  # of the height of a rectangle: rows nearer than this are one


class IndexField:
    """P0, P1 or P2 with nodes in an order that means something.

    Args:
        domain: Mesh on ``MPI.COMM_SELF``.
        degree: Polynomial degree: 0, 1 or 2.
        order: "line", "rows" or "file", see the module.

    Attributes:
        domain: The mesh.
        degree: The degree.
        V: The DOLFINx space.
        dofs: ``dofs[i]`` is the dof of node ``i``, (nodes,).
        coordinates: Of the nodes, (nodes, geometric dimension).
    """

    def __init__(self, domain: Any, degree: int, order: str) -> None:
        self.domain, self.degree = domain, degree
        self.V = fem.functionspace(domain, ("DG", 0) if degree == 0 else ("Lagrange", degree))
        x = self.V.tabulate_dof_coordinates()[:, : domain.geometry.dim]
        name = np.full(len(x), np.iinfo(np.int64).max)
        if degree > 0:
            # Vertices have the coordinates and the names of the file to the last bit.
            vertices = _compat.geometry_dofmap(domain)
            corners = np.asarray(self.V.dofmap.list)[:, : vertices.shape[1]]
            x[corners] = domain.geometry.x[vertices, : domain.geometry.dim]
            name[corners] = domain.geometry.input_global_indices[vertices]
        else:
            name[np.asarray(self.V.dofmap.list)[:, 0]] = domain.topology.original_cell_index
        self.dofs: NDArray[np.int64] = {
            "line": lambda: np.argsort(x[:, 0]),
            "rows": lambda: _rows(x),
            # Nodes that are no vertices have no name in the file: by their place, behind the vertices.
            "file": lambda: np.lexsort((*x.T, name)),
        }[order]()
        self.coordinates: Array = x[self.dofs]
        self._number = np.empty_like(self.dofs)
        self._number[self.dofs] = np.arange(self.dofs.size)

    @property
    def cell_nodes(self) -> NDArray[np.int64]:
        """Nodes of every cell, (cells, nodes of a cell), in the order of the reference element."""
        return self._number[np.asarray(self.V.dofmap.list)]

    def matrix(self, form: ufl.Form) -> sparse.csr_matrix:
        """A bilinear form on the space, (nodes, nodes)."""
        matrix = fem.assemble_matrix(fem.form(form, jit_options=_compat.JIT_OPTIONS))
        matrix.scatter_reverse()
        return matrix.to_scipy().tocsr()[self.dofs][:, self.dofs]

    @cached_property
    def mass(self) -> sparse.csr_matrix:
        """``M_ij = int phi_i phi_j``."""
        u, v = ufl.TrialFunction(self.V), ufl.TestFunction(self.V)
        return self.matrix(ufl.inner(u, v) * ufl.dx)

    @cached_property
    def stiffness(self) -> sparse.csr_matrix:
        """``K_ij = int grad phi_i . grad phi_j``; of P0 the two-point flux over the facets.

        The flux is the jump over the distance of the midpoints (Eymard, Gallouet, Herbin 2000,
        doi:10.1016/S1570-8659(00)07005-8): on equal cells of an interval the second difference.
        """
        u, v = ufl.TrialFunction(self.V), ufl.TestFunction(self.V)
        if self.degree > 0:
            return self.matrix(ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx)
        middles = fem.Function(
            fem.functionspace(self.domain, ("DG", 0, (self.domain.geometry.dim,)))
        )
        middles.x.array[:] = self.V.tabulate_dof_coordinates()[
            :, : self.domain.geometry.dim
        ].ravel()
        apart = middles("+") - middles("-")
        distance = ufl.sqrt(ufl.inner(apart, apart))
        return self.matrix(ufl.jump(u) * ufl.jump(v) / distance * ufl.dS)

    @property
    def box(self) -> tuple[Array, Array]:
        """Lower left and upper right corner of the box around the mesh."""
        x = self.domain.geometry.x[:, : self.domain.geometry.dim]
        return x.min(axis=0), x.max(axis=0)

    @property
    def cells(self) -> int:
        """Number of cells that belong to this rank."""
        return int(self.domain.topology.index_map(self.domain.topology.dim).size_local)

    def summed(self, values: Array) -> Array:
        """The sum of integrals over the cells of all ranks."""
        return values

    def completed(self, B: sparse.csr_matrix) -> sparse.csr_matrix:
        """Integrals (m, nodes) of all cells at the nodes, from those of :attr:`cells`."""
        return B

    def tabulate(self, points: Array, cells: NDArray[np.int32]) -> Array:
        """Basis functions of cells (m,) at points (m, d) in them, (m, nodes of a cell)."""
        X, _ = pull_back(self.domain, points, cells)
        return np.asarray(self.V.ufl_element().basix_element.tabulate(0, X))[0, :, :, 0]

    def evaluate(self, points: Array) -> sparse.csr_matrix:
        """``E_qi = phi_i(x_q)``, (points, nodes).

        Where several cells meet, the mean of their values, which matters to P0 alone. Points a
        little outside, as those of a finer mesh of a disc may be, take the next cell's polynomial.

        Args:
            points: (points, geometric dimension).

        Raises:
            InputError: A point is farther outside than a quarter of a cell.
        """
        d = self.domain.geometry.dim
        x = np.zeros((len(points), 3))
        x[:, :d] = np.asarray(points, dtype=np.float64).reshape(len(points), -1)
        tree = geometry.bb_tree(self.domain, self.domain.topology.dim)
        hits = geometry.compute_colliding_cells(
            self.domain, geometry.compute_collisions_points(tree, x), x
        )
        count = np.diff(hits.offsets)
        owner, cells = np.repeat(np.arange(len(x)), count), np.asarray(hits.array)
        lost = np.flatnonzero(count == 0)
        if lost.size:
            owner, cells = (
                np.concatenate([owner, lost]),
                np.concatenate([cells, self._next(x, lost)]),
            )
        share = 1.0 / np.bincount(owner, minlength=len(x))[owner]
        values = share[:, None] * self.tabulate(x[owner, :d], cells)
        keep = np.abs(values) > _ZERO
        rows = np.broadcast_to(owner[:, None], values.shape)[keep]
        entries = values[keep], (rows, self.cell_nodes[cells][keep])
        return sparse.csr_matrix(entries, shape=(len(x), self.dofs.size))

    def _next(self, x: Array, lost: NDArray[np.int64]) -> NDArray[np.int32]:
        domain, dimension = self.domain, self.domain.topology.dim
        all_cells = np.arange(domain.topology.index_map(dimension).size_local, dtype=np.int32)
        tree = geometry.bb_tree(domain, dimension)
        middle = geometry.create_midpoint_tree(domain, dimension, all_cells)
        cells = np.asarray(geometry.compute_closest_entity(tree, middle, domain, x[lost]), np.int32)
        size = domain.h(dimension, cells)
        away = np.sqrt(geometry.squared_distance(domain, dimension, cells, x[lost]))
        worst = int(np.argmax(away / size))
        if away[worst] > _OUTSIDE * size[worst]:
            raise InputError(
                f"the point {x[lost[worst], : domain.geometry.dim]} is {away[worst]:.3g} outside of the "
                f"mesh of the neuron index, whose cells have a size of {size[worst]:.3g} there; give "
                "points of the domain"
            )
        return cells

    def to_function(self, values: Array, name: str = "x") -> fem.Function:
        """DOLFINx function with node values (nodes,)."""
        function = fem.Function(self.V, name=name)
        function.x.array[self.dofs] = values
        return function


def _rows(x: Array) -> NDArray[np.int64]:
    """Nodes of a grid row by row from the top; heights in a row agree only to rounding."""
    down = np.argsort(-x[:, 1], kind="stable")
    steps = np.diff(-x[down, 1], prepend=-x[down[0], 1])
    row = np.empty(len(x), dtype=np.int64)
    row[down] = np.cumsum(steps > _SAME * np.ptp(x[:, 1]))
    return np.lexsort((x[:, 0], row))
