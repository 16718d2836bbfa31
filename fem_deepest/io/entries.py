"""Entries of vectors in a file: every rank writes its own, with MPI-IO, and reads any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.io.checksum import checksum
from fem_deepest.io.layout import Place

Array = NDArray[np.float64]

_PIECE = 1 << 22  # entries that are written or read at once


class Order(Protocol):
    """An order of the entries of a vector that does not depend on the ranks."""

    size: int

    def create(self) -> PETSc.Vec:
        """Zero vector in this order. Collective."""

    def common(self, u: PETSc.Vec) -> PETSc.Vec:
        """New vector in this order. Collective."""

    def control(self, v: PETSc.Vec) -> PETSc.Vec:
        """The inverse. Collective."""


def write_entries(
    part: Path,
    vectors: Mapping[str, PETSc.Vec],
    places: Mapping[str, Place],
    comm: MPI.Intracomm,
    order: Order | None,
) -> tuple[dict[str, int], str]:
    """Write vectors into a file that has been laid out, each rank its entries.

    Args:
        part: The file.
        vectors: By name.
        places: Where they are in the file.
        comm: All ranks.
        order: In which they are stored; one copy is made at a time.

    Returns:
        Checksums of the vectors, and what went wrong on any rank.

    Collective.
    """
    failure, file = "", MPI.FILE_NULL
    try:
        file = MPI.File.Open(comm, str(part), MPI.MODE_WRONLY)
    except MPI.Exception as error:
        failure = str(error)
    sums = np.zeros(len(vectors), np.uint64)
    for k, (name, vec) in enumerate(vectors.items()):
        v = order.common(vec) if order else vec
        sums[k], wrong = _write(None if failure else file, places[name], v)
        failure = failure or wrong
        if order:
            v.destroy()
    try:
        if file:
            file.Sync()
            file.Close()
    except MPI.Exception as error:
        failure = failure or str(error)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    failure = next(filter(None, comm.allgather(failure)), "")
    return {name: int(found) for name, found in zip(vectors, sums, strict=True)}, failure


def _write(file: MPI.File | None, place: Place, v: PETSc.Vec) -> tuple[int, str]:
    """Write the entries of this rank, if there is a file; their checksum, and what went wrong.

    No view of the vector is left, which would keep its memory.
    """
    first, values = v.getOwnershipRange()[0], v.array_r
    try:
        if file is not None:
            for start in range(0, values.size, _PIECE):
                piece = values[start : start + _PIECE]
                file.Write_at(place.offset + 8 * (first + start), piece)
    except MPI.Exception as error:
        return checksum(values, first), str(error)
    return checksum(values, first), ""


def read_vector(path: Path, place: Place, v: PETSc.Vec) -> tuple[int, str]:
    """Read the entries of this rank into a vector; their checksum, and what went wrong.

    No view of the vector is left, which would keep its memory. Not collective.
    """
    (first, last), values, failure = v.getOwnershipRange(), v.array_w, ""
    try:
        for start, piece in read_entries(path, place, first, last):
            values[start - first : start - first + piece.size] = piece
    except OSError as error:
        failure = str(error)
    return checksum(values, first), failure


def read_entries(path: Path, place: Place, first: int, last: int) -> Iterator[tuple[int, Array]]:
    """Entries ``first`` to ``last`` of a vector, some at a time, with the number of the first.

    Raises:
        OSError: They cannot be read.

    Not collective.
    """
    with path.open("rb") as file:
        for start in range(first, last, _PIECE):
            count = min(_PIECE, last - start)
            file.seek(place.offset + 8 * start)
            piece = np.fromfile(file, np.float64, count)
            if piece.size < count:
                raise OSError("it ends too early")
            yield start, piece
