"""Covariances over depth x index (x index) as tensor products: ``C = C_1 (x) C_2 (x) ...``.

On a mesh of quadrilaterals or hexahedra that is a product of intervals the mass matrix is
``M = M_1 (x) M_2 (x) ...``, so that ``S = S_1 (x) S_2 (x) ...`` is a square root of ``C``: every direction
has its own law and costs only solves in one dimension. The inverse of the prior precision
``lambda (kappa^2 M_t + K_t) (x) M_S (x) M_S`` of a weight field is of this form: Whittle-Matern with
``alpha = 1`` in the depth, white in the indices. Where an index is a set of points and no mesh, its
entries are independent: columns of a block over the depth, without a tensor product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.covariance import Covariance

Array = NDArray[np.float64]

_NEAR = 1e-9  # of the length of an axis: two coordinates are the same
_MASS = 1e-11  # relative difference of two products with the mass matrix


class TensorCovariance(Covariance):
    """``C = C_1 (x) ... (x) C_d`` on a product mesh.

    Args:
        V: Scalar Lagrange space on quadrilaterals or hexahedra.
        factors: A covariance for each coordinate, on an interval mesh of ``MPI.COMM_SELF`` whose space has
            the same nodes along that coordinate.

    Attributes:
        shape: Numbers of nodes along the coordinates.

    Raises:
        InputError: The mesh is no product of the intervals, or the factors are not serial ones.

    Collective: see :class:`Covariance`. Every rank holds all the rows of a block while it works on it.
    """

    def __init__(self, V: fem.FunctionSpace, factors: Sequence[Covariance]) -> None:
        super().__init__(V)
        self.factors = tuple(factors)
        d = int(V.mesh.topology.dim)
        if len(self.factors) != d or any(
            f.V.mesh.comm.size > 1 or f.V.mesh.topology.dim != 1 or f.V.dofmap.bs != 1
            for f in self.factors
        ):
            raise InputError(
                f"{len(self.factors)} factors were given, expected {d}: one for each coordinate, with a "
                "scalar space on an interval mesh of MPI.COMM_SELF"
            )
        nodes = [f.V.tabulate_dof_coordinates()[:, 0] for f in self.factors]
        self._orders = [np.argsort(x) for x in nodes]
        self.shape = tuple(x.size for x in nodes)
        self._place = self._places([np.sort(x) for x in nodes])
        # Rows of all ranks one after the other, and where each belongs.
        self._places_of_all = np.concatenate(V.mesh.comm.allgather(self._place))
        probe = np.cos(1.0 + 2.7 * self._place).reshape(-1, 1)
        expected, got = self._along(probe, [f.mass for f in self.factors]), self.mass(probe)
        wrong = float(np.abs(got - expected).max(initial=0.0)) > _MASS * float(
            np.abs(expected).max(initial=1e-300)
        )
        if V.mesh.comm.allreduce(wrong, op=MPI.LOR):
            raise InputError(
                "the mass matrix is not the product of those of the factors; take quadrilaterals or "
                "hexahedra, and the degree of the factors"
            )

    def apply(self, r: Array) -> Array:
        """``C r``; see :class:`Covariance`."""
        return self._along(r, [f.apply for f in self.factors])

    def apply_sqrt(self, b: Array) -> Array:
        """``S b``; see :class:`Covariance`."""
        return self._along(b, [f.apply_sqrt for f in self.factors])

    def trace(self) -> float:
        """Product of the traces."""
        return math.prod(f.trace() for f in self.factors)

    def variance(self) -> Array:
        """Product of the variances, (owned,)."""
        parts = [f.variance()[order] for f, order in zip(self.factors, self._orders, strict=True)]
        indices = np.unravel_index(self._place, self.shape)
        return np.prod([p[i] for p, i in zip(parts, indices, strict=True)], axis=0)

    def beta(self, d: int | None = None) -> float:
        """The number for the sum over products of modes; ``d`` is that of the mesh.

        With ``beta_i`` of the factors in one dimension: what the rough ones (``beta_i < 1``) lack adds up,
        ``1 - sum_i (1 - beta_i)^+``; without rough ones it is the least of them. Not collective.
        """
        numbers = [f.beta(1) for f in self.factors]
        rough = [1.0 - b for b in numbers if b < 1.0]
        return 1.0 - sum(rough) if rough else min(numbers)

    def _places(self, axes: list[Array]) -> NDArray[np.intp]:
        """Number of every owned dof in the product of the axes, the last coordinate fastest."""
        x = self.V.tabulate_dof_coordinates()[: self.blocks.owned]
        index, off = [], self.blocks.bs != 1 or self.blocks.size != math.prod(self.shape)
        for i, axis in enumerate(axes):
            found = np.clip(np.searchsorted(axis, x[:, i]), 1, axis.size - 1)
            found -= x[:, i] - axis[found - 1] < axis[found] - x[:, i]
            gap = float(np.abs(axis[found] - x[:, i]).max(initial=0.0))
            off = off or gap > _NEAR * float(np.ptp(axis))
            index.append(found)
        if self.V.mesh.comm.allreduce(bool(off), op=MPI.LOR):
            raise InputError(
                f"the {self.blocks.size} dofs of {self.V.ufl_element()} do not lie on the grid of "
                f"{' x '.join(str(n) for n in self.shape)} nodes of the factors, expected the same nodes "
                "along every coordinate"
            )
        return np.ravel_multi_index(index, self.shape)

    def _along(self, block: Array, operators: list[Callable[[Array], Array]]) -> Array:
        """Apply an operator along each coordinate. Collective."""
        grid = self._gathered(block).reshape(*self.shape, -1)
        for axis, (operator, order) in enumerate(zip(operators, self._orders, strict=True)):
            front = np.moveaxis(grid, axis, 0)
            rows = np.empty((front.shape[0], front[0].size))
            rows[order] = front.reshape(rows.shape)
            grid = np.moveaxis(operator(rows)[order].reshape(front.shape), 0, axis)
        return grid.reshape(-1, block.shape[1])[self._place]

    def _gathered(self, block: Array) -> Array:
        """The rows of all ranks, by place."""
        comm: Any = self.V.mesh.comm
        if comm.size == 1:
            everything = block
        else:
            everything = np.empty((self.blocks.size, block.shape[1]))
            counts = [n * block.shape[1] for n in comm.allgather(block.shape[0])]
            comm.Allgatherv(np.ascontiguousarray(block), (everything, counts))
        rows = np.empty_like(everything)
        rows[self._places_of_all] = everything
        return rows
