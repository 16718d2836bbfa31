"""Prolongation of a control to another level, in depth and along the neuron index, by FE interpolation."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest._petsc import PETSc
from fem_deepest.spaces.control import ControlSpace, Parameters
from fem_deepest.spaces.depth import DepthMesh

Array = NDArray[np.float64]


def prolong(
    coarse: ControlSpace,
    fine: ControlSpace,
    source: DepthMesh,
    target: DepthMesh,
    u: PETSc.Vec,
    *,
    states: sparse.csr_matrix | None = None,
    rows: sparse.csr_matrix | None = None,
    columns: sparse.csr_matrix | None = None,
) -> PETSc.Vec:
    """New vector of ``fine``: the same functions, in depth the weight field in P1, the forcing in P0.

    With the interpolation ``P`` of states along the index, ``x -> P x``, a kernel is ``P w P^T``, a
    bias ``P b``, the readout ``C P^T`` (a function of the index, ``y = int C x ds``), lift and
    forcings ``P E`` and ``P xi``. Exact where the spaces are nested. The metric's inner products of
    parameters are kept if the mass is consistent too, those of P0 for ``ell = 0``: jumps grow dearer
    with refinement. Those of forcings, whose mass is lumped, are kept for P0, and so are those of all
    where the depth alone is refined.

    Args:
        coarse: Space of ``u``.
        fine: Space of the result.
        source: Depth mesh of ``coarse``.
        target: Depth mesh of ``fine``.
        u: Control.
        states: ``P``, (N_f, N_c); none where the index stays as it is.
        rows: The same for the rows of the parameters of the coupling.
        columns: The same for their columns.

    Collective.
    """
    result = fine.create()
    old, new = u.array_r, result.array_w
    if coarse.grid.owner:
        a, b = coarse.parameters(old), fine.parameters(new)
        found = prolong_parameters(a, source, target, states=states, rows=rows, columns=columns)
        b.theta[...], b.readout[...], b.lift[...] = found.theta, found.readout, found.lift
    cell, _ = source.interpolation(0.5 * (target.nodes[:-1] + target.nodes[1:]))
    for tile in range(len(coarse.tiles)):
        (a0, a_xi), (b0, b_xi) = coarse.forcing(old, tile), fine.forcing(new, tile)
        if b0.size:
            b0[...] = along(states, a0, 0)
        if b_xi.size:
            np.take(along(states, a_xi, 1), cell, axis=0, out=b_xi)
    return result


def prolong_parameters(
    parameters: Parameters,
    source: DepthMesh,
    target: DepthMesh,
    *,
    states: sparse.csr_matrix | None = None,
    rows: sparse.csr_matrix | None = None,
    columns: sparse.csr_matrix | None = None,
) -> Parameters:
    """The parameters alone, see :func:`prolong`. Not collective."""
    theta = source.prolong(target, parameters.theta)
    return Parameters(
        along(columns, along(rows, theta, 1), 2),
        along(with_constant(states), parameters.readout, 1),
        along(states, parameters.lift, 0),
    )


def along(matrix: sparse.csr_matrix | None, values: Array, axis: int) -> Array:
    """A sparse matrix applied along one axis; without one the values as they are."""
    if matrix is None:
        return values
    moved = np.moveaxis(values, axis, 0)
    image = matrix @ moved.reshape(moved.shape[0], prod(moved.shape[1:]))
    return np.moveaxis(image.reshape(matrix.shape[0], *moved.shape[1:]), 0, axis)


def with_constant(states: sparse.csr_matrix | None) -> sparse.csr_matrix | None:
    """``P`` for columns ``[w | b]``, the last of which stays by itself."""
    return None if states is None else sparse.block_diag([states, sparse.identity(1)], format="csr")
