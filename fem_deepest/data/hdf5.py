"""Samples in HDF5 files: ``inputs`` and ``targets``, or data sets of other names.

A contiguous data set of numbers is read at its place in the file, past the library: in a thread, by any
number of ranks at once. What is chunked, compressed or text is read by h5py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.data.arrays import PAIRS
from fem_deepest.data.extent import Extent
from fem_deepest.data.stored import Stored, StoredSamples
from fem_deepest.errors import InputError
from fem_deepest.spaces.tasks import on_all

__all__ = ["Table", "open_hdf5", "stored_tables"]

Columns = Sequence[str | int] | str | int | None


class Table:
    """A data set of an HDF5 file that h5py reads, an array whose rows are read.

    Args:
        data: The data set.
        path: Named in errors.
    """

    def __init__(self, data: h5py.Dataset, path: Path) -> None:
        text = h5py.check_string_dtype(data.dtype)
        self._data, self.path = data if text is None else data.asstr(), path
        self.shape = tuple(data.shape)
        self.dtype: np.dtype[Any] = data.dtype if text is None else np.dtype("U1")
        self._text = text is not None

    def read(self, first: int, last: int) -> NDArray[Any]:
        """See :class:`.Stored`."""
        try:
            found = self._data[first:last]
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(
                f"{self.path}: rows {first + 1} to {last} cannot be read ({error}); the file is damaged: "
                "copy or write it again."
            ) from None
        return found.astype(str) if self._text else found


def stored(file: h5py.File, name: str, path: Path) -> Stored:
    """A data set of a file, read at its offset where it lies there row by row."""
    data = file[name]
    offset = data.id.get_offset()
    plain = data.dtype.kind in "fiu" and 0 < data.ndim <= 2 and file.userblock_size == 0
    if not plain or offset is None or data.is_virtual or data.external:
        return Table(data, path)
    columns = data.shape[1] if data.ndim == 2 else 0
    extent = Extent(path, offset, data.shape[0], columns, data.dtype)
    extent.require()
    return extent


def open_hdf5(
    path: Path,
    kind: str,
    comm: MPI.Intracomm,
    inputs: Columns = None,
    target: Columns = None,
) -> StoredSamples:
    """Open a file of samples.

    Beside the two data sets may be ``classes``, the labels of targets that are class numbers, and
    ``columns``, the names of the inputs.

    Args:
        path: The file.
        kind: "classification" or "regression".
        comm: The ranks that read.
        inputs: Name of the data set of inputs; by default ``inputs``, ``x`` or ``X``.
        target: Name of that of the targets; by default ``targets`` or ``y``.

    Raises:
        InputError: The file is no HDF5 file or truncated, a data set is missing or has the wrong shape.

    Collective on ``comm``.
    """
    chosen = _name(path, inputs), _name(path, target)
    candidates = [(chosen[0] or x, chosen[1] or y) for x, y in PAIRS]
    names, (x, y), beside = on_all(lambda: stored_tables(path, candidates), comm)
    numbered = y.dtype.kind in "iu" and kind == "classification"
    concurrent = isinstance(x, Extent) and isinstance(y, Extent)
    return StoredSamples(
        path,
        (names[0], names[1]),
        x,
        y,
        kind,
        comm,
        beside.get("classes") if numbered else None,
        beside.get("columns", ()),
        concurrent=concurrent,
    )


def stored_tables(
    path: Path, candidates: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[Stored], dict[str, tuple[str, ...]]]:
    """The first of some sets of data sets that a file has all of, and the text beside them.

    Raises:
        InputError: As :func:`open_hdf5`.

    Not collective.
    """
    try:
        file = h5py.File(path, "r", driver="sec2")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be opened as an HDF5 file ({error}); it is truncated, damaged or of another "
            "kind: copy or write it again."
        ) from None
    found, there = list[Stored](), list[str]()
    try:
        file.visititems(lambda name, item: there.append(name) if _is_data(item) else None)
        names = next((names for names in candidates if set(names) <= set(there)), None)
        if names is None:
            expected = " or ".join(" and ".join(map(repr, c)) for c in dict.fromkeys(candidates))
            raise InputError(
                f"{path}: holds {', '.join(there) or 'no data set'}; expected {expected}: name others in "
                "inputs and target."
            )
        beside = {
            key: tuple(map(str, file[key].asstr()[:]))
            for key in ("classes", "columns")
            if key in there and key not in names and h5py.check_string_dtype(file[key].dtype)
        }
        found += [stored(file, name, path) for name in names]
    finally:
        if not any(isinstance(one, Table) for one in found):
            file.close()
    return names, found, beside


def _name(path: Path, chosen: Columns) -> str | None:
    """The one data set that is named, if there is one."""
    if chosen is None or isinstance(chosen, str):
        return chosen and chosen.strip("/")
    if isinstance(chosen, int) or len(chosen) != 1 or not isinstance(chosen[0], str):
        raise InputError(
            f"{path}: {chosen} was given for a data set of an HDF5 file; expected its name, as inputs = "
            "['x'] and target = 'y'."
        )
    return chosen[0].strip("/")


def _is_data(item: Any) -> bool:
    return isinstance(item, h5py.Dataset)
