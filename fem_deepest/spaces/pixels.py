"""Pixels: how the values of an image, or of a sampled function, enter the neuron index and leave it.

A datum of ``d`` numbers is the piecewise constant function on ``d`` equal cells of the box around the
index that has these *cell means*. With the integrals ``B_pi = int_{pixel p} phi_i``, exact for
straight-sided cells (parallelograms among quadrilaterals), and the measures ``|p|`` of the pixels inside
the index,

    enter = M_S^{-1} B^T   (projection in M_S),      leave = diag(1/|p|) B   (cell means),

adjoint in the inner products of the index and of the pixels. The functional ``leave`` of a field is the
same number on every refinement whose space holds the field: the data of a network do not know its
width. Collective on the ranks of an index that is spread over some; else nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.errors import InputError
from fem_deepest.spaces.overlap import overlaps

if TYPE_CHECKING:
    from fem_deepest.spaces.index_space import IndexSpace

Array = NDArray[np.float64]

_LOST = 1e-9  # of its measure: a pixel with less inside of the index is outside


def integrals(space: IndexSpace, shape: Sequence[int]) -> sparse.csr_matrix:
    """``B_pi = int_{pixel p} phi_i``, (d, nodes); pixels row by row, the first row at the top.

    Args:
        space: Neuron index with a geometry.
        shape: Pixels down and across, or cells along a line.

    Raises:
        InputError: The index has another dimension, or a pixel lies outside of it.
    """
    counts = [int(count) for count in shape]
    what = " x ".join(map(str, counts))
    if space.is_points or space.dimension != len(counts) or min(counts) < 1:
        where = "points" if space.is_points else f"a neuron index in {space.dimension}D"
        raise InputError(
            f"data of shape {what} were given for {where}, expected a neuron index in {len(counts)}D; "
            + ("take index = 'interval'" if len(counts) == 1 else "take index = 'rectangle'")
            + " or a mesh of that dimension"
        )
    field = space.field
    low, high = field.box
    pieces = overlaps(field.domain, low, high - low, counts, field.degree)
    own = pieces[0] < field.cells
    cells, pixels = pieces[0][own], pieces[1][own]
    points, weights = pieces[2][own], pieces[3][own]
    values = weights[:, None] * field.tabulate(points, cells)
    rows = np.broadcast_to(pixels[:, None], values.shape)
    d = int(np.prod(counts))
    entries = values.ravel(), (rows.ravel(), field.cell_nodes[cells].ravel())
    B = field.completed(sparse.csr_matrix(entries, shape=(d, field.cell_nodes.max() + 1)))
    sums = np.bincount(pixels, weights, minlength=d).astype(np.float64)
    inside = field.summed(sums) * d / np.prod(high - low)
    lost = np.flatnonzero(inside < _LOST)
    if lost.size:
        place = np.unravel_index(lost[0], counts)
        raise InputError(
            f"{lost.size} of the {what} pixels lie outside of the mesh of the neuron index, the first in "
            f"row {place[0] + 1}{f', column {place[1] + 1}' if len(counts) == 2 else ''}; give a mesh "
            "that meets every pixel of the box around it, or fewer pixels"
        )
    return B


def enter(space: IndexSpace, shape: Sequence[int]) -> Array:
    """The projection (N, d) of cell means to channel 0, see the module."""
    B = integrals(space, shape)
    one = space.factor.parts[0].solve_mass(B.toarray().T, 0)
    return np.concatenate([one, np.zeros((space.neurons - space.nodes, one.shape[1]))])


def leave(space: IndexSpace, shape: Sequence[int]) -> Array:
    """The cell means (d, N) of channel 0, see the module."""
    B = integrals(space, shape)
    one = B.toarray() / space.field.summed(np.asarray(B.sum(axis=1)))
    return np.concatenate([one, np.zeros((one.shape[0], space.neurons - space.nodes))], axis=1)
