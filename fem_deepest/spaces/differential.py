"""Differential operators ``D_m`` between the node values of fields over the neuron index.

The assembled form divided by the lumped mass ``m_i = int phi_i``, that is, averages by hat functions:

    1:        (D u)_i = u_i
    grad:     (D_k u)_i = (1/m_i) int phi_i d_k u
    laplace:  (D u)_i = -(1/m_i) int grad phi_i . grad u
    hessian:  (D_kl u)_i = -(1/(2 m_i)) int (d_k phi_i d_l u + d_l phi_i d_k u),   k <= l

Inside a uniform mesh these are central differences. At the boundary ``laplace`` and the pure second
derivatives have the natural condition ``du/dn = 0``, so that ``M laplace`` is symmetric and never
positive, and ``D_11 + D_22`` of the last is the third; the mixed derivative has the boundary integral
``(1/(2 m_i)) int phi_i (n_k d_l u + n_l d_k u)`` in addition, without which the tangential derivative
would leave a term of size ``1/h``. Nothing here is collective.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np
import ufl
from scipy import sparse

from fem_deepest.errors import InputError

if TYPE_CHECKING:
    from fem_deepest.spaces.index_space import IndexSpace

_ROUNDING = 1e-12

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
    sums = np.asarray(field.mass.sum(axis=1)).ravel()
    if not np.allclose(sums, space.node_weights, rtol=_ROUNDING, atol=0.0):
        raise InputError(
            f"the operator '{name}' was asked for on {space.element}, whose basis functions on these "
            "cells have integrals that are not positive; take P1"
        )
    u, v = ufl.TrialFunction(field.V), ufl.TestFunction(field.V)
    if name == "grad":
        forms = [v * u.dx(k) * ufl.dx for k in directions]
    elif name == "laplace":
        return [_divided(space, -field.stiffness)]
    else:
        normal, forms = ufl.FacetNormal(field.domain), []
        for k, j in combinations_with_replacement(directions, 2):
            form = -0.5 * (v.dx(k) * u.dx(j) + v.dx(j) * u.dx(k)) * ufl.dx
            if j != k:
                form += 0.5 * v * (normal[k] * u.dx(j) + normal[j] * u.dx(k)) * ufl.ds
            forms.append(form)
    return [_divided(space, field.matrix(form)) for form in forms]


def _divided(space: IndexSpace, matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.csr_matrix(sparse.diags(1.0 / space.node_weights) @ matrix)
