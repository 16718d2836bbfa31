"""Write a data set of any size to HDF5: every rank its own rows, at their place in the file.

Rank 0 makes the file with room for all rows, contiguous and allocated at once; then every rank writes its
rows past the library, which works with any build of it. The file gets its name when all is there.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
from mpi4py import MPI

from fem_deepest.data.extent import Extent, allocated
from fem_deepest.data.source import Source
from fem_deepest.errors import InputError
from fem_deepest.spaces.grid import own_part
from fem_deepest.spaces.tasks import on_all, on_root

__all__ = ["write_hdf5"]

_TOGETHER = 1024  # rows that belong together, as the blocks of a generated set
_WRITE = 2**21  # numbers that are written at once


def write_hdf5(source: Source, path: Path, comm: MPI.Intracomm, *, force: bool = False) -> None:
    """Write ``inputs`` and ``targets``, and where there are some ``classes`` and ``columns``.

    Args:
        source: The samples.
        path: File; replaced as a whole or not at all.
        comm: All ranks; each reads and writes its part.
        force: Write over an existing file.

    Raises:
        InputError: The file exists, cannot be written, or what is wrong with the samples.

    Collective on ``comm``.
    """
    part = path.with_name(path.name + ".part")

    def unable(error: OSError) -> str:
        why = error.strerror or (os.strerror(error.errno) if error.errno else error)  # of HDF5
        return f"cannot write {path} ({why}); give another --out"

    def begin() -> list[Extent]:
        if path.exists() and not force:
            raise InputError(f"{path} exists; give --force to write over it, or another --out")
        # HDF5 does not survive a file that cannot be as large as its data sets.
        numbers = source.features + (source.outputs if source.classes is None else 1)
        size, free = 8 * source.samples * numbers, shutil.disk_usage(path.parent).free
        if size > free:
            raise InputError(
                f"{source.samples} samples take {size / 2**30:.3g} GiB and {path.parent} has "
                f"{free / 2**30:.3g} GiB left; give another --out, or fewer samples"
            )
        return _lay_out(source, part)

    extents = on_root(begin, comm, unable)
    groups = own_part(-(-source.samples // _TOGETHER), comm)
    first, last = (min(g * _TOGETHER, source.samples) for g in (groups.start, groups.stop))
    rows = max(1, _WRITE // (source.features + source.outputs) // _TOGETHER) * _TOGETHER

    def write() -> None:
        for low in range(first, last, rows):
            high = min(low + rows, last)
            for extent, values in zip(extents, source.read(low, high), strict=True):
                extent.write(low, values)
        with part.open("rb") as file:
            os.fsync(file.fileno())

    try:
        on_all(write, comm, unable)
        on_root(lambda: os.replace(part, path), comm, unable)
    except InputError:
        if comm.rank == 0:
            part.unlink(missing_ok=True)
        raise


def _lay_out(source: Source, path: Path) -> list[Extent]:
    """A file with room for all rows, and where they go."""
    numbers = source.classes is not None
    shapes = {
        "inputs": ((source.samples, source.features), "<f8"),
        "targets": ((source.samples,), "<i8")
        if numbers
        else ((source.samples, source.outputs), "<f8"),
    }
    extents = list[Extent]()
    with h5py.File(path, "w", driver="sec2") as file:
        for name, (shape, kind) in shapes.items():
            offset = allocated(file, name, shape, np.dtype(kind))
            columns = shape[1] if len(shape) == 2 else 0
            extents.append(Extent(path, offset, shape[0], columns, np.dtype(kind)))
        if source.classes is not None:
            file["classes"] = list(source.classes)
        if source.columns != tuple(f"x{i + 1}" for i in range(source.features)):
            file["columns"] = list(source.columns)
    return extents
