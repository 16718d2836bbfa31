"""A network under minibatches as a landscape: the gradient of a step is that of the step's batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.landscape import Numbers
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class MinibatchLandscape(ActionLandscape):
    """The action of a network, and the gradients of its batches.

    Args:
        batches: The batches.
        numbers: Numbers of the columns, (S,): each has batches of its own.

    Attributes:
        fraction: Part of the samples in a batch.

    Raises:
        InputError: A block has another number of columns.

    Collective: construction and every method.
    """

    def __init__(self, batches: Minibatches, numbers: Numbers = (0,)) -> None:
        super().__init__(batches.action)
        self.batches, self.numbers = batches, np.asarray(numbers, dtype=np.int64)
        self.fraction = batches.batch.samples / batches.action.samples

    def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
        """See :class:`.Landscape`."""
        if step is None:
            return super().gradient(U)
        if U.shape[1] != self.numbers.size:
            raise InputError(
                f"a block of {U.shape[1]} columns was given to a landscape whose batches have the numbers "
                f"{self.numbers.tolist()}, expected one number for each column; give those of the flow"
            )
        column = iter(self.numbers)

        def gradient(u: PETSc.Vec, g: PETSc.Vec) -> float:
            return self.batches.gradient(u, g, step, int(next(column)))

        return self.mapped(gradient, U)
