"""Networks side by side with model errors: the weak constraint in the forcing form, on one rank.

The unknowns of a replica are those of :class:`.NetworkAction` with finite ``R_f`` or ``R_0``, in the same
order: weights, then the forcings of the samples, tile by tile. Precision annealing of many starts at once
works on these.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.replicas import Forcing, ReplicaParts, Replicas
from fem_deepest.spaces import Parameters

Array = NDArray[np.float64]


class ForcedReplicas(Replicas):
    """``A(w, xi)`` of :class:`.NetworkAction` for blocks (B, size) of weights and forcings.

    Args:
        action: The action, on one rank; with ``R_f = R_0 = inf`` these are :class:`.Replicas`.

    Attributes:
        size: Unknowns of a replica, forcings included.

    Raises:
        InputError: The action is spread over ranks.

    Nothing here is collective.
    """

    def __init__(self, action: NetworkAction) -> None:
        super().__init__(action)
        cells, neurons = action.network.depth.cells, action.network.index.neurons
        self._soft = (neurons,) if np.isfinite(action.input_precision) else (0,)
        self._forced = (cells, neurons) if np.isfinite(action.model_precision) else (0, neurons)
        self._widths = action.space.tiles
        each = prod(self._soft) + prod(self._forced)
        self._offsets = self._weights + each * np.concatenate([[0], np.cumsum(self._widths)])
        self.size = int(self._offsets[-1])
        ones, image = action.create(), action.create()
        ones.array[...] = 1.0
        action.metric.apply(ones, image)
        self._weight = image.array_r[self._weights :].copy()  # P is diagonal on the forcings
        for vec in (ones, image):
            vec.destroy()

    def _check(self, action: NetworkAction) -> None:
        """All precisions are welcome."""

    def _forcing(self, w: Array, tile: int) -> Forcing:
        start, stop, k = self._offsets[tile], self._offsets[tile + 1], self._widths[tile]
        middle = start + prod(self._soft) * k
        initial = w[:, start:middle].reshape(len(w), *self._soft, k)
        forcing = w[:, middle:stop].reshape(len(w), *self._forced, k)
        return initial, np.moveaxis(forcing, 0, 1)

    def _parts(self, w: Array, parameters: Parameters, totals: Array) -> tuple[ReplicaParts, Array]:
        parts, riesz = super()._parts(w, parameters, totals)
        riesz[:, self._weights :] = self._weight * w[:, self._weights :]
        return parts, riesz
