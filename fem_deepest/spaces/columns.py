"""Maps of vectors on blocks, one column after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc

Array = NDArray[np.float64]


class Columns:
    """Blocks (rows of this rank, S) whose columns are vectors of a space.

    Args:
        create: Makes a zero vector of the space.

    Attributes:
        comm: Ranks of the vectors.
        rows: Rows of this rank.
        numbers: Numbers of these rows among all.

    Collective: construction and the call.
    """

    def __init__(self, create: Callable[[], PETSc.Vec]) -> None:
        self._source, self._target = create(), create()
        self.comm = self._source.comm
        self.rows: int = self._source.getLocalSize()
        self.numbers = range(*self._source.getOwnershipRange())

    def column(self, block: Array, s: int) -> PETSc.Vec:
        """A column as a vector, which the next call overwrites."""
        self._source.array[...] = block[:, s]
        return self._source

    def __call__(self, operation: Callable[[PETSc.Vec, PETSc.Vec], object], block: Array) -> Array:
        """The block of ``operation(column, image)``."""
        images = np.empty(block.shape)
        for s in range(block.shape[1]):
            operation(self.column(block, s), self._target)
            images[:, s] = self._target.array_r
        return images
