"""Data sets and inputs from the user's own files: CSV, NPZ and HDF5."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.data.arrays import read_arrays
from fem_deepest.data.dataset import DataSet
from fem_deepest.data.delimited import Sheet
from fem_deepest.data.hdf5 import open_hdf5
from fem_deepest.data.labels import number_classes, unique_labels
from fem_deepest.errors import InputError

__all__ = ["ENDINGS", "KINDS", "choose", "existing", "read_file", "require_kind"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Columns = Sequence[str | int] | str | int | None

ENDINGS = (".h5", ".hdf5")
KINDS = ("classification", "regression")
TEXT = (".csv", ".tsv", ".txt")


def read_file(
    path: str | Path,
    target: Columns = None,
    kind: str = "classification",
    inputs: Sequence[str | int] | None = None,
) -> DataSet:
    """Read a data set, one sample per row.

    CSV (``.csv``, ``.tsv``, ``.txt``): columns separated by comma, semicolon or tab, UTF-8, with
    or without a header; see `Sheet`. NPZ: arrays ``inputs`` and ``targets``, or ``x`` and ``y``,
    or ``X`` and ``y``. HDF5 (``.h5``, ``.hdf5``): see :func:`.open_hdf5`. Class labels are whole
    numbers or text; the classes are sorted (numbers by value) and keep their labels.

    Args:
        path: The file.
        target: CSV: the target column by name or number (from 1), or several of them for
            regression; None takes the last column. HDF5: name of the data set.
        kind: "classification" or "regression".
        inputs: CSV: the input columns; None takes all that are not a target. HDF5: name of the
            data set.

    Raises:
        InputError: The file cannot be read as such a data set; the sentence names the file and,
            where there is one, the row (numbered as in the file) and the column.
    """
    path = existing(path)
    require_kind(kind)
    if path.suffix.lower() in ENDINGS:
        source = open_hdf5(path, kind, MPI.COMM_SELF, inputs, target)
        return DataSet(source.name, *source.read(0, source.samples), source.classes, source.columns)
    if path.suffix.lower() == ".npz":
        if target is not None or inputs is not None:
            raise InputError(
                f"{path}: an NPZ file has no columns to choose; leave out target and inputs."
            )
        x, y = read_arrays(path, targets=True)
        assert y is not None
        if kind == "regression":
            return DataSet(path.name, x, y)
        indices, classes = number_classes(path, *unique_labels(path, y))
        return DataSet(path.name, x, indices, classes)

    sheet = Sheet.open(path)
    wanted, chosen = choose(sheet, target, kind, inputs)
    columns = tuple(sheet.name(c) for c in chosen)
    if kind == "regression":
        values, _, _ = sheet.read([*chosen, *wanted])
        return DataSet(path.name, values[:, : len(chosen)], values[:, len(chosen) :], None, columns)
    values, codes, labels = sheet.read(chosen, label=wanted[0])
    indices, classes = number_classes(path, codes, labels)
    return DataSet(path.name, values, indices, classes, columns)


def existing(path: str | Path) -> Path:
    """A file that is there and has a known ending.

    Raises:
        InputError: There is none, or it has another ending.
    """
    path = Path(path)
    known = f"expected {', '.join(TEXT)}, .npz, {' or '.join(ENDINGS)}"
    if path.is_dir():
        raise InputError(f"{path}: this is a directory; give a file, {known}.")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; check the path, {known}.")
    if path.suffix.lower() not in (*TEXT, ".npz", *ENDINGS):
        raise InputError(f"{path}: the ending '{path.suffix}' is not known, {known}.")
    return path


def require_kind(kind: str) -> None:
    """Refuse an unknown kind of targets.

    Raises:
        InputError: It is unknown.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1, cutoff=0.0)[0]
        raise InputError(
            f"kind is '{kind}'; did you mean '{near}'? Expected {' or '.join(map(repr, KINDS))}."
        )


def choose(
    sheet: Sheet, target: Columns, kind: str, inputs: Sequence[str | int] | None
) -> tuple[list[int], list[int]]:
    """Positions of the target columns and of the input columns.

    Raises:
        InputError: There are no such columns, or too many or too few of them.
    """
    if target is None:
        target = sheet.width
    wanted = [sheet.find(c) for c in ([target] if isinstance(target, (str, int)) else target)]
    if not wanted or (kind == "classification" and len(wanted) > 1):
        raise InputError(
            f"{sheet.path}: {len(wanted)} target columns for {kind}; expected "
            + ("one column of labels." if kind == "classification" else "at least one.")
        )
    if inputs is None:
        chosen = [c for c in range(sheet.width) if c not in wanted]
        unnamed = [c for c in chosen if sheet.names is not None and not sheet.names[c]]
        if unnamed:
            raise InputError(
                f"{sheet.path}: column {unnamed[0] + 1} has no name in the header and may be a "
                "row index; name it, leave it out of the file, or list the columns in inputs."
            )
    else:
        chosen = [sheet.find(c) for c in inputs]
    if not chosen:
        raise InputError(
            f"{sheet.path}: no input column is left beside the target; expected one or more "
            "(columns are separated by comma, semicolon or tab)."
        )
    both = set(chosen) & set(wanted)
    if both:
        raise InputError(
            f"{sheet.path}: column '{sheet.name(min(both))}' is both input and target; name it "
            "in one of them only."
        )
    if len(set(chosen)) < len(chosen) or len(set(wanted)) < len(wanted):
        raise InputError(f"{sheet.path}: a column is chosen twice; name each column once.")
    return wanted, chosen
