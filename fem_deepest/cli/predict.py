"""The verb ``predict``: outputs of a trained network for the rows of a file."""

from __future__ import annotations

import csv
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data.inputs import input_pieces
from fem_deepest.errors import InputError
from fem_deepest.runs.train import Run


def predict(
    directory: str | Path, data: str | Path, *, out: str | Path | None = None, force: bool = False
) -> tuple[list[str], Sequence[list[str]]]:
    """Predict for every row of a CSV, NPZ or HDF5 file; a large one is read piece by piece.

    Args:
        directory: A run directory.
        data: File with the inputs, by column name where it has a header.
        out: CSV file to write, if given.
        force: Write over an existing file.

    Returns:
        Header and rows: for classification the class and the probability of every class, for
        regression the values. Those of a large file are read from ``out`` when they are asked for.

    Raises:
        InputError: There is no run, the file does not fit it, or ``out`` exists.

    Not collective.
    """
    run = Run.load(directory)
    model, chosen = run.model, run.config.data.inputs or ()
    named = [name for name in chosen if isinstance(name, str)]
    target = None if out is None else Path(out)
    if target is not None and target.exists() and not force:
        raise InputError(f"{target} exists; give --force to write over it, or another --out")
    pieces = input_pieces(data, model.columns, model.network.inputs, named)
    tables = (_table(model.predict(piece), model.classes) for piece in pieces)
    header, rows = next(tables)
    if target is None:
        return header, [*rows, *(row for _, some in tables for row in some)]
    temporary, count = target.with_name(target.name + ".part"), 0
    try:
        with temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for _, some in itertools.chain([(header, rows)], tables):
                writer.writerows(some)
                count += len(some)
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error}; give another --out") from None
    finally:
        temporary.unlink(missing_ok=True)
    return header, rows if count == len(rows) else Written(target, count)


class Written(Sequence[list[str]]):
    """Rows of a CSV file, read when they are asked for.

    Args:
        path: The file, with a header.
        count: Number of rows.
    """

    def __init__(self, path: Path, count: int) -> None:
        self.path, self._count = path, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[str]]:
        with self.path.open(newline="") as file:
            yield from itertools.islice(csv.reader(file), 1, None)

    @overload
    def __getitem__(self, row: int) -> list[str]: ...
    @overload
    def __getitem__(self, row: slice) -> list[list[str]]: ...
    def __getitem__(self, row: int | slice) -> list[str] | list[list[str]]:
        numbers = range(self._count)[row]
        if isinstance(numbers, range):
            return [self[i] for i in numbers]
        return next(itertools.islice(iter(self), numbers, None))


def _table(
    values: NDArray[np.float64], classes: tuple[str, ...] | None
) -> tuple[list[str], list[list[str]]]:
    if classes is None:
        header = [f"output {i + 1}" for i in range(values.shape[1])]
        return header, [[f"{v:.9g}" for v in row] for row in values]
    header = ["class", *(f"probability {name}" for name in classes)]
    return header, [
        [classes[int(np.argmax(row))], *(f"{v:.6f}" for v in np.asarray(row))] for row in values
    ]
