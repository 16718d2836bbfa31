"""Conjugate points: where neighbouring extremals through one start meet again (Jacobi).

A Jacobi field is a solution of the linearised Euler-Lagrange equations with ``dx(0) = 0``. The matrix
``dx(t)/dp(0)`` of the fields to unit momenta is singular at the points conjugate to ``t = 0``; an
extremal with clamped ends is a minimum only before the first of them, and its Morse index is the
number of conjugate points in ``(0, T)``, each with its multiplicity (Morse's index theorem; Gelfand
and Fomin, Calculus of Variations, 1963, sections 26-29; Milnor, Morse Theory, 1963, section 15).

The discrete action has its own Jacobi fields, so the theorem holds for it exactly. With the second
variation as a block-tridiagonal matrix ``H`` over the depth nodes (inner dofs of the cells are
eliminated)

    H_{i,i-1} dx_{i-1} + H_{i,i} dx_i + H_{i,i+1} dx_{i+1} = 0,    H_{01} dx_1 = -dp(0),

and the pivots ``S_i = H_ii - H_{i,i-1} S_{i-1}^{-1} H_{i-1,i} = -H_{i,i+1} dx_{i+1} dx_i^{-1}`` have as
many negative eigenvalues as there are conjugate points in the cell ``(t_i, t_{i+1})``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.sparse import coo_matrix

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.action import FormAction
from fem_deepest.errors import InputError, NumericalFailure

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Conjugates:
    """Conjugate points of an extremal.

    Attributes:
        depths: Depths of the nodes, (n + 1,).
        determinants: ``det(dx(t)/dp(0))`` at the nodes, (n + 1,).
        points: Conjugate points in (0, T), ascending, as often as their multiplicity.
    """

    depths: Array
    determinants: Array
    points: Array

    @property
    def index(self) -> int:
        """Morse index of the extremal with both ends clamped."""
        return self.points.size


def conjugate_points(action: FormAction, u: PETSc.Vec) -> Conjugates:
    """Points conjugate to the start along a stationary point.

    The ends are taken as clamped, whatever the end conditions of the action. The determinants have
    the order of the method at the nodes; a simple conjugate point is found by a cubic through four
    of them, a multiple one to second order.

    Args:
        action: Action on an interval, of unknowns that are all continuous.
        u: A stationary point.

    Raises:
        InputError: The mesh is not an interval, an unknown is constant, or no dof lies at the nodes.
        NumericalFailure: A cell is so long that it may hold conjugate points itself, or a
            conjugate point falls on a node.

    Collective; the same result on every rank.
    """
    if action.axis.domain.topology.dim != 1:
        raise InputError("conjugate points are defined along the depth alone; use an interval mesh")
    if action.constant:
        raise InputError("conjugate points are those of paths; fix the unknown constants first")
    depths, diagonal, off = _tridiagonal(*_gathered(action, u))
    try:
        determinants = _determinants(diagonal, off)
        points = _points(depths, determinants, diagonal, off)
    except np.linalg.LinAlgError:
        raise NumericalFailure(
            "a conjugate point falls on a node of the mesh; take another number of cells"
        ) from None
    return Conjugates(depths, determinants, points)


def _gathered(action: FormAction, u: PETSc.Vec) -> tuple[coo_matrix, Array, Array]:
    """The whole second variation, the depth of every dof, and the nodes, on every rank."""
    matrix, comm = action.natural(u), action.comm
    pointer, columns, values = matrix.getValuesCSR()
    rows = np.repeat(np.arange(*matrix.getOwnershipRange()), np.diff(pointer))
    triplets = [np.concatenate(comm.allgather(part)) for part in (values, rows, columns)]
    whole = coo_matrix((triplets[0], (triplets[1], triplets[2])), shape=matrix.getSize())
    own = np.empty(matrix.getLocalSize()[0])
    for part in action.space.parts:
        inside = part.dofs < own.size
        own[part.dofs[inside]] = part.space.tabulate_dof_coordinates()[inside, 0]
    depth = np.concatenate(comm.allgather(own))
    # Ranks share nodes, whose coordinates are copies of each other.
    nodes = np.unique(np.concatenate(comm.allgather(action.axis.domain.geometry.x[:, 0])))
    return whole, depth, nodes


def _tridiagonal(whole: coo_matrix, depth: Array, nodes: Array) -> tuple[Array, Array, Array]:
    """Nodes, diagonal blocks (n + 1, D, D) and blocks ``H_{i,i+1}`` (n, D, D)."""
    cells = nodes.size - 1
    near = 1e-9 * (nodes[-1] - nodes[0])
    place = np.clip(np.searchsorted(nodes, depth - near), 0, cells)
    at_node = np.abs(depth - nodes[place]) <= near
    ends, end_number, size = _numbered(np.where(at_node, place, -1), cells + 1)
    inner, inner_number, middle = _numbered(np.where(at_node, -1, place - 1), cells)
    if size == 0 or not (ends and inner):
        raise InputError("no dof lies at the depth nodes; use continuous (Lagrange) elements")
    diagonal, off = np.zeros((cells + 1, size, size)), np.zeros((cells, size, size))
    block = np.zeros((cells, middle, middle))
    coupling = np.zeros((cells, 2, size, middle))
    r, c, value = whole.row, whole.col, whole.data
    i, j = place[r], place[c]

    def put(target: Array, chosen: NDArray[np.bool_], *index: NDArray[np.int64]) -> None:
        np.add.at(target, tuple(k[chosen] for k in index), value[chosen])

    nodal, row, column = at_node[r] & at_node[c], end_number[r], end_number[c]
    put(diagonal, nodal & (i == j), i, row, column)
    put(off, nodal & (j == i + 1), i, row, column)
    if middle:
        put(block, ~at_node[r] & ~at_node[c], i - 1, inner_number[r], inner_number[c])
        mixed = at_node[r] & ~at_node[c]  # the cell of an inner dof is its place - 1
        put(coupling, mixed, j - 1, i - j + 1, row, inner_number[c])
        if np.linalg.eigvalsh(block)[:, 0].min() <= 0.0:
            raise NumericalFailure(
                "the second variation is not positive within one cell, so a conjugate point may hide "
                "there; take more cells"
            )
        both = coupling.reshape(cells, 2 * size, middle)
        reduced = both @ np.linalg.solve(block, both.transpose(0, 2, 1))
        diagonal[:-1] -= reduced[:, :size, :size]
        diagonal[1:] -= reduced[:, size:, size:]
        off -= reduced[:, :size, size:]
    return nodes, diagonal, off


def _numbered(group: NDArray[np.int64], groups: int) -> tuple[bool, NDArray[np.int64], int]:
    """Whether all groups are of one size, the number of everything in its group, and the size."""
    members = np.flatnonzero(group >= 0)
    order = members[np.argsort(group[members], kind="stable")]
    sizes = np.bincount(group[members], minlength=groups)
    number = np.zeros(group.size, dtype=np.int64)
    number[order] = np.arange(order.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return bool((sizes == sizes[0]).all()), number, int(sizes[0])


def _determinants(diagonal: Array, off: Array) -> Array:
    """``det(dx_i/dp(0))`` by the three-term recurrence."""
    cells, size = off.shape[:2]
    before, now, logarithm = np.zeros((size, size)), -np.linalg.inv(off[0]), 0.0
    determinants = np.zeros(cells + 1)
    for i in range(1, cells + 1):
        sign, log = np.linalg.slogdet(now)
        determinants[i] = sign * np.exp(min(log + size * logarithm, 700.0))
        if i < cells:
            after = -np.linalg.solve(off[i], diagonal[i] @ now + off[i - 1].T @ before)
            scale = np.abs(after).max()
            before, now, logarithm = now / scale, after / scale, logarithm + np.log(scale)
    return determinants


def _points(depths: Array, determinants: Array, diagonal: Array, off: Array) -> Array:
    """Zeros of the determinant, counted by the negative eigenvalues of the pivots."""
    cells, found, pivot = off.shape[0], list[float](), diagonal[1]
    for i in range(1, cells):
        # In the cell dx(t) is nearly (1 - c) dx_i + c dx_{i+1}, and dx_{i+1} = ratio dx_i.
        ratios = np.linalg.eigvals(-np.linalg.solve(off[i], pivot)).real
        count = int(np.sum(np.linalg.eigvalsh(0.5 * (pivot + pivot.T)) < 0.0))
        lowest = np.sort(ratios)[:count]
        places = np.sort(depths[i] + (depths[i + 1] - depths[i]) / (1.0 - lowest))
        if count == 1 and determinants[i] * determinants[i + 1] < 0.0 and cells >= 3:
            first = min(max(i - 1, 0), cells - 3)
            places = np.array([_cubic_zero(depths, determinants, first, i)])
        found.extend(float(place) for place in places)
        if i < cells - 1:
            pivot = diagonal[i + 1] - off[i].T @ np.linalg.solve(pivot, off[i])
    return np.array(found)


def _cubic_zero(t: Array, values: Array, first: int, cell: int) -> float:
    """Zero in a cell of the cubic through four nodes."""
    four = slice(first, first + 4)
    h = t[cell + 1] - t[cell]
    coefficients = np.polyfit((t[four] - t[cell]) / h, values[four] / np.abs(values[four]).max(), 3)
    if np.polyval(coefficients, 0.0) * np.polyval(coefficients, 1.0) > 0.0:
        return float(t[cell] + h * values[cell] / (values[cell] - values[cell + 1]))
    return float(t[cell] + h * brentq(lambda c: np.polyval(coefficients, c), 0.0, 1.0))
