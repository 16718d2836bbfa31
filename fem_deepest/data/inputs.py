"""Inputs to predict from, in files like those of a training: all at once, or piece by piece."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI

from fem_deepest.data.archive import stored_arrays
from fem_deepest.data.arrays import PAIRS, read_arrays, require_matrix
from fem_deepest.data.delimited import Sheet
from fem_deepest.data.hdf5 import stored_tables
from fem_deepest.data.lines import LineIndex
from fem_deepest.data.source import Floats, require_finite
from fem_deepest.data.stored import Stored
from fem_deepest.data.table import ENDINGS, existing
from fem_deepest.errors import InputError

__all__ = ["LARGE", "file_bytes", "input_pieces", "read_inputs"]

LARGE = 2**28  # bytes of data that are read in parts
NAMES = [(x,) for x, _ in PAIRS]
_PIECE = 2**21  # numbers


def file_bytes(path: Path) -> int:
    """Size of a file, of an archive when it is unpacked. Not collective."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return sum(item.file_size for item in archive.infolist())
    return path.stat().st_size


def read_inputs(path: str | Path, columns: tuple[str, ...], features: int) -> Floats:
    """Read inputs to predict from; a target may be in the file or not.

    With a header, the columns are found by the names the model was trained with, in any order
    and among others. Without a header, or for a model whose columns had no names, the file has
    exactly the input columns. NPZ and HDF5: the array ``inputs``, ``x`` or ``X``.

    Args:
        path: The file.
        columns: The names of the inputs in training, `DataSet.columns`.
        features: Number of inputs ``d``.

    Returns:
        Inputs ``(K, d)``, in the units of the file.

    Raises:
        InputError: As for `read_file`, or the columns are not those of the model.
    """
    return np.concatenate(list(input_pieces(path, columns, features)))


def input_pieces(
    path: str | Path,
    columns: tuple[str, ...],
    features: int,
    named: Sequence[str] = (),
    large: int = LARGE,
) -> Iterator[Floats]:
    """The inputs of :func:`read_inputs`, some at a time where the file is large.

    Args:
        path: The file.
        columns: As for :func:`read_inputs`.
        features: Number of inputs ``d``.
        named: What an HDF5 file may call them, beside the usual names.
        large: Bytes of a file that is not read as a whole.

    Raises:
        InputError: As for :func:`read_inputs`; for later pieces when they are asked for.
    """
    path = existing(path)
    suffix, whole = path.suffix.lower(), file_bytes(path) < large
    if suffix in ENDINGS:
        names, (rows,), _ = stored_tables(path, [*((name,) for name in named), *NAMES])
        yield from _pieces(path, names[0], rows, features)
    elif suffix == ".npz" and whole:
        values, _ = read_arrays(path, targets=False)
        _require_width(path, values.shape[1], features)
        yield values
    elif suffix == ".npz":
        names, (rows,) = stored_arrays(path, NAMES)
        yield from _pieces(path, names[0], rows, features)
    else:
        sheet = Sheet.open(path)
        chosen = input_columns(sheet, columns, features)
        if whole:
            yield sheet.read(chosen)[0]
            return
        index = LineIndex.find(path, sheet.skip, MPI.COMM_SELF)
        for low, high in _ranges(index.rows, sheet.width):
            lines, where = index.lines(low, high)
            yield sheet.parse(lines, 0, chosen, None, where)[0]


def _pieces(path: Path, name: str, rows: Stored, features: int) -> Iterator[Floats]:
    require_matrix(path, name, rows.shape, rows.dtype)
    _require_width(path, rows.shape[1], features)
    for low, high in _ranges(rows.shape[0], features):
        values = np.ascontiguousarray(rows.read(low, high), dtype=np.float64)
        require_finite(path.name, "input", values, low)
        yield values


def _ranges(rows: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, _PIECE // width)
    return ((low, min(low + step, rows)) for low in range(0, rows, step))


def _require_width(path: Path, width: int, features: int) -> None:
    if width != features:
        raise InputError(
            f"{path}: the inputs have {width} columns, the model was trained with {features}; give "
            "exactly those, without the target."
        )


def input_columns(sheet: Sheet, columns: tuple[str, ...], features: int) -> list[int]:
    """Positions of the columns that a model was trained with; see :func:`read_inputs`.

    Raises:
        InputError: They are not there.
    """
    path = sheet.path
    if sheet.names is not None and set(columns) <= set(sheet.names):
        return [sheet.names.index(name) for name in columns]
    numbered = all(name.startswith("column ") for name in columns)
    if sheet.names is not None and not numbered:
        absent = next(name for name in columns if name not in sheet.names)
        near = difflib.get_close_matches(absent, sheet.names, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{path}: there is no column '{absent}', which the model was trained with; did you "
            f"mean '{near}'? Rename the column, or remove the header to take the columns in order."
        )
    if sheet.width != features:
        more = sheet.width > features
        mend = (
            f"drop the target and other columns that are no inputs (cut -d'{sheet.delimiter}' "
            f"-f1-{features}), or add a header with the names used in training."
            if more
            else "add the missing ones."
        )
        raise InputError(
            f"{path}: {sheet.width} columns, the model was trained with {features} inputs; {mend}"
        )
    return list(range(features))
