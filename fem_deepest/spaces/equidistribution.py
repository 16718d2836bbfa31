"""Depth meshes whose cells share a given error evenly: nodes placed anew, or cells halved.

An error of order ``p`` adds ``eta_i = c(t_i) h_i^{p+1}`` in a cell. Of all meshes with ``n`` cells the
one on which the integral of ``rho = c^{1/(p+1)}`` is the same in every cell has the least sum of these
(de Boor 1973, doi:10.1007/BFb0069279): about ``(int rho)^{p+1} / n^p``, where equal cells have
``T^p int c / n^p``.
"""

from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces.depth import DepthMesh

Array = NDArray[np.float64]

_FLOOR = 0.05  # part of the mean density that every depth has at least


def density(mesh: DepthMesh, eta: Array, order: int) -> Array:
    """``rho = |eta|^{1/(p+1)} / h`` in every cell, (n,): up to a factor the wanted cells a depth."""
    return np.asarray(np.abs(eta) ** (1.0 / (order + 1)) / mesh.steps)


def gain(mesh: DepthMesh, eta: Array, order: int) -> float:
    """How many times as many equal cells give the error of the best mesh, to leading order; at least 1."""
    rho, h = density(mesh, eta, order), mesh.steps
    total = np.sum(rho ** (order + 1) * h) * mesh.nodes[-1] ** order
    best = np.sum(rho * h) ** (order + 1)
    return float((total / best) ** (1.0 / order)) if best > 0.0 else 1.0


def equidistributed(mesh: DepthMesh, eta: Array, order: int, cells: int) -> DepthMesh:
    """Mesh of ``cells`` cells with equal integrals of the density, smoothed.

    The density is averaged with that of the neighbours, weighted by their lengths, and is nowhere less
    than a twentieth of its mean, so that no cell is longer than twenty mean ones. Without any error the
    mesh is uniform.

    Args:
        mesh: Mesh on which the error is known.
        eta: What its cells add, (n,), of either sign.
        order: ``p``.
        cells: Cells of the new mesh.

    Raises:
        InputError: Numbers that are not finite, or not one for each cell.

    Not collective.
    """
    _check(mesh, eta)
    h, rho = mesh.steps, density(mesh, eta, order)
    around_rho, around_h = np.pad(rho, 1, mode="edge"), np.pad(h, 1, mode="edge")
    length = around_h[:-2] + 2.0 * h + around_h[2:]
    rho = (around_h * around_rho)[:-2] + 2.0 * h * rho + (around_h * around_rho)[2:]
    rho /= length
    mean = np.sum(rho * h) / mesh.nodes[-1]
    rho = rho + _FLOOR * mean if mean > 0.0 else np.ones_like(rho)
    mass = np.concatenate([[0.0], np.cumsum(rho * h)])
    nodes = np.interp(np.linspace(0.0, mass[-1], cells + 1), mass, mesh.nodes)
    nodes[0], nodes[-1] = 0.0, mesh.nodes[-1]
    return DepthMesh(nodes)


def refined(mesh: DepthMesh, eta: Array, order: int, cells: int) -> DepthMesh:
    """Mesh of ``cells`` cells that contains ``mesh``: the cells of largest error are halved.

    A half is taken to add ``2^{-(p+1)}`` of what the whole did.

    Args:
        mesh: Mesh on which the error is known.
        eta: What its cells add, (n,), of either sign.
        order: ``p``.
        cells: Cells of the new mesh; at least those of ``mesh``.

    Raises:
        InputError: As :func:`equidistributed`, or fewer cells than there are.

    Not collective.
    """
    _check(mesh, eta)
    if cells < mesh.cells:
        raise InputError(f"a mesh of {mesh.cells} cells cannot be refined to {cells} cells")
    # Of equal errors the longest cell comes first, then the first one.
    nodes = [float(t) for t in mesh.nodes]
    heap = [(-abs(float(e)), a - b, a, b) for e, (a, b) in zip(eta, pairwise(nodes), strict=True)]
    heapq.heapify(heap)
    while len(heap) < cells:
        error, _, a, b = heapq.heappop(heap)
        error, middle = error / 2.0 ** (order + 1), 0.5 * (a + b)
        heapq.heappush(heap, (error, a - middle, a, middle))
        heapq.heappush(heap, (error, middle - b, middle, b))
    return DepthMesh(np.array([*sorted(a for _, _, a, _ in heap), mesh.nodes[-1]]))


def _check(mesh: DepthMesh, eta: Array) -> None:
    if eta.shape != (mesh.cells,) or not np.all(np.isfinite(eta)):
        raise InputError(
            f"errors of the cells have shape {eta.shape} or are not finite; expected {mesh.cells} numbers"
        )
