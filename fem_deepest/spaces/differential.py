"""Differential operators ``D_m`` between the node values of fields over the neuron index.

The assembled form divided by the lumped mass, with the natural boundary condition:

    1:        (D u)_i = u_i
    grad:     (D_k u)_i = (1/m_i) int phi_i d_k u
    laplace:  (D u)_i = -(1/m_i) int grad phi_i . grad u
    hessian:  (D_kl u)_i = -(1/(2 m_i)) int (d_k phi_i d_l u + d_l phi_i d_k u),   k <= l

so that ``D_11 + D_22`` of the last is the third. Nothing here is collective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ufl
from scipy import sparse

from fem_deepest.errors import InputError

if TYPE_CHECKING:
    from fem_deepest.spaces.index_space import IndexSpace

OPERATORS = ("1", "grad", "laplace", "hessian")


def operator(space: IndexSpace, name: str) -> list[sparse.csr_matrix]:
    """The matrices (nodes, nodes) of an operator: one for each of its components.

    Args:
        space: Neuron index.
        name: One of :data:`OPERATORS`.

    Raises:
        InputError: There is no such operator, or the elements have no gradients to integrate.
    """
    if name not in OPERATORS:
        raise InputError(f"unknown operator '{name}', expected one of {', '.join(OPERATORS)}")
    if name == "1":
        return [sparse.identity(space.nodes, format="csr")]
    if space.is_points or space.element == "P0":
        where = "points" if space.is_points else "P0"
        raise InputError(
            f"the operator '{name}' was asked for on {where}, which has no gradients; take P1 on an "
            "interval, a rectangle or a mesh as neuron index"
        )
    field, directions = space.field, range(space.dimension)
    u, v = ufl.TrialFunction(field.V), ufl.TestFunction(field.V)
    if name == "grad":
        forms = [v * u.dx(k) * ufl.dx for k in directions]
    elif name == "laplace":
        return [_divided(space, -field.stiffness)]
    else:
        forms = [
            -0.5 * (v.dx(k) * u.dx(j) + v.dx(j) * u.dx(k)) * ufl.dx
            for k in directions
            for j in directions
            if k <= j
        ]
    return [_divided(space, field.matrix(form)) for form in forms]


def _divided(space: IndexSpace, matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.csr_matrix(sparse.diags(1.0 / space.node_weights) @ matrix)
