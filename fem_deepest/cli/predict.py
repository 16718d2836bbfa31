"""The verb ``predict``: outputs of a trained network for the rows of a file."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data import read_inputs
from fem_deepest.errors import InputError
from fem_deepest.runs.train import Run


def predict(
    directory: str | Path, data: str | Path, *, out: str | Path | None = None, force: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Predict for every row of a CSV or NPZ file.

    Args:
        directory: A run directory.
        data: File with the inputs, by column name where it has a header.
        out: CSV file to write, if given.
        force: Write over an existing file.

    Returns:
        Header and rows: for classification the class and the probability of every class, for
        regression the values.

    Raises:
        InputError: There is no run, the file does not fit it, or ``out`` exists.

    Not collective.
    """
    run = Run.load(directory)
    model = run.model
    target = None if out is None else Path(out)
    if target is not None and target.exists() and not force:
        raise InputError(f"{target} exists; give --force to write over it, or another --out")
    inputs = read_inputs(data, model.columns, model.network.inputs)
    values = model.predict(inputs)
    header, rows = _table(values, model.classes)
    if target is not None:
        temporary = target.with_name(target.name + ".part")
        try:
            with temporary.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(header)
                writer.writerows(rows)
        except OSError as error:
            raise InputError(f"cannot write {target}: {error}; give another --out") from None
        os.replace(temporary, target)
    return header, rows


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
