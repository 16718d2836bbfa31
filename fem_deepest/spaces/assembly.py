"""Assembled matrices of a path: the pattern is built once, dense cell matrices refill the values."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.spaces.path import PathSpace

Array = NDArray[np.float64]

_INSERT_VALUES = 1


class CellMatrix:
    """``sum_i E_i^T K_i E_i`` over the cells as a symmetric PETSc AIJ matrix, rows in depth.

    Args:
        space: The unknowns; the numbers of its cells are the pattern.

    Attributes:
        mat: The matrix. Rows and columns of entries that are no unknowns are left out.

    Collective.
    """

    def __init__(self, space: PathSpace) -> None:
        rows = space.end - space.begin
        self.mat = PETSc.Mat().create(space.comm)
        self.mat.setSizes(((rows, space.size), (rows, space.size)))
        self.mat.setType(PETSc.Mat.Type.AIJ)
        cell = space.cell_numbers
        shape = (*cell.shape, cell.shape[1])
        pattern = [
            np.ascontiguousarray(np.broadcast_to(n, shape).ravel(), dtype=PETSc.IntType)
            for n in (cell[:, :, None], cell[:, None, :])
        ]
        # The diagonal is in the pattern even where it is zero: factorisations want it.
        own = np.arange(space.begin, space.end, dtype=PETSc.IntType)
        i, j = (np.concatenate([p, own]) for p in pattern)
        self._shape, self._values = shape, np.zeros(i.size)
        if hasattr(self.mat, "setPreallocationCOO"):
            self.mat.setPreallocationCOO(i, j)
        else:  # petsc4py before 3.23 does not wrap the pair
            _call(
                "MatSetPreallocationCOO", self.mat, ctypes.c_int64(i.size), _pointer(i), _pointer(j)
            )
        self.mat.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        self.mat.setOption(PETSc.Mat.Option.SYMMETRY_ETERNAL, True)
        self.assemble(np.zeros(shape))

    def assemble(self, cells: Array) -> None:
        """Take the values from cell matrices (n, L, L). Collective."""
        self._values[: cells.size] = cells.ravel()
        if hasattr(self.mat, "setValuesCOO"):
            self.mat.setValuesCOO(self._values)
        else:
            _call("MatSetValuesCOO", self.mat, _pointer(self._values), ctypes.c_int(_INSERT_VALUES))


def _pointer(array: NDArray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def _call(name: str, mat: PETSc.Mat, *arguments: object) -> None:
    """Call a PETSc function that petsc4py does not wrap; ``dlsym`` finds it."""
    error = getattr(ctypes.CDLL(PETSc.__file__), name)(ctypes.c_void_p(mat.handle), *arguments)
    if error:
        raise PETSc.Error(error)
