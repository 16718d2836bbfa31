"""Square roots of quadratic forms, cell by cell: loads of any covariance that a form can say.

    E(u) = int e(u) dx,      A = E'' = sum_c Z_c^T A_c Z_c = B B^T,      B z = sum_c Z_c^T L_c z_c,

with the Cholesky factors ``L_c`` of the matrices of the cells and independent standard normals ``z_c``:
``B z ~ N(0, A)`` without a factor of ``A``. The normals of a cell are named by the coordinates of its
vertices, and within a cell the unknowns are counted in an order that depends on coordinates alone, so
that the load is the same to rounding on any number of ranks.

The matrices ``A_c`` are assembled as the second derivative on the *broken* space, whose functions may
jump between the cells: there they stand on the diagonal, side by side.
"""

from __future__ import annotations

from typing import Any

import basix
import basix.ufl
import numpy as np
import ufl
from dolfinx import fem
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.action.form.functional import Functional
from fem_deepest.noise.keys import cell_keys, point_keys
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.constrained import ConstrainedSpace
from fem_deepest.spaces.semidefinite import factors

Array = NDArray[np.float64]


class FormLoads:
    """``B`` of a quadratic form on the free unknowns of a space.

    Args:
        form: UFL form of rank 0, quadratic in ``field`` and nowhere negative.
        field: The function ``u``.
        space: Its free unknowns.

    Attributes:
        keys: Names (m,) of the cells of this rank.
        width: Unknowns of a cell.

    Raises:
        InputError: The matrix of a cell has a negative eigenvalue, or cells have no names.

    Collective: construction and the call.
    """

    def __init__(self, form: ufl.Form, field: fem.Function, space: ConstrainedSpace) -> None:
        V = field.function_space
        domain = V.mesh
        broken = fem.Function(fem.functionspace(domain, broken_element(V.ufl_element())))
        cells = domain.topology.index_map(domain.topology.dim).size_local
        points, component = local_points(V.ufl_element())
        names = point_keys(domain, points)[:cells]
        order = np.lexsort((names, np.broadcast_to(component, names.shape)), axis=1)
        A = _on_cells(
            Functional(ufl.replace(form, {field: broken}), broken).hessian(), broken, cells
        )
        i = np.arange(cells)[:, None, None]
        L = factors(A[i, order[:, :, None], order[:, None, :]])
        dofs = np.take_along_axis(_dofs(V, cells), order, axis=1)
        self.keys, self.width = cell_keys(domain)[:cells], dofs.shape[1]
        self._blocks, self._space = Blocks(V), space
        rows = np.broadcast_to(dofs[:, :, None], L.shape)
        columns = np.broadcast_to(np.arange(dofs.size).reshape(cells, 1, -1), L.shape)
        kept = L != 0.0
        self._B = sparse.csr_matrix(
            (L[kept], (rows[kept], columns[kept])), (self._blocks.local, dofs.size)
        )
        self._g = space.create()

    def __call__(self, z: Array) -> Array:
        """See :class:`.Loads`."""
        whole = self._blocks.accumulate(self._B @ z)
        block = np.empty((self._g.getLocalSize(), z.shape[1]))
        for s in range(z.shape[1]):
            self._space.restrict(whole[:, s], self._g)
            block[:, s] = self._g.array_r
        return block


def by_cells(form: ufl.Form, element: Any) -> bool:
    """Whether a form couples no two cells but through their common unknowns, and those are values.

    Args:
        form: UFL form.
        element: Element of its unknown, Lagrange or of such parts.
    """
    plain = {i.integral_type() for i in form.integrals()} <= {"cell", "exterior_facet"}
    return plain and all(
        part.family == basix.ElementFamily.P
        and (part.dof_transformations_are_identity or part.dof_transformations_are_permutations)
        for part in _scalars(element)
    )


def broken_element(element: Any) -> Any:
    """The same element without continuity between cells."""
    if element.is_mixed:
        return basix.ufl.mixed_element([broken_element(e) for e in element.sub_elements])
    if element.block_size > 1:
        return basix.ufl.blocked_element(
            broken_element(element.sub_elements[0]),
            shape=element.reference_value_shape,
            symmetry=element.is_symmetric or None,
        )
    basic = element.basix_element
    return basix.ufl.element(
        basic.family,
        basic.cell_type,
        basic.degree,
        lagrange_variant=basic.lagrange_variant,
        dpc_variant=basic.dpc_variant,
        discontinuous=True,
    )


def local_points(element: Any) -> tuple[Array, NDArray[np.int64]]:
    """Reference points (L, d) of the unknowns of a cell, and the components (L,) that they belong to."""
    points, component, first = [], [], 0
    for part in element.sub_elements if element.is_mixed else [element]:
        place = part.basix_element.points
        points.append(np.repeat(place, part.block_size, axis=0))
        component.append(first + np.tile(np.arange(part.block_size), len(place)))
        first += part.block_size
    return np.concatenate(points), np.concatenate(component)


def _scalars(element: Any) -> list[Any]:
    """Scalar Lagrange elements that an element is made of."""
    parts = element.sub_elements if element.is_mixed else [element]
    return [part.basix_element for part in parts]


def _dofs(V: Any, cells: int) -> NDArray[np.int64]:
    """Unrolled dofs of the cells of this rank, (cells, L)."""
    bs, nodes = V.dofmap.index_map_bs, V.dofmap.list[:cells].astype(np.int64)
    return (bs * nodes[:, :, None] + np.arange(bs)).reshape(cells, -1)


def _on_cells(matrix: Any, broken: fem.Function, cells: int) -> Array:
    """The blocks (cells, L, L) on the diagonal of a matrix of a broken space."""
    dofs = _dofs(broken.function_space, cells)
    cell, place = np.empty(dofs.size, dtype=np.int64), np.empty(dofs.size, dtype=np.int64)
    cell[dofs] = np.arange(cells)[:, None]
    place[dofs] = np.arange(dofs.shape[1])
    pointer, column, values = matrix.getValuesCSR()
    row = np.repeat(np.arange(dofs.size), np.diff(pointer))
    A = np.zeros((cells, dofs.shape[1], dofs.shape[1]))
    A[cell[row], place[row], place[column - matrix.getOwnershipRange()[0]]] = values
    return A
