"""Where in the depth the action is not yet that of the continuous network.

The discrete action ``A_h`` errs in two ways, and both are known cell by cell from one adjoint and from
the bisected mesh ``h/2``:

* the **scheme** takes ``x_i`` to ``x_{i+1} = psi_h(x_i)`` where the flow goes elsewhere. What that does
  to the loss is told by the sensitivity ``q`` (Becker, Rannacher 2001, doi:10.1017/S0962492901000010),
  the flow itself by two half steps (Richardson), ``p`` being the order of the scheme:

      eta_i = -(1/K) sum_k q_{i+1} . ( psi_{h/2}(psi_{h/2}(x_i)) - psi_h(x_i) ) / (1 - 2^{-p});

* the **fields** are sought among piecewise linear weights and piecewise constant forcings. ``u_h`` is
  stationary there, so the action of the minimiser is lower only by the energy of what a cell lacks:
  half the square of the gradient along the function that bisecting the cell adds (a hat for the weights, a
  step for the forcing) in the metric. A quarter of an error of order 2 is left after that, so

      eta_i = (1/2) |g_i|^2_{P^{-1}} 4/3.

``sum_i eta_i`` is ``A_h(u_h) - A(u)`` to leading order, in sign and size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.tiles import Point
from fem_deepest.spaces import DepthMesh, prolong

Array = NDArray[np.float64]

_FIELDS = 2  # order of the action in P1 weights and P0 forcings


@dataclass(frozen=True)
class Indicators:
    """What every cell adds to ``A_h(u_h) - A(u)``.

    Attributes:
        scheme: Of the depth scheme, of either sign, (n,).
        field: Of the weights being piecewise linear, (n,), not negative.
        forcing: Of the forcing being piecewise constant, (n,), not negative.
        order: Order of the whole.
    """

    scheme: Array
    field: Array
    forcing: Array
    order: int

    @property
    def cells(self) -> Array:
        """Their sum in every cell, (n,)."""
        return np.asarray(self.scheme + self.field + self.forcing)

    @property
    def error(self) -> float:
        """Estimate of ``A_h(u_h) - A(u)``."""
        return float(self.cells.sum())


def bisected(mesh: DepthMesh) -> DepthMesh:
    """The mesh with the middle of every cell as a node."""
    nodes = np.empty(2 * mesh.cells + 1)
    nodes[::2] = mesh.nodes
    nodes[1::2] = 0.5 * (mesh.nodes[:-1] + mesh.nodes[1:])
    return DepthMesh(nodes)


def estimate(action: NetworkAction, fine: NetworkAction, u: PETSc.Vec) -> Indicators:
    """Indicators at a stationary point, with the work of about five gradients.

    Args:
        action: The action ``A_h``.
        fine: The same on the bisected mesh.
        u: A stationary point of ``action``, or nearly one.

    Collective. The same bits on every rank, and on any number of them as sums over samples.
    """
    network, steps = action.network, action.network.depth.steps
    v = prolong(action.space, fine.space, network.depth, fine.network.depth, u)
    found = np.zeros((3, network.depth.cells))
    _fields(fine, v, found)
    _scheme(action, fine, u, v, found)
    v.destroy()
    action.grid.data.Bcast(found, root=0)
    del steps
    return Indicators(*found, order=min(network.scheme.order, _FIELDS))


def _fields(fine: NetworkAction, v: PETSc.Vec, found: Array) -> None:
    g = fine.create()
    fine.gradient(v, g)
    array = g.array_r
    if fine.grid.owner:
        middle = fine.space.parameters(array).theta[1::2]
        weight = fine.metric.depth[0][1::2, None, None] * fine.metric.columns
        found[1] = (4 / 6) * np.einsum("ijk,ijk->i", middle, middle / weight)
    g.destroy()


def _scheme(
    action: NetworkAction, fine: NetworkAction, u: PETSc.Vec, v: PETSc.Vec, found: Array
) -> None:
    network, mesh = action.network, action.network.depth
    coarse, halves = _point(action, u), _point(fine, v)
    twice = [
        replace(network, depth=DepthMesh(np.array([0.0, 0.5 * h, h]))) for h in mesh.steps
    ]
    array = u.array_r

    def block_sum(block: int, value: Array) -> None:
        value[...] = 0.0
        for tile in range(action._first[block], action._first[block + 1]):
            forcing = action.space.forcing(array, tile)
            x, q = action.tiles.trajectory(tile, coarse, forcing)
            for i, two in enumerate(twice):
                y = x[i].copy()
                xi = None if not forcing[1].size else np.repeat(forcing[1][i : i + 1], 2, axis=0)
                two.flow(y.shape[-1]).forward(halves.stages[2 * i : 2 * i + 2], y, xi)
                y -= x[i + 1]
                value[i] -= np.einsum("nk,nk->", q[i + 1], y)

    total = np.zeros(mesh.cells)
    action.blocks.sum(block_sum, total)
    found[0] = total / (action.samples * (1.0 - 0.5**network.scheme.order))


def _point(action: NetworkAction, u: PETSc.Vec) -> Point:
    parameters = action.space.parameters(action.space.share(u))
    return Point(parameters, action.network.stage_matrices(parameters.theta))
