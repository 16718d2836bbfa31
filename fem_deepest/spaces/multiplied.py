"""Products of a sparse matrix with blocks of columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fem_deepest._petsc import PETSc

Array = NDArray[np.float64]


class Multiplied:
    """``A`` on blocks (owned columns, S), all columns of a block together.

    Args:
        A: Assembled matrix; its values are copied on one rank and referred to on several.

    Collective: construction and every method.
    """

    def __init__(self, A: PETSc.Mat) -> None:
        self.A = A
        self._rows, self._columns = A.getLocalSize()
        self._local = None
        if A.comm.size == 1:
            pointer, columns, values = A.getValuesCSR()
            self._local = csr_array((values, columns, pointer), shape=(self._rows, self._columns))

    def __call__(self, block: Array) -> Array:
        """A new block ``A b``, (owned rows, S)."""
        if self._local is not None:
            return np.asarray(self._local @ block)
        size = (self._columns, PETSc.DETERMINE), (PETSc.DECIDE, block.shape[1])
        # Given with its values it would be kept by reference in column order: copy the rows instead.
        dense = PETSc.Mat().createDense(size, comm=self.A.comm)
        dense.setUp()
        dense.getDenseArray()[...] = block
        dense.assemble()
        image = self.A.matMult(dense)
        result = np.array(image.getDenseArray(readonly=True), order="C")
        image.destroy()
        dense.destroy()
        return result
