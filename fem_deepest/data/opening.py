"""Open a data set by its name without reading it: what each rank reads its own part of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mpi4py import MPI

from fem_deepest.data.archive import open_npz
from fem_deepest.data.delimited import Sheet
from fem_deepest.data.hdf5 import open_hdf5
from fem_deepest.data.lines import TextSamples
from fem_deepest.data.source import Source
from fem_deepest.data.table import ENDINGS, Columns, choose, existing, require_kind
from fem_deepest.errors import InputError
from fem_deepest.spaces.tasks import on_all

__all__ = ["open_file"]


def open_file(
    path: str | Path,
    target: Columns = None,
    kind: str = "classification",
    inputs: Sequence[str | int] | None = None,
    comm: MPI.Intracomm = MPI.COMM_SELF,
) -> Source:
    """Open a CSV, NPZ or HDF5 file of samples; the arguments are those of :func:`.read_file`.

    Args:
        path: The file.
        target: Target columns of a CSV file, or the name of the targets in an HDF5 file.
        kind: "classification" or "regression".
        inputs: Input columns of a CSV file, or the name of the inputs in an HDF5 file.
        comm: The ranks that read.

    Raises:
        InputError: The file cannot be read as a data set.

    Collective on ``comm``.
    """

    def unable(error: OSError) -> str:
        return f"{path}: cannot be read ({error})."

    file = on_all(lambda: existing(path), comm, unable)
    require_kind(kind)
    suffix = file.suffix.lower()
    if suffix == ".npz":
        if target is not None or inputs is not None:
            raise InputError(
                f"{file}: an NPZ file has no columns to choose; leave out target and inputs."
            )
        return open_npz(file, kind, comm)
    if suffix in ENDINGS:
        return open_hdf5(file, kind, comm, inputs, target)

    def look() -> tuple[Sheet, list[int], list[int]]:
        sheet = Sheet.open(file)
        return (sheet, *choose(sheet, target, kind, inputs))

    return TextSamples(*on_all(look, comm, unable), kind, comm)
