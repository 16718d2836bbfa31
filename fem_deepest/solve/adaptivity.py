"""Where in the depth the action is not yet that of the continuous network.

The discrete action ``A_h`` errs in three ways, all known cell by cell from one adjoint and from the
bisected mesh ``h/2``.

* The **scheme** takes ``x_i`` to ``x_{i+1} = psi_h(x_i)``, where the flow goes elsewhere. What that does
  to the loss is told by the sensitivity ``q`` (the dual weight of Becker, Rannacher 2001,
  doi:10.1017/S0962492901000010), the flow itself by two half steps (Richardson; order ``p``):

      eta_i = -(1/K) sum_k q_{i+1} . ( psi_{h/2} psi_{h/2} x_i - psi_h x_i ) / (1 - 2^{-p}).

* The **weights** are piecewise linear, the **forcings** piecewise constant. ``u_h`` is stationary there, so
  ``A`` at its minimiser is lower only by the energy of what the cells lack, half of the gradient times
  that (Becker, Kapp, Rannacher 2000, doi:10.1137/S0363012999351097). Bisecting a cell adds a hat, or a
  step of the forcing, which in the metric does not see the other cells', and leaves a quarter of an error
  of order 2: with the gradient ``g_i`` of ``A_{h/2}`` along it

      eta_i = (4/3) (1/2) |g_i|^2_{P^{-1}}.

``sum_i eta_i`` is ``A_h(u_h) - A(u)`` to leading order, in sign and size. It tells nothing of a mesh that
is far too coarse, nor of a point that is far from stationary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.spaces import DepthMesh, Resolution, prolong
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


def bisected(mesh: DepthMesh) -> DepthMesh:
    """The mesh with the middle of every cell as a node."""
    nodes = np.empty(2 * mesh.cells + 1)
    nodes[::2] = mesh.nodes
    nodes[1::2] = 0.5 * (mesh.nodes[:-1] + mesh.nodes[1:])
    return DepthMesh(nodes)


def estimate(action: NetworkAction, fine: NetworkAction, u: PETSc.Vec) -> Indicators:
    """Indicators at a stationary point. They cost about as much as five gradients of ``action``.

    Args:
        action: The action ``A_h``.
        fine: The same on the bisected mesh.
        u: A stationary point of ``action``, or nearly one.

    Collective. The same bits on all ranks and on any number of them, as sums over samples have.
    """
    network, fine_network = action.network, fine.network
    cells, order = network.depth.cells, network.scheme.order
    v, g = prolong(action.space, fine.space, network.depth, fine_network.depth, u), fine.create()
    fine.gradient(v, g)
    points, halves = action.point(u), fine.point(v)
    twice = [
        replace(network, depth=DepthMesh(np.array([0.0, 0.5 * h, h])))
        for h in network.depth.steps.tolist()
    ]
    old, gradient = u.array_r, g.array_r

    def add(tile: int, sums: Array, _: bool) -> None:
        forcing = action.space.forcing(old, tile)
        x, q = action.tiles.trajectory(tile, points, forcing)
        for i, two in enumerate(twice):
            y = x[i].copy()
            xi = np.repeat(forcing[1][i : i + 1], 2, axis=0) if forcing[1].size else None
            two.flow(y.shape[-1]).forward(halves.stages[2 * i : 2 * i + 2], y, xi)
            y -= x[i + 1]
            sums[i] -= np.einsum("nk,nk->", q[i + 1], y)
        _, half = fine.space.forcing(gradient, tile)
        if half.size:
            step = half[::2] - half[1::2]
            weight = action.metric.forcing_weight()
            sums[cells:] += np.einsum("ink,ink->i", step, step / weight)

    totals, found = np.zeros(2 * cells), np.zeros((3, cells))
    action.blocks.sum(action.over_tiles(add), totals)
    if action.grid.owner:
        found[0] = totals[:cells] / (action.samples * (1.0 - 0.5**order))
        found[1] = (2 / 3) * fine.metric.energy_of_hats(fine.space.parameters(gradient).theta)
        found[2] = (2 / 3) * totals[cells:]
    action.grid.data.Bcast(found, root=0)
    v.destroy()
    g.destroy()
    return Indicators(network.depth, *found, order=min(order, _FIELDS))
