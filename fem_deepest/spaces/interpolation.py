"""Interpolation of a Lagrange space into another on another mesh of the same domain.

``P_ij = psi_j(x_i)``, with the basis functions ``psi_j`` of the source and the nodes ``x_i`` of the
target. The two meshes may be distributed differently. Between nested spaces it is the embedding, and its
transpose takes loads of the fine space to loads of the coarse one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest._compat import geometry_dofmap, point_owners
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.quadrature import check_lagrange
from fem_deepest.spaces.rows import RowExchange, exchange

Array = NDArray[np.float64]

_PADDING = 1e-10  # of the boxes around cells, relative to the size of the mesh
_ZERO = 1e-13  # basis functions smaller than this are zero
_NEWTON = 20


class Interpolation:
    """``P`` on blocks, and its transpose.

    Args:
        source: Lagrange space, continuous.
        target: Lagrange space with as many components.

    Attributes:
        source: Blocks of the source.
        target: Blocks of the target.

    Raises:
        InputError: A space is not Lagrange, the components differ, or a node of the target lies outside.
        NumericalFailure: The reference coordinates of a node were not found.

    Collective: construction and every method.
    """

    def __init__(self, source: Any, target: Any) -> None:
        check_lagrange(source)
        check_lagrange(target)
        self.source, self.target = Blocks(source), Blocks(target)
        bs = self.source.bs
        if bs != self.target.bs or source.ufl_element().discontinuous:
            raise InputError(
                f"interpolation from {source.ufl_element()} to {target.ufl_element()} was asked for, "
                "expected as many components and a continuous source"
            )
        comm, nodes = target.mesh.comm, self.target.owned // bs
        x = np.ascontiguousarray(target.tabulate_dof_coordinates()[:nodes])
        extent = float(np.ptp(source.mesh.geometry.x, axis=0).max(initial=0.0))
        asked, askers, places, cells = point_owners(source.mesh, x, _PADDING * max(extent, 1e-300))
        outside = comm.allreduce(int(np.count_nonzero(asked < 0)))
        if outside:
            raise InputError(
                f"{outside} nodes of the target lie in no cell of the source; give two meshes of one "
                "domain"
            )
        send = np.bincount(askers, minlength=comm.size)
        receive = np.bincount(asked, minlength=comm.size)
        order = np.argsort(askers, kind="stable")
        values, columns, found = _basis(source, places[order], cells[order])
        if not comm.allreduce(found, MPI.LAND):
            raise NumericalFailure(
                "a place could not be pulled back to the reference cell of a curved mesh"
            )
        mine = np.argsort(asked, kind="stable")
        rows = np.empty((nodes, values.shape[1]))
        numbers = np.empty((nodes, values.shape[1]), dtype=np.int64)
        rows[mine] = exchange(comm, values, send, receive)
        numbers[mine] = exchange(comm, columns, send, receive)
        keep = np.abs(rows) > _ZERO
        wanted, column = np.unique(numbers[keep], return_inverse=True)
        self._exchange = RowExchange(comm, self.source.owned // bs, wanted)
        pointer = np.concatenate([[0], np.cumsum(keep.sum(axis=1))])
        self._matrix = sparse.csr_matrix((rows[keep], column, pointer), (nodes, wanted.size))
        self._transposed = self._matrix.T.tocsr()

    def prolong(self, block: Array) -> Array:
        """The block ``P u`` of the target.

        Args:
            block: ``u``, (owned of the source, S).
        """
        wide = np.ascontiguousarray(block).reshape(self.source.owned // self.source.bs, -1)
        return (self._matrix @ self._exchange.fetch(wide)).reshape(self.target.owned, -1)

    def restrict(self, load: Array) -> Array:
        """The load ``P^T b`` of the source.

        Args:
            load: ``b``, (owned of the target, S).
        """
        wide = np.ascontiguousarray(load).reshape(self.target.owned // self.target.bs, -1)
        return self._exchange.add_back(self._transposed @ wide).reshape(self.source.owned, -1)


def _basis(V: Any, x: Array, cells: NDArray[np.int32]) -> tuple[Array, NDArray[np.int64], bool]:
    """Basis functions (n, nodes) at places (n, 3) in cells, their numbers, and whether all were found."""
    X, found = pull_back(V.mesh, x[:, : V.mesh.geometry.dim], cells)
    values = np.asarray(V.ufl_element().basix_element.tabulate(0, X))[0, :, :, 0]
    dofs = np.asarray(V.dofmap.list)[cells]
    numbers = V.dofmap.index_map.local_to_global(dofs.ravel().astype(np.int32))
    return values, np.asarray(numbers, dtype=np.int64).reshape(values.shape), found


def pull_back(domain: Any, x: Array, cells: NDArray[np.int32]) -> tuple[Array, bool]:
    """Reference coordinates of places in cells, by Newton's method; one step if affine. Not collective.

    Args:
        domain: Mesh.
        x: Places, (n, geometric dimension).
        cells: Cells of this rank that hold them, (n,).

    Returns:
        (n, d), and whether all were found.
    """
    element = domain.ufl_domain().ufl_coordinate_element().basix_element
    corners = domain.geometry.x[geometry_dofmap(domain)[cells], : domain.geometry.dim]
    X = np.full((len(x), domain.topology.dim), 1.0 / (domain.topology.dim + 1))
    for _ in range(_NEWTON):
        shapes = np.asarray(element.tabulate(1, X))[..., 0]
        miss = x - np.einsum("na,nai->ni", shapes[0], corners)
        J = np.einsum("kna,nai->nik", shapes[1:], corners)
        step = np.einsum("nki,ni->nk", np.linalg.pinv(J), miss)
        X += step
        if np.abs(step).max(initial=0.0) < 1e-14:
            break
    return X, bool(np.abs(step).max(initial=0.0) < 1e-10)
