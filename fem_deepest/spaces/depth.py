"""Depth ``I = (0, T)`` as a DOLFINx interval mesh with the P1 space of the weight field on it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest import _compat
from fem_deepest.errors import InputError
from fem_deepest.spaces.domain import read_domain

Array = NDArray[np.float64]


class DepthMesh:
    """Partition ``0 = t_0 < t_1 < ... < t_n = T`` of the depth with P1 mass and stiffness matrices.

    The mesh lives on ``MPI.COMM_SELF``: it is small, and every rank of a depth slab needs all of
    it. DOLFINx renumbers dofs, so ``order`` maps depth order to dof order.

    Args:
        nodes: Depth of the nodes, shape (n + 1,), strictly increasing from 0.

    Raises:
        InputError: Fewer than two nodes, or nodes that do not increase from 0.

    Not collective.
    """

    def __init__(self, nodes: Array) -> None:
        nodes = np.asarray(nodes, dtype=np.float64)
        increasing = nodes.ndim == 1 and nodes.size > 1 and np.all(np.diff(nodes) > 0.0)
        if not increasing or nodes[0] != 0.0 or not np.isfinite(nodes[-1]):
            raise InputError(
                f"a depth mesh needs nodes 0 = t_0 < ... < t_n, got {nodes}; give them increasing from 0"
            )
        self.nodes = nodes
        self.cells = nodes.size - 1
        self.steps = np.diff(nodes)

    @classmethod
    def graded(cls, depth: float, cells: int, grading: float = 1.0) -> DepthMesh:
        """Mesh with nodes ``t_i = T (i/n)^g``; ``g = 1`` is uniform, ``g > 1`` refines at the input.

        Meshes of the same grading are nested when the number of cells is doubled.
        """
        nodes = depth * (np.arange(cells + 1) / cells) ** grading
        nodes[-1] = depth
        return cls(nodes)

    @classmethod
    def read(cls, path: str | Path) -> DepthMesh:
        """Mesh of a Gmsh or XDMF file on the line, whose nodes begin at 0.

        Raises:
            InputError: There is no such mesh.
        """
        domain = read_domain(MPI.COMM_SELF, path)
        if domain.geometry.dim != 1:
            raise InputError(
                f"{path} has cells of dimension {domain.topology.dim} in {domain.geometry.dim}D, expected "
                "intervals on the line: the depth has one coordinate"
            )
        return cls(np.sort(domain.geometry.x[:, 0]))

    @cached_property
    def domain(self) -> mesh.Mesh:
        """The DOLFINx interval mesh."""
        domain = mesh.create_interval(MPI.COMM_SELF, self.cells, (0.0, float(self.cells)))
        where = np.rint(domain.geometry.x[:, 0]).astype(np.int64)
        _compat.move_nodes(domain, self.nodes[where])
        return domain

    @cached_property
    def space(self) -> fem.FunctionSpace:
        """Scalar P1 space on the mesh."""
        return fem.functionspace(self.domain, ("Lagrange", 1))

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """``order[i]`` is the dof of node ``t_i``, shape (n + 1,)."""
        return np.argsort(_compat.dof_coordinates(self.space))

    @cached_property
    def mass(self) -> tuple[Array, Array]:
        """P1 mass matrix ``M_t``, tridiagonal: diagonal (n + 1,) and off-diagonal (n,)."""
        u, v = ufl.TrialFunction(self.space), ufl.TestFunction(self.space)
        return self._tridiagonal(u * v * ufl.dx)

    @cached_property
    def stiffness(self) -> tuple[Array, Array]:
        """P1 stiffness matrix ``K_t``, tridiagonal: diagonal (n + 1,) and off-diagonal (n,)."""
        u, v = ufl.TrialFunction(self.space), ufl.TestFunction(self.space)
        return self._tridiagonal(ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx)

    def _tridiagonal(self, form: ufl.Form) -> tuple[Array, Array]:
        dense = _compat.assembled(form)[np.ix_(self.order, self.order)]
        return np.diagonal(dense).copy(), np.diagonal(dense, 1).copy()

    def interpolation(self, points: Array) -> tuple[NDArray[np.int64], Array]:
        """P1 interpolation at depths ``points``: cell index and local coordinate in [0, 1], each (m,).

        A field with node values ``u`` has the value ``(1 - c) u[i] + c u[i + 1]`` there.
        """
        cell = np.clip(np.searchsorted(self.nodes, points, side="right") - 1, 0, self.cells - 1)
        return cell, (points - self.nodes[cell]) / self.steps[cell]

    def prolong(self, fine: DepthMesh, values: Array) -> Array:
        """FE interpolation of a P1 field to another mesh, ``values`` (n + 1, ...) to (m + 1, ...).

        Exact when every node of this mesh is a node of ``fine``.
        """
        cell, c = self.interpolation(fine.nodes)
        c = c.reshape(-1, *[1] * (values.ndim - 1))
        return (1.0 - c) * values[cell] + c * values[cell + 1]

    def at_stages(self, abscissae: tuple[float, ...], values: Array) -> Array:
        """P1 field at ``t_i + c h_i``: node values (n + 1, ...) to (n, S, ...)."""
        if abscissae == (0.0,):
            return values[:-1, None]
        out = np.empty((self.cells, len(abscissae), *values.shape[1:]))
        for slot, c in enumerate(abscissae):
            np.multiply(values[:-1], 1.0 - c, out=out[:, slot])
            out[:, slot] += c * values[1:]
        return out

    def at_stages_transposed(self, abscissae: tuple[float, ...], stages: Array, out: Array) -> None:
        """Transpose of :meth:`at_stages`, added to ``out`` (n + 1, ...)."""
        for slot, c in enumerate(abscissae):
            if c != 1.0:
                out[:-1] += (1.0 - c) * stages[:, slot]
            if c != 0.0:
                out[1:] += c * stages[:, slot]

    def to_function(self, values: Array) -> fem.Function:
        """DOLFINx function of the P1 space with node values (n + 1,) given in depth order."""
        function = fem.Function(self.space)
        function.x.array[self.order] = values
        return function
