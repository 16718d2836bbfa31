"""Matrices of one rank as SciPy's, from PETSc's or from products."""

from __future__ import annotations

from typing import Any

from scipy import sparse

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Metric
from fem_deepest.errors import InputError

_MOST = 20000  # products that are tolerated to make a matrix


def check_alone(comm: Any) -> None:
    """Refuse what is spread over several ranks.

    Raises:
        InputError: The communicator has more than one.
    """
    if comm.size > 1:
        raise InputError(
            f"an action on {comm.size} ranks was given to a sampler, expected one on a single rank; make "
            "its mesh on MPI.COMM_SELF, the chains are spread over the ranks"
        )


def by_rows(matrix: PETSc.Mat) -> sparse.csr_matrix:
    """A PETSc matrix of one rank as a copy by rows."""
    pointer, columns, values = matrix.getValuesCSR()
    return sparse.csr_matrix((values, columns, pointer), shape=matrix.getSize())


def precision(metric: Metric, template: PETSc.Vec) -> sparse.csr_matrix:
    """``P`` of a metric: its matrix, or made of products with all unit vectors.

    Args:
        metric: Riesz map.
        template: Vector of the space.

    Raises:
        InputError: There is no matrix and the space is too big to make one.
    """
    matrix = getattr(metric, "matrix", None)
    if matrix is not None:
        return by_rows(matrix)
    n = template.getSize()
    if n > _MOST:
        raise InputError(
            f"the metric of {n} unknowns has no matrix, and to make one of products is too slow; give "
            f"at most {_MOST} unknowns, or a metric with the attribute matrix"
        )
    unit, image = template.duplicate(), template.duplicate()
    columns = []
    for i in range(n):
        unit.set(0.0)
        unit.array[i] = 1.0
        metric.apply(unit, image)
        columns.append(sparse.csr_matrix(image.array_r.copy()))
    rows = sparse.vstack(columns, format="csr")
    unit.destroy()
    image.destroy()
    return 0.5 * (rows + rows.T)  # symmetric to the last bit
