"""The action of a network at many weights side by side: the strong constraint, on one rank.

One pass through the samples serves all replicas: the flow has an axis for them, and its products are
stacks of products. A replica costs what its floating-point operations cost, without the price of a
call for each small matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.ends import SCALARS
from fem_deepest.action.network.samples import gathered_data
from fem_deepest.action.network.tiles import Point, Sums, Tiles
from fem_deepest.errors import InputError
from fem_deepest.network.network import TILE
from fem_deepest.spaces import Parameters

Array = NDArray[np.float64]

_NONE = np.empty(0), np.empty(0)  # no forcing
Forcing = tuple[Array, Array]


class ReplicaParts(NamedTuple):
    """The action of each replica and its parts, (B,); see :class:`.Parts`.

    Attributes:
        action: ``A = misfit + model + prior``.
        misfit: ``(1/K) sum_k Phi_T``, with a soft input its error too.
        prior: ``1/2 <w, P w>``.
        score: Sum of the scores of the samples, see :meth:`.Loss.value`.
        model: Model error; nothing under the strong constraint.
    """

    action: Array
    misfit: Array
    prior: Array
    score: Array
    model: Array


class Replicas:
    """``A(w) = (1/K) sum_k Phi_T(y_k) + 1/2 <w, P w>`` of :class:`.NetworkAction` for blocks of weights.

    Args:
        action: The action: data, network and prior.
        tiles: Its samples in tiles, whose data may change later; if None they are copied into few.

    Attributes:
        network: The network.
        samples: ``K``.
        size: Weights of a replica.

    Raises:
        InputError: The action has states as unknowns (``R_f`` or ``R_0`` finite), or is spread over
            ranks.

    Nothing here is collective.
    """

    def __init__(self, action: NetworkAction, tiles: Tiles | None = None) -> None:
        self._check(action)
        if action.grid.comm.size > 1:
            raise InputError(
                f"an action on {action.grid.comm.size} ranks was given to replicas, expected one on a "
                "single rank; make its grid on MPI.COMM_SELF"
            )
        self.network, self.samples = action.network, action.samples
        self.size = self._weights = action.space.parameter_size
        self._prior = action.metric
        if tiles is None:
            forced = action.space.local_size > self._weights
            tiles = action.tiles if forced else _merged(action)
        self._tiles = tiles

    def value(self, w: Array) -> ReplicaParts:
        """The action of ``w``, (B, size)."""
        parameters, totals = self._parameters(w), np.zeros((len(w), SCALARS))
        point = Point(parameters, self.network.stage_parameters(parameters.theta))
        for tile in range(len(self._tiles.inputs)):
            self._tiles.value(tile, point, self._forcing(w, tile), totals)
        return self._parts(w, parameters, totals)[0]

    def gradient(self, w: Array) -> tuple[ReplicaParts, Array]:
        """The action and its gradient, (B, size)."""
        parameters, tiles = self._parameters(w), self._tiles
        stages = self.network.stage_parameters(parameters.theta)
        sums = Sums(
            np.empty(stages.shape),
            np.zeros_like(parameters.readout),
            np.zeros_like(parameters.lift),
            np.zeros((len(w), SCALARS)),
        )
        point, g = Point(parameters, stages), np.empty(w.shape)
        for tile in range(len(tiles.inputs)):
            forcing, target_forcing = self._forcing(w, tile), self._forcing(g, tile)
            tiles.gradient(tile, point, forcing, sums, target_forcing, tile == 0)
        parts, riesz = self._parts(w, parameters, sums.scalars)
        target = self._parameters(g)
        self.network.stage_parameters_transposed(sums.stages, target.theta)
        target.readout[...] = sums.readout
        target.lift[...] = sums.lift
        g /= self.samples
        g += riesz
        return parts, g

    def output(self, w: Array, z: Array) -> Array:
        """Outputs (B, outputs, m) at inputs ``z`` (d, m)."""
        return self.network.output(self._parameters(w), z)

    def _parameters(self, w: Array) -> Parameters:
        return Parameters.view(w, self.network.shapes)

    def _parts(self, w: Array, parameters: Parameters, totals: Array) -> tuple[ReplicaParts, Array]:
        """The parts, and ``P w``."""
        riesz, size = np.zeros(w.shape), self._weights
        self._prior.on_parameters(parameters, self._parameters(riesz))
        prior = 0.5 * np.einsum("bi,bi->b", w[:, :size], riesz[:, :size])
        misfit = (totals[:, 0] + totals[:, 3]) / self.samples
        model = totals[:, 2] / self.samples
        return ReplicaParts(misfit + model + prior, misfit, prior, totals[:, 1], model), riesz

    def _check(self, action: NetworkAction) -> None:
        """Refuse what this class is not for."""
        if np.isfinite(action.model_precision) or np.isfinite(action.input_precision):
            raise InputError(
                f"R_f = {action.model_precision:g} and R_0 = {action.input_precision:g} make states "
                "unknowns, but replicas are of the weights alone; take R_f = R_0 = inf"
            )

    def _forcing(self, w: Array, tile: int) -> Forcing:
        """Views ``xi_0`` and ``xi`` of a tile."""
        return _NONE


def _merged(action: NetworkAction) -> Tiles:
    """The data in few tiles: the action has one for each block of its sums, and a block may be small."""
    inputs, targets = gathered_data(action)
    cuts = [slice(a, a + TILE) for a in range(0, action.samples, TILE)]
    return Tiles(
        action.network,
        action.loss,
        [np.ascontiguousarray(inputs[cut].T) for cut in cuts],
        [np.ascontiguousarray(targets[..., cut]) for cut in cuts],
        np.inf,
        np.inf,
    )
