"""The minimiser of one network's action, as a point of a study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.action.dealt import whole
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.configuration.train import Config
from fem_deepest.network.network import Network
from fem_deepest.runs.model import make_schedule
from fem_deepest.runs.start import begin
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.spaces import DepthMesh, Parameters, Resolution

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        network: The network.
        flat: Its parameters, (P,), the same on every rank.
        action: The action there.
        converged: Whether every stage reached its tolerance.
        evaluations: Gradients of all stages.
        iterations: Steps on the levels, a polish apart.
    """

    network: Network
    flat: Array
    action: float
    converged: bool
    evaluations: int
    iterations: list[int]

    @property
    def weights(self) -> Array:
        """Weight field ``[w | b]`` at the depth nodes, (n + 1, N, N + 1)."""
        return Parameters.view(self.flat, self.network.shapes).theta

    @property
    def values(self) -> dict[str, ArrayLike]:
        """What a point keeps in any case."""
        return {
            "action": self.action,
            "converged": self.converged,
            "evaluations": self.evaluations,
            "iterations": sum(self.iterations),
            "last iterations": self.iterations[-1],
        }


def train(config: Config, action: Callable[[Resolution], NetworkAction]) -> Trained:
    """Nested iteration of a configuration, from the same start on every mesh.

    Args:
        config: Start and schedule.
        action: Action on a level.

    Raises:
        NumericalFailure: The action is not finite.

    Collective on the grid of the action.
    """
    nested = NestedIteration(action, make_schedule(config))
    search = begin(nested, config)
    stages = nested.run(search)
    finest = whole(nested.action(search.level), "a study")
    value = finest.value(search.u)
    flat = np.array(finest.space.share(search.u))
    search.memory.clear()
    search.u.destroy()
    return Trained(
        finest.network,
        flat,
        value,
        all(stage.outcome.converged for stage in stages),
        sum(stage.evaluations for stage in stages),
        [stage.outcome.iterations for stage in stages if stage.name != "newton"],
    )


def depth_norm(depth: DepthMesh, field: Array, scale: Array) -> tuple[float, float]:
    """L2(depth; L2) norm and H1 seminorm of a P1 field at the nodes, (n + 1, rows, columns).

    ``scale`` (rows, columns) weights the squares of its entries, see :func:`column_measure`.
    """
    squares = []
    for diagonal, off in (depth.mass, depth.stiffness):
        applied = diagonal[:, None, None] * field
        applied[:-1] += off[:, None, None] * field[1:]
        applied[1:] += off[:, None, None] * field[:-1]
        squares.append(float(np.sum(scale * field * applied)))
    return float(np.sqrt(squares[0])), float(np.sqrt(max(squares[1], 0.0)))


def field_norms(network: Network, field: Array) -> tuple[float, float]:
    """L2(depth; L2) norm of a field of the coupling, and its H1 seminorm along the index.

    Args:
        network: Gives the spaces: depth, and rows and columns of the coupling.
        field: Parameters at the depth nodes, (n + 1, rows, columns).
    """
    rows, columns = network.coupling.rows, network.coupling.columns
    diagonal, off = (x[:, None, None] for x in network.depth.mass)
    applied = diagonal * field
    applied[:-1] += off * field[1:]
    applied[1:] += off * field[:-1]
    rows_mass, columns_mass = rows.apply_mass(field, 1), columns.apply_mass(field, 2)
    square = np.sum(applied * columns.apply_mass(rows_mass, 2))
    slope = np.sum(applied * columns.apply_stiffness(rows_mass, 2))
    slope += np.sum(applied * rows.apply_stiffness(columns_mass, 1))
    return float(np.sqrt(max(square, 0.0))), float(np.sqrt(max(slope, 0.0)))


def column_measure(network: Network) -> Array:
    """Lumped ``M_r (x) M_c``, (rows, columns): ``M_S (x) M_S`` of a kernel and ``M_S`` of the bias."""
    return np.multiply.outer(network.coupling.rows.weights, network.coupling.columns.weights)
