"""Stochastic gradients of a network's action at many weights side by side, each with its own batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.action.network.replicas import ReplicaParts, Replicas

Array = NDArray[np.float64]


class MinibatchReplicas:
    """``grad A_B`` of :class:`.Minibatches` for blocks of weights; replica ``r`` is run ``numbers[r]``.

    Args:
        action: ``A``, with the strong constraint and clamped inputs, on one rank.
        size: ``B``, from 1 to ``K``.
        seed: Seed of the batches, below 2^32.
        numbers: (R,) numbers of the runs, below 2^24.

    Attributes:
        size: Weights of a replica.

    Raises:
        InputError: There are no batches, or no replicas, of this action.

    Nothing here is collective.
    """

    def __init__(
        self,
        action: NetworkAction,
        size: int,
        seed: int,
        numbers: Sequence[int] | NDArray[np.integer],
    ) -> None:
        self._batches = Minibatches(action, size, seed)
        batch = self._batches.batch
        self._replicas = Replicas(batch, batch.tiles)  # those that a batch is gathered into
        self._rows = self._batches.lay_out((len(numbers),))
        self.numbers, self.size = numbers, self._replicas.size

    def gradient(self, w: Array, step: int) -> tuple[ReplicaParts, Array]:
        """``A_B`` of the batches of a step with its parts, and its gradient at ``w``, both (R, size)."""
        subsets = self._batches.subsets
        self._batches.gather(np.stack([subsets(step, int(n)) for n in self.numbers]), self._rows)
        return self._replicas.gradient(w)
