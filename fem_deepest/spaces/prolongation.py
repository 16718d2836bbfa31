"""Prolongation of a control to another depth mesh by FE interpolation."""

from __future__ import annotations

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.spaces.control import ControlSpace
from fem_deepest.spaces.depth import DepthMesh


def prolong(
    coarse: ControlSpace, fine: ControlSpace, source: DepthMesh, target: DepthMesh, u: PETSc.Vec
) -> PETSc.Vec:
    """New vector of ``fine``: the weight field interpolated in P1, the forcing in P0, the rest kept.

    Exact, and the metric's inner products are kept, when the meshes are nested.

    Args:
        coarse: Space of ``u``.
        fine: Space of the result.
        source: Depth mesh of ``coarse``.
        target: Depth mesh of ``fine``.
        u: Control.

    Collective.
    """
    result = fine.create()
    old, new = u.array_r, result.array_w
    if coarse.grid.owner:
        a, b = coarse.parameters(old), fine.parameters(new)
        b.theta[...] = source.prolong(target, a.theta)
        b.readout[...] = a.readout
        b.lift[...] = a.lift
    cell, _ = source.interpolation(0.5 * (target.nodes[:-1] + target.nodes[1:]))
    for tile in range(len(coarse.tiles)):
        (a0, a_xi), (b0, b_xi) = coarse.forcing(old, tile), fine.forcing(new, tile)
        b0[...] = a0
        if a_xi.size:
            np.take(a_xi, cell, axis=0, out=b_xi)
    return result
