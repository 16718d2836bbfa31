"""Data sets: digits, medical tables, two-dimensional toy sets, the user's own CSV and NPZ files."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from fem_deepest.data.dataset import DataSet
from fem_deepest.data.digits import digits
from fem_deepest.data.medical import breast_cancer, diabetes
from fem_deepest.data.split import Standardiser, split
from fem_deepest.data.table import read_file, read_inputs
from fem_deepest.data.toy import toy
from fem_deepest.errors import InputError

__all__ = [
    "NAMES",
    "DataSet",
    "Standardiser",
    "breast_cancer",
    "diabetes",
    "digits",
    "load",
    "read_file",
    "read_inputs",
    "split",
    "toy",
]

_BUNDLED = {"digits": digits, "diabetes": diabetes, "breast_cancer": breast_cancer}
NAMES = (*_BUNDLED, "donut", "squares", "spiral", "peaks", "swiss_roll", "file")


def load(
    name: str,
    *,
    samples: int = 1000,
    seed: int = 0,
    noise: float | None = None,
    path: str | Path | None = None,
    target: str | int | Sequence[str | int] | None = None,
    inputs: Sequence[str | int] | None = None,
    kind: str = "classification",
) -> DataSet:
    """The data set of this name.

    Args:
        name: One of `NAMES`.
        samples: Toy sets: number of samples.
        seed: Toy sets: seed of the generator.
        noise: Toy sets: standard deviation of the noise; None takes the default of the set.
        path: "file": the CSV or NPZ file.
        target: "file": the target column(s); None takes the last.
        inputs: "file": the input columns; None takes all others.
        kind: "file": "classification" or "regression".

    Raises:
        InputError: Unknown name, "file" without a path, or what the set itself refuses.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(str(name), NAMES, n=1, cutoff=0.0)[0]
        raise InputError(
            f"there is no data set '{name}'; did you mean '{near}'? Known: {', '.join(NAMES)}."
        )
    if name in _BUNDLED:
        return _BUNDLED[name]()
    if name != "file":
        return toy(name, samples, seed, noise)
    if path is None:
        raise InputError("data set 'file' without a path; give the path of a CSV or NPZ file.")
    return read_file(path, target, kind, inputs)
