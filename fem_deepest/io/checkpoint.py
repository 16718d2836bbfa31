"""Checkpoints: HDF5 files that all ranks write, sealed with checksums, renamed into place when whole.

The numbering of the vectors does not depend on the number of ranks, so neither do the bytes of a file.
Every rank writes its entries with MPI-IO, reads them with the system's calls, and adds its part to their
checksums; no rank needs a whole vector. HDF5 lays a file out, and is not needed to read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.io.checksum import checksum
from fem_deepest.io.entries import Order, read_entries, read_vector, write_entries
from fem_deepest.io.layout import Layout, Place, layout
from fem_deepest.io.seal import Damaged, Table, fingerprint, read_table, seal
from fem_deepest.io.succession import partial, succeed
from fem_deepest.spaces.grid import own_part
from fem_deepest.spaces.tasks import on_root

Array = NDArray[np.float64]


def write(
    path: Path,
    vectors: Mapping[str, PETSc.Vec],
    meta: Mapping[str, Any],
    comm: MPI.Intracomm,
    order: Order | None = None,
) -> None:
    """Write named vectors and a JSON-able dictionary; what was there before is kept as the previous one.

    Args:
        path: File; replaced as a whole or not at all.
        vectors: What to store; without an ``order`` their numbering does not depend on the ranks.
        meta: Everything else; of ``signature`` there is a hash, too.
        comm: Communicator of the vectors.
        order: In which the vectors are stored, one after the other: one copy is made at a time.

    Raises:
        InputError: It cannot be written: the disk is full, say. What was there before stays.

    Collective.
    """

    def unable(error: OSError) -> str:
        return f"cannot write {path} ({error}); make room and go on with --resume"

    part = partial(path)
    sizes = {name: order.size if order else vec.getSize() for name, vec in vectors.items()}
    made: Layout | None = None

    def begin() -> dict[str, Place]:
        nonlocal made
        made = layout(sizes, json.dumps(meta))
        with part.open("wb") as file:
            for offset, piece in made.pieces:
                file.seek(offset)
                file.write(piece)
            file.truncate(made.length)
        return made.vectors

    def end() -> None:
        assert made is not None, "rank 0 has begun"
        with part.open("rb+") as file:
            seal(file, made, sums, fingerprint(meta.get("signature", {})))
            file.flush()
            os.fsync(file.fileno())
        succeed(path)

    try:
        places = on_root(begin, comm, unable)
        sums, failure = write_entries(part, vectors, places, comm, order)
        if failure:
            raise InputError(unable(OSError(failure)))
        on_root(end, comm, unable)
    except InputError:
        if comm.rank == 0:
            part.unlink(missing_ok=True)
        raise


def open_table(path: Path) -> Table:
    """What the checkpoint of a run holds, but for its vectors. Not collective.

    Raises:
        InputError: There is no such file, or it is not a checkpoint of this package.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}; give the directory of a run")
    return read_table(path)


def read_meta(path: Path) -> dict[str, Any]:
    """The dictionary of a checkpoint. As :func:`open_table`."""
    return open_table(path).meta


def read_array(path: Path, name: str, table: Table | None = None) -> Array:
    """A vector of a checkpoint as a whole. Not collective.

    Args:
        path: File.
        name: Of the vector.
        table: What :func:`.read_table` gave, if many vectors are read.

    Raises:
        InputError: There is no such vector, or it is not as it was written.
    """
    table = table or read_table(path)
    if name not in table.vectors:
        raise InputError(f"{path} holds no vector {name}; use another checkpoint")
    values = np.empty(table.vectors[name].entries)
    try:
        for start, piece in read_entries(path, table.vectors[name], 0, values.size):
            values[start : start + piece.size] = piece
    except OSError as error:
        raise Damaged(path, str(error)) from None
    if checksum(values) != table.sums[name]:
        raise Damaged(path, f"the vector {name} has changed")
    return values


def verify(path: Path, table: Table, comm: MPI.Intracomm) -> None:
    """Compare every vector with its checksum. Every rank reads its part of the file. Collective.

    Raises:
        Damaged: A vector is not as it was written.
    """
    sums, failure = np.zeros(len(table.vectors), np.uint64), ""
    try:
        for k, place in enumerate(table.vectors.values()):
            own = own_part(place.entries, comm)
            pieces = read_entries(path, place, own.start, own.stop)
            found = sum(checksum(x, start) for start, x in pieces)
            sums[k] = found & 0xFFFFFFFFFFFFFFFF
    except OSError as error:
        failure = str(error)
    _compare(path, table, list(table.vectors), sums, failure, comm)


def read(
    path: Path, vectors: Mapping[str, PETSc.Vec], comm: MPI.Intracomm, order: Order | None = None
) -> None:
    """Fill named vectors of the right sizes; where this fails, they hold anything.

    Args:
        path: File.
        vectors: To be filled.
        comm: Communicator of the vectors.
        order: In which they are stored; see :func:`write`.

    Raises:
        InputError: A vector is missing, has another size, or is not as it was written.

    Collective.
    """
    table = on_root(lambda: read_table(path), comm)
    for name, vec in vectors.items():
        found = table.vectors[name].entries if name in table.vectors else 0
        wanted = order.size if order else vec.getSize()
        if found != wanted:
            raise InputError(
                f"{path} holds {found} numbers of the vector {name} and this network needs {wanted}; "
                "use the checkpoint of this configuration"
            )
    sums, failure = np.zeros(len(vectors), np.uint64), ""
    for k, (name, vec) in enumerate(vectors.items()):
        v = order.create() if order else vec
        sums[k], wrong = read_vector(path, table.vectors[name], v)
        failure = failure or wrong
        if order:
            control = order.control(v)
            control.copy(vec)
            control.destroy()
            v.destroy()
    _compare(path, table, list(vectors), sums, failure, comm)


def _compare(
    path: Path,
    table: Table,
    names: list[str],
    sums: NDArray[np.uint64],
    failure: str,
    comm: MPI.Intracomm,
) -> None:
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    failure = next(filter(None, comm.allgather(failure)), "")
    for name, found in zip(names, sums, strict=True):
        if not failure and int(found) != table.sums[name]:
            failure = f"the vector {name} has changed"
    if failure:
        raise Damaged(path, failure)
