"""FE space with clamped, periodic or constant unknowns: ``u = Z v + u_D``, ``v`` the free ones.

``Z`` has one entry a row: a clamped dof has none, an end dof of a periodic unknown has that of its
partner at the start, and all dofs of a component that is constant share one. Clamped dofs are no
unknowns at all, so that no spurious rows or eigenvalues have to be explained away, and a dual vector
is restricted by ``Z^T``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dolfinx import fem, mesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from fem_deepest import _compat
from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.spaces.axis import END, START, DepthAxis

Array = NDArray[np.float64]
Dofs = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Clamped:
    """An unknown held at the values that it has when the action is made.

    Attributes:
        unknown: One of the unknowns.
        where: "start" (``t = 0``), "end" (``t = T``), or a function of the coordinates (3, m) that is
            true on the boundary facets meant.
        component: Number of the component that is held, or none for all of them.
    """

    unknown: fem.Function
    where: str | Callable[[Array], NDArray[np.bool_]]
    component: int | None = None


@dataclass(frozen=True, eq=False)
class Component:
    """One scalar component of a space.

    Attributes:
        path: Numbers of the subspaces that lead to it.
        space: Its own scalar space.
        dofs: Dofs of the whole space, unrolled, one for each dof of ``space``.
    """

    path: tuple[int, ...]
    space: fem.FunctionSpace
    dofs: Dofs


def components(space: fem.FunctionSpace, path: tuple[int, ...] = ()) -> Iterator[Component]:
    """Scalar components of a space of any nesting. Collective."""
    if space.num_sub_spaces:
        for i in range(space.num_sub_spaces):
            yield from components(space.sub(i), (*path, i))
    elif path:
        yield Component(path, *_compat.collapsed(space))
    else:
        count = space.dofmap.index_map.size_local + space.dofmap.index_map.num_ghosts
        yield Component(path, space, np.arange(count, dtype=np.int32))


class ConstrainedSpace:
    """Free unknowns of a space.

    Args:
        space: FE space of the whole unknown.
        axis: Depth axis of its mesh.
        clamped: For every clamped component its number in ``components(space)`` and the place.
        periodic: Identify the dofs at ``t = T`` with those at ``t = 0``.
        constant: Numbers of the components that have one value everywhere.

    Attributes:
        parts: Scalar components.
        injection: ``Z``, shape (dofs, free dofs).
        fixed: Own dofs, unrolled, that are clamped.

    Raises:
        InputError: No facet lies where something is clamped, the two ends do not match, or nothing
            is left free.

    Collective: construction and every method.
    """

    def __init__(
        self,
        space: fem.FunctionSpace,
        axis: DepthAxis,
        clamped: list[tuple[int, str | Callable[[Array], NDArray[np.bool_]]]],
        periodic: bool,
        constant: Sequence[int] = (),
    ) -> None:
        self.space, self._axis = space, axis
        self.parts = list(components(space))
        layout = space.dofmap.index_map
        block = space.dofmap.index_map_bs
        self._comm = space.mesh.comm
        self._own = layout.size_local * block
        held = np.zeros(self._own + layout.num_ghosts * block, dtype=bool)
        for part, where in clamped:
            held[self._on(self.parts[part], self._facets(where))] = True
        self.fixed = np.flatnonzero(held[: self._own])
        tied = held[: self._own].copy()
        shared = [self.parts[part].dofs[self.parts[part].dofs < self._own] for part in constant]
        for dofs in shared:
            tied[dofs] = True
        if periodic:
            ends = [self._on(part, axis.facets(END)) for part in self.parts]
            tied[np.concatenate([dofs[dofs < self._own] for dofs in ends])] = True
        free = np.flatnonzero(~tied)
        # The constants come behind the free dofs of the last rank, so that the others stay in place.
        more = len(shared) if self._comm.rank == self._comm.size - 1 else 0
        first = self._comm.exscan(free.size) or 0
        count = self._comm.allreduce(free.size)
        if count + len(shared) == 0:
            raise InputError("nothing is left to vary: every dof is clamped; clamp fewer of them")
        column = np.full(self._own, -1, dtype=PETSc.IntType)
        column[free] = first + np.arange(free.size, dtype=PETSc.IntType)
        if periodic:
            self._identify(column, held)
        for number, dofs in enumerate(shared):
            column[dofs] = count + number
        rows = column >= 0
        pointer = np.concatenate([[0], np.cumsum(rows)]).astype(PETSc.IntType)
        self.injection = PETSc.Mat().createAIJ(
            ((self._own, PETSc.DETERMINE), (free.size + more, PETSc.DETERMINE)),
            csr=(pointer, column[rows], np.ones(int(rows.sum()))),
            comm=self._comm,
        )
        self._lift = self.injection.createVecLeft()
        self._dual = self.injection.createVecLeft()

    def create(self) -> PETSc.Vec:
        """Zero vector of the free unknowns."""
        return self.injection.createVecRight()

    def hold(self, u: fem.Function) -> None:
        """Take the clamped values ``u_D`` from a function."""
        self._lift.array[self.fixed] = u.x.array[self.fixed]

    def expand(self, v: PETSc.Vec, u: fem.Function, *, homogeneous: bool = False) -> None:
        """``u = Z v + u_D``, ghosts included; without ``u_D`` for a direction."""
        self.injection.mult(v, self._dual)
        u.x.array[: self._own] = self._dual.array_r
        if not homogeneous:
            u.x.array[: self._own] += self._lift.array_r
        u.x.scatter_forward()

    def pick(self, u: fem.Function, v: PETSc.Vec) -> None:
        """Free values ``v`` of a function; where two dofs are identified, their mean."""
        self._dual.array[...] = u.x.array[: self._own]
        self.injection.multTranspose(self._dual, v)
        counts = v.duplicate()
        self._dual.set(1.0)
        self.injection.multTranspose(self._dual, counts)
        v.pointwiseDivide(v, counts)
        counts.destroy()

    def restrict(self, dual: Array, g: PETSc.Vec) -> None:
        """``g = Z^T dual``, the own entries of an assembled dual vector."""
        self._dual.array[...] = dual[: self._own]
        self.injection.multTranspose(self._dual, g)

    def constant(self, part: int) -> tuple[PETSc.Vec, bool]:
        """One in the free dofs of a component, zero elsewhere; and whether some of it is clamped."""
        own = self.parts[part].dofs
        own = own[own < self._own]
        held = self._comm.allreduce(int(np.isin(own, self.fixed).sum())) > 0
        self._dual.set(0.0)
        self._dual.array[own] = 1.0
        v = self.create()
        self.injection.multTranspose(self._dual, v)
        v.array[v.array_r > 0.0] = 1.0  # two where two dofs are identified
        return v, held

    def _facets(self, where: Any) -> NDArray[np.int32]:
        if isinstance(where, str):
            return self._axis.facets(where)
        domain = self.space.mesh
        dimension = domain.topology.dim - 1
        domain.topology.create_connectivity(dimension, dimension + 1)
        return mesh.locate_entities_boundary(domain, dimension, where)

    def _on(self, part: Component, facets: NDArray[np.int32]) -> Dofs:
        """Dofs of a component in the closure of facets."""
        if self._comm.allreduce(facets.size) == 0:
            raise InputError(
                "no boundary facet lies where an unknown is clamped; let the condition be true on "
                "whole facets of the boundary"
            )
        dimension = self.space.mesh.topology.dim - 1
        return part.dofs[fem.locate_dofs_topological(part.space, dimension, facets)]

    def _identify(self, column: NDArray[Any], held: NDArray[np.bool_]) -> None:
        """Give every dof at the end the column of its partner at the start, on whatever rank."""

        def mine(end: str) -> tuple[Dofs, Array]:
            dofs, places = [], []
            for number, part in enumerate(self.parts):
                chosen = fem.locate_dofs_topological(
                    part.space, self.space.mesh.topology.dim - 1, self._axis.facets(end)
                )
                chosen = chosen[part.dofs[chosen] < self._own]
                x = part.space.tabulate_dof_coordinates()[chosen].copy()
                low, high = self._axis.span
                x[:, 0] = 2.0 * (high - low + 1.0) * number  # components lie far from each other
                dofs.append(part.dofs[chosen])
                places.append(x)
            return np.concatenate(dofs), np.concatenate(places)

        start, at = mine(START)
        columns = np.concatenate(self._comm.allgather(column[start]))
        tree = cKDTree(np.concatenate(self._comm.allgather(at)))
        end, at = mine(END)
        distance, partner = tree.query(at)
        apart = bool((distance > self._axis.near).any())
        if self._comm.allreduce(apart):
            raise InputError(
                "the mesh at t = T does not match that at t = 0, so the ends cannot be identified; "
                "use a mesh whose two end sides have the same nodes"
            )
        column[end] = np.where(held[end], -1, columns[partner])
