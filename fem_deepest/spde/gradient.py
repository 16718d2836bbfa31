"""Gradients of finite-element functions at quadrature points, as matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest._compat import geometry_dofmap
from fem_deepest.spaces.quadrature import Quadrature, rule

Array = NDArray[np.float64]


def gradient_matrices(points: Quadrature) -> list[sparse.csr_matrix]:
    """``D_i`` with ``(D_i u)_q = (du/dx_i)(x_q)``, one for each coordinate, (points, local dofs).

    On a mesh of lower dimension than its space it is the tangential gradient.

    Args:
        points: Points of a scalar space in the rule's own order.

    Not collective.
    """
    V, domain = points.V, points.V.mesh
    X, _ = rule(domain.topology.cell_name(), points.degree)
    dofs = V.dofmap.list[: points.points // len(X)]
    table = V.ufl_element().basix_element.tabulate(1, X)[1:, :, :, 0]
    shapes = domain.ufl_domain().ufl_coordinate_element().basix_element.tabulate(1, X)[1:, :, :, 0]
    corners = domain.geometry.x[geometry_dofmap(domain)[: len(dofs)], : domain.geometry.dim]
    J = np.einsum("iqa,cax->cqxi", shapes, corners)
    pull = J @ np.linalg.inv(np.swapaxes(J, -1, -2) @ J)
    slopes = np.einsum("cqxi,iqa->xcqa", pull, table)
    columns = np.broadcast_to(dofs[:, None, :], slopes.shape[1:]).ravel()
    rows = np.arange(points.points + 1, dtype=np.int64) * dofs.shape[1]
    shape = (points.points, points.blocks.local)
    return [sparse.csr_matrix((slope.ravel(), columns, rows), shape) for slope in slopes]
