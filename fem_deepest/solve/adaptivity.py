"""Where in the depth the action is not yet that of the continuous network.

The discrete action ``A_h`` errs in three ways, all known cell by cell once the states and their
sensitivities are.

* The **scheme** takes ``x_i`` to ``x_{i+1} = psi_h(x_i)``, where the flow goes elsewhere. What that does
  to the loss is told by the sensitivity ``q`` (the dual weight of Becker, Rannacher 2001,
  doi:10.1017/S0962492901000010), the flow itself by two half steps (Richardson; order ``p``):

      eta_i = -(1/K) sum_k q_{i+1} . ( psi_{h/2} psi_{h/2} x_i - psi_h x_i ) / (1 - 2^{-p}).

* The **weights** are sought among piecewise linear ones. As ``u_h`` is stationary there, ``A`` at its
  minimiser is lower only by the energy of what is missing, in the metric (Becker, Kapp, Rannacher 2000,
  doi:10.1137/S0363012999351097), and that is the error of interpolation:

      eta_i = lambda/2 int |(w - I_h w)'|^2 = lambda h_i^3/24 |w''|^2.

* The **forcings** are sought among piecewise constant ones, likewise

      eta_i = (1/K) sum_k R_f/2 int |xi_k - I_h xi_k|^2 = (1/K) sum_k R_f h_i^3/24 |xi_k'|^2.

``w''`` and ``xi'`` are those of the nodes, by differences that know of the natural boundary conditions
``w' = 0``. The sum of all is ``A_h(u_h) - A(u)`` to leading order, in sign and size. It tells little of a
mesh on which a step changes the states by more than their size, or of a point that is far from stationary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.spaces import DepthMesh, Resolution
from fem_deepest.spaces.equidistribution import equidistributed, refined

Array = NDArray[np.float64]
Placement = Callable[[DepthMesh, Array, int, int], DepthMesh]

PLACEMENTS: dict[str, Placement] = {"move": equidistributed, "bisect": refined}

_FIELDS = 2  # order of the action in P1 weights and P0 forcings


@dataclass(frozen=True)
class Indicators:
    """What every cell adds to ``A_h(u_h) - A(u)``.

    Attributes:
        mesh: Depth mesh.
        scheme: Of the depth scheme, of either sign, (n,).
        weights: Of the weights being piecewise linear, (n,), not negative.
        forcings: Of the forcings being piecewise constant, (n,), not negative.
        order: Order of the whole in the length of the cells.

    Nothing here is collective.
    """

    mesh: DepthMesh
    scheme: Array
    weights: Array
    forcings: Array
    order: int

    @property
    def cells(self) -> Array:
        """Their sum in every cell, (n,)."""
        return np.asarray(self.scheme + self.weights + self.forcings)

    @property
    def error(self) -> float:
        """Estimate of ``A_h(u_h) - A(u)``."""
        return float(self.cells.sum())

    def to_dict(self) -> dict[str, Any]:
        """In plain types, for ``run.json``."""
        return {
            "error": self.error,
            "nodes": self.mesh.nodes.tolist(),
            "indicators": self.cells.tolist(),
        }


def adapted(place: Placement, indicators: Indicators, planned: Resolution) -> Resolution:
    """The planned level with its depth nodes where the error is. Not collective."""
    mesh = place(indicators.mesh, indicators.cells, indicators.order, planned.cells)
    return Resolution.of_mesh(mesh, planned.index)


def estimate(action: NetworkAction, u: PETSc.Vec) -> Indicators:
    """Indicators at a stationary point. They cost about as much as two gradients.

    Args:
        action: The action ``A_h``.
        u: A stationary point of it, or nearly one.

    Collective. The same bits on all ranks and on any number of them, as sums over samples have.
    """
    action.require_whole_index("an estimate of the error in depth")
    network, grid, array = action.network, action.grid, u.array_r
    cells, steps, order = network.depth.cells, network.depth.steps, network.scheme.order
    point = action.point(u)
    theta = point.parameters.theta
    twice = [replace(network, depth=DepthMesh(np.array([0.0, 0.5 * h, h]))) for h in steps]
    halves = [
        two.stage_parameters(np.stack([a, 0.5 * (a + b), b]))
        for two, a, b in zip(twice, theta[:-1], theta[1:], strict=True)
    ]

    def add(tile: int, sums: Array, _first: bool) -> None:
        _, xi = forcing = action.space.forcing(array, tile)
        x, q = action.tiles.trajectory(tile, point, forcing)
        for i, (two, stages) in enumerate(zip(twice, halves, strict=True)):
            y = x[i].copy()
            same = np.repeat(xi[i : i + 1], 2, axis=0) if xi.size else None
            two.flow(y.shape[-1]).forward(stages, y, same)
            y -= x[i + 1]
            sums[i] -= np.einsum("nk,nk->", q[i + 1], y)
        if xi.size and cells > 1:
            slope = _slopes(network.depth, xi)
            sums[cells:] += np.einsum("ink,n,ink->i", slope, network.index.weights, slope)

    totals, found = np.zeros(2 * cells), np.zeros((3, cells))
    action.blocks.sum(action.over_tiles(add), totals)
    if grid.owner:
        found[0] = totals[:cells] / (action.samples * (1.0 - 0.5**order))
        found[1] = action.metric.strength * steps**3 / 24.0 * _curvature(action, theta)
        if np.isfinite(action.model_precision):
            precision = action.model_precision / action.samples
            found[2] = precision * steps**3 / 24.0 * totals[cells:]
    grid.data.Bcast(found, root=0)
    return Indicators(network.depth, found[0], found[1], found[2], min(order, _FIELDS))


def _curvature(action: NetworkAction, theta: Array) -> Array:
    """Mean of ``|w''|^2`` in every cell, (n,), with ``w''`` linear between the nodes."""
    h = action.network.depth.steps[:, None, None]
    slope = np.diff(theta, axis=0) / h
    zero = np.zeros_like(theta[:1])
    # At the ends the field goes on as its mirror image.
    width = np.concatenate([h[:1], 0.5 * (h[:-1] + h[1:]), h[-1:]])
    width[[0, -1]] *= 0.5
    second = np.diff(np.concatenate([zero, slope, zero]), axis=0) / width
    coupling = action.network.coupling
    image = coupling.columns.apply_mass(coupling.rows.apply_mass(second, -2), -1)
    square = np.einsum("ijk,ijk->i", second, image)
    mixed = np.einsum("ijk,ijk->i", second[:-1], image[1:])
    return np.asarray((square[:-1] + mixed + square[1:]) / 3.0)


def _slopes(mesh: DepthMesh, xi: Array) -> Array:
    """``xi'`` in every cell, (n, N, k), between the middles of its neighbours; one-sided at the ends."""
    middle = 0.5 * (mesh.nodes[:-1] + mesh.nodes[1:])
    return np.asarray(np.gradient(xi, middle, axis=0))
