"""Covariances given by a kernel ``c(x, y)``: low-rank factor by pivoted Cholesky.

The coefficients of the field are ``N(0, c(x_i, x_j))``, ``x_i`` the points of the dofs. The pivoted
Cholesky factorisation (Harbrecht, Peters, Schneider 2012, doi:10.1016/j.apnum.2011.10.001) looks at the
diagonal and at one row of that matrix for each mode, never at the whole, and stops when the variance
that is left over, summed over the dofs, is a small part of the sum of all. Smooth kernels need few modes
at any mesh; a rough kernel such as ``exp(-r)`` needs nearly as many as there are dofs, and is refused when
its factor gets too big.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.lowrank import LowRank

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]

_PROBES = 100  # points at which symmetry is tested
_ASYMMETRY = 1e-10  # of the greatest variance
_TIE = 1e-8  # pivots closer than this, relatively, are told apart by their places
_GIBIBYTE = 2.0**30


class KernelCovariance(LowRank):
    """Field with covariance ``c(x, y)`` between dofs.

    Args:
        V: Scalar Lagrange space.
        kernel: ``c``: points (m, 3) and (n, 3) to values (m, n).
        tolerance: Part of the total variance that may be left out. The variance of no dof is wrong by
            more than ``tolerance`` times the sum of all variances.
        memory: Size up to which a factor is made, over all ranks, GiB.
        beta: Regularity number; one holds for every continuous kernel (Mercer).

    Attributes:
        modes: Columns of the factor.

    Raises:
        InputError: The kernel is not symmetric, not positive semidefinite, not finite or of the wrong
            shape, its factor is too big, or the space is not a scalar Lagrange space.

    Collective: see :class:`Covariance`.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        kernel: Kernel,
        *,
        tolerance: float = 1e-12,
        memory: float = 1.0,
        beta: float = 1.0,
    ) -> None:
        _check_space(V)
        if not 0.0 < tolerance < 1.0:
            raise InputError(
                f"tolerance {tolerance:g} was given, expected a number between 0 and 1"
            )
        factor = _pivoted_cholesky(V, kernel, tolerance, memory)
        self.modes = factor.shape[1]
        super().__init__(V, factor, beta)

    @property
    def trace_class(self) -> bool:
        """See :class:`Covariance`; a continuous kernel is (Mercer)."""
        return self.beta() >= 1.0


def _check_space(V: fem.FunctionSpace) -> None:
    element = V.ufl_element()
    if (
        V.dofmap.bs != 1
        or V.num_sub_spaces
        or getattr(element, "family_name", "") not in ("P", "Q")
    ):
        raise InputError(
            f"a kernel was given on the space {element}, expected a scalar Lagrange space, whose dofs are "
            "values at points"
        )


def _pivoted_cholesky(
    V: fem.FunctionSpace, kernel: Kernel, tolerance: float, memory: float
) -> Array:
    comm = V.mesh.comm
    count = V.dofmap.index_map.size_local
    points = V.tabulate_dof_coordinates()[:count].copy()
    every = np.concatenate(comm.allgather(points))
    # The same order of the points on any number of ranks.
    every = every[np.lexsort(np.round(every, 12).T)]
    _check_symmetry(
        kernel, every[np.linspace(0, len(every) - 1, min(_PROBES, len(every)), dtype=int)]
    )
    left = _diagonal(kernel, points)
    if comm.allreduce(bool((~np.isfinite(left) | (left < 0.0)).any()), op=MPI.LOR):
        raise InputError(
            "the kernel has a negative or infinite variance c(x, x), expected a positive one"
        )
    total = comm.allreduce(float(left.sum()))
    greatest = comm.allreduce(float(left.max(initial=0.0)), op=MPI.MAX)
    most = max(1, int(memory * _GIBIBYTE / (8.0 * len(every))))
    factor = np.empty((count, min(64, most)))
    modes, rest = 0, total
    while rest > tolerance * total:
        if modes == min(most, len(every)):
            break
        if modes == factor.shape[1]:
            factor = np.concatenate([factor, np.empty((count, min(modes, most - modes)))], axis=1)
        pivot, place, row = _greatest(comm, points, left, factor[:, :modes])
        column = _values(kernel, points, place[None])[:, 0] - factor[:, :modes] @ row
        factor[:, modes] = column / np.sqrt(pivot)
        left -= factor[:, modes] ** 2
        modes += 1
        lowest = comm.allreduce(float(left.min(initial=0.0)), op=MPI.MIN)
        if lowest < -_ASYMMETRY * greatest * len(every) ** 0.5:
            raise InputError(
                f"the kernel is not positive semidefinite: given {modes} values of the field the variance "
                f"of another is {lowest:.3g}; expected a covariance function"
            )
        np.maximum(left, 0.0, out=left)
        rest = comm.allreduce(float(left.sum()))
    if rest > tolerance * total and modes < len(every):
        raise InputError(
            f"the kernel needs more than {modes} modes on {len(every)} dofs, a factor of more than "
            f"{memory:g} GiB, for a tolerance of {tolerance:g}; raise one of the two, coarsen the mesh, "
            "or use a Whittle-Matern covariance"
        )
    return factor[:, :modes].copy()


def _greatest(
    comm: MPI.Intracomm, points: Array, left: Array, factor: Array
) -> tuple[float, Array, Array]:
    """Greatest variance left, its point and the row of the factor there, the same on all ranks."""
    top = comm.allreduce(float(left.max(initial=-np.inf)), op=MPI.MAX)
    near = np.flatnonzero(left >= (1.0 - _TIE) * top)
    first = None
    if near.size:
        chosen = near[np.lexsort(np.round(points[near], 12).T)[0]]
        first = (tuple(np.round(points[chosen][::-1], 12)), comm.rank)
    candidates = [c for c in comm.allgather(first) if c is not None]
    owner = min(candidates)[1]
    mine = (float(left[chosen]), points[chosen], factor[chosen]) if comm.rank == owner else None
    pivot, place, row = comm.bcast(mine, root=owner)
    return pivot, place, row


def _check_symmetry(kernel: Kernel, probes: Array) -> None:
    values = _values(kernel, probes, probes)
    if not np.isfinite(values).all():
        raise InputError("the kernel is not finite at some points, expected finite values")
    gap = np.abs(values - values.T)
    if gap.max() > _ASYMMETRY * np.abs(values).max():
        i, j = np.unravel_index(gap.argmax(), gap.shape)
        raise InputError(
            f"the kernel is not symmetric: c(x, y) = {values[i, j]:.6g} but c(y, x) = {values[j, i]:.6g} "
            f"at x = {probes[i]}, y = {probes[j]}; expected a covariance function"
        )


def _values(kernel: Kernel, x: Array, y: Array) -> Array:
    values = np.asarray(kernel(x, y), dtype=np.float64)
    if values.shape != (len(x), len(y)):
        raise InputError(
            f"the kernel returned an array of shape {values.shape} for {len(x)} and {len(y)} points, "
            f"expected ({len(x)}, {len(y)}): one row for each first point"
        )
    return values


def _diagonal(kernel: Kernel, points: Array) -> Array:
    """``c(x, x)`` at points, in square pieces so that the kernel is called seldom."""
    piece = 32
    parts = [
        np.diagonal(_values(kernel, points[i : i + piece], points[i : i + piece]))
        for i in range(0, len(points), piece)
    ]
    return np.concatenate(parts) if parts else np.empty(0)
