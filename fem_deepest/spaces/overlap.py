"""Where the cells of a mesh and the pixels of a grid overlap, with exact quadrature on the pieces.

Cells are cut by the four sides of a pixel one after the other, all pairs at once (Sutherland, Hodgman
1974, doi:10.1145/360767.360802); a piece is a convex polygon, a fan of triangles. Not collective.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import basix
import numpy as np
from numpy.typing import NDArray

from fem_deepest import _compat

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_AROUND = {3: [0, 1, 2], 4: [0, 1, 3, 2]}  # DOLFINx numbers quadrilaterals like a tensor product


def overlaps(
    domain: Any, low: Array, size: Array, counts: Sequence[int], degree: int
) -> tuple[NDArray[np.int32], Integers, Array, Array]:
    """Quadrature points of the pieces, exact for polynomials that a field has on a cell.

    Args:
        domain: Mesh of intervals on the line, or of triangles or quadrilaterals in the plane.
        low: Lower left corner of the grid, (d,).
        size: Its width and height, (d,).
        counts: Pixels down and across, or along the line.
        degree: Of the field.

    Returns:
        Cells, pixels (numbered row by row from the top), points (m, d) and weights, (m,) each.
    """
    corners = domain.geometry.x[_compat.geometry_dofmap(domain), : len(counts)]
    if len(counts) == 1:
        return _on_line(corners[:, :, 0], low[0], size[0], counts[0], degree)
    polygons = corners[:, _AROUND[corners.shape[1]]]
    down, across = counts
    step = size / np.array([across, down])
    # Pixels in grid coordinates are unit squares.
    grid = (polygons - low) / step
    first = np.clip(np.floor(grid.min(axis=1)), 0, [across - 1, down - 1]).astype(np.int64)
    last = np.clip(np.ceil(grid.max(axis=1)), 1, [across, down]).astype(np.int64)
    each = last - first
    cell = np.repeat(np.arange(len(grid)), each.prod(axis=1))
    inner = np.arange(cell.size) - np.repeat(np.cumsum(each.prod(axis=1)), each.prod(axis=1))
    inner += each.prod(axis=1)[cell]
    column = first[cell, 0] + inner % each[cell, 0]
    row = first[cell, 1] + inner // each[cell, 0]
    pieces: Array = grid[cell]
    sides: Integers = np.full(cell.size, grid.shape[1])
    for axis, at in ((0, column), (1, row)):
        pieces, sides = _cut(pieces, sides, axis, at.astype(np.float64), 1.0)
        pieces, sides = _cut(pieces, sides, axis, at + 1.0, -1.0)
    # A field on a quadrilateral has this degree in each coordinate.
    rule = degree * (2 if grid.shape[1] == 4 else 1)
    x, w = map(np.asarray, basix.make_quadrature(basix.CellType.triangle, max(rule, 1)))
    owner, points, weights = [], [], []
    for k in range(1, pieces.shape[1] - 1):
        some = np.flatnonzero(sides > k + 1)
        a = pieces[some, 0]
        b, c = pieces[some, k] - a, pieces[some, k + 1] - a
        area = np.abs(b[:, 0] * c[:, 1] - b[:, 1] * c[:, 0])
        some, a, b, c, area = (v[area > 0.0] for v in (some, a, b, c, area))
        owner.append(np.repeat(some, w.size))
        points.append((a[:, None] + x[:, :1] * b[:, None] + x[:, 1:] * c[:, None]).reshape(-1, 2))
        weights.append((area[:, None] * w).ravel())
    of = np.concatenate(owner)
    pixel = (down - 1 - row) * across + column
    return (
        cell[of].astype(np.int32),
        pixel[of],
        low + np.concatenate(points) * step,
        np.concatenate(weights) * step.prod(),
    )


def _on_line(
    ends: Array, low: float, size: float, count: int, degree: int
) -> tuple[NDArray[np.int32], Integers, Array, Array]:
    grid = np.sort((ends - low) * (count / size), axis=1)
    first = np.clip(np.floor(grid[:, 0]), 0, count - 1).astype(np.int64)
    each = np.clip(np.ceil(grid[:, 1]), 1, count).astype(np.int64) - first
    cell = np.repeat(np.arange(len(grid)), each)
    pixel = first[cell] + np.arange(cell.size) - np.repeat(np.cumsum(each) - each, each)
    a, b = np.maximum(grid[cell, 0], pixel), np.minimum(grid[cell, 1], pixel + 1.0)
    some = b > a
    cell, pixel, a, b = cell[some], pixel[some], a[some], b[some]
    x, w = np.polynomial.legendre.leggauss(degree // 2 + 1)
    points = a[:, None] + (b - a)[:, None] * (0.5 + 0.5 * x)
    weights = (b - a)[:, None] * (0.5 * w)
    return (
        np.repeat(cell, x.size).astype(np.int32),
        np.repeat(pixel, x.size),
        low + points.reshape(-1, 1) * (size / count),
        weights.ravel() * (size / count),
    )


def _cut(
    polygons: Array, sides: Integers, axis: int, at: Array, sign: float
) -> tuple[Array, Integers]:
    """Parts of convex polygons with ``sign (x_axis - at) >= 0``: one vertex more at most.

    Args:
        polygons: (n, most sides, 2); rows behind the number of sides mean nothing.
        sides: Number of sides of each, (n,).
        axis: Coordinate.
        at: Place of the cut, (n,).
        sign: 1 keeps what is above, -1 what is below.
    """
    n, most = polygons.shape[:2]
    valid = np.arange(most) < sides[:, None]
    after = np.where(np.arange(1, most + 1) < sides[:, None], np.arange(1, most + 1), 0)
    b = np.take_along_axis(polygons, after[:, :, None], axis=1)
    here = sign * (polygons[:, :, axis] - at[:, None])
    there = np.take_along_axis(here, after, axis=1)
    crosses = valid & (here * there < 0.0)
    share = np.where(crosses, here, 0.0) / np.where(crosses, here - there, 1.0)
    cut = polygons + share[:, :, None] * (b - polygons)
    # Every side gives its first vertex, if that is kept, and then the crossing, if there is one.
    keep = np.stack([valid & (here >= 0.0), crosses], axis=2).reshape(n, -1)
    vertices = np.stack([polygons, cut], axis=2).reshape(n, 2 * most, 2)
    order = np.argsort(~keep, axis=1, kind="stable")[:, : most + 1]
    return np.take_along_axis(vertices, order[:, :, None], axis=1), keep.sum(axis=1)
