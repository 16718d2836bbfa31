"""Data sets: digits, medical tables, synthetic sets of any size, the user's own files."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from fem_deepest.data.dataset import DataSet
from fem_deepest.data.digits import digits
from fem_deepest.data.generated import SYNTHETIC, generated
from fem_deepest.data.inputs import read_inputs
from fem_deepest.data.medical import breast_cancer, diabetes
from fem_deepest.data.rows import Samples
from fem_deepest.data.split import Standardiser, split
from fem_deepest.data.table import read_file
from fem_deepest.data.toy import toy
from fem_deepest.errors import InputError

__all__ = [
    "NAMES",
    "DataSet",
    "Samples",
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
NAMES = (*_BUNDLED, *SYNTHETIC, "file")


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
    features: int = 2,
    outputs: int = 2,
) -> DataSet:
    """The data set of this name, all of it in memory; see :func:`.open_data` for parts of it.

    Args:
        name: One of `NAMES`.
        samples: Synthetic sets: number of samples.
        seed: Synthetic sets: seed of the generator.
        noise: Synthetic sets: standard deviation of the noise; None takes the default of the set.
        path: "file": the CSV, NPZ or HDF5 file.
        target: "file": the target column(s); None takes the last. HDF5: the data set.
        inputs: "file": the input columns; None takes all others. HDF5: the data set.
        kind: "file" and "teacher": "classification" or "regression".
        features: "teacher": number of inputs.
        outputs: "teacher": number of classes or values.

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
    if name == "teacher":
        made = generated(name, samples, seed, noise, features, outputs, kind)
        return DataSet(name, *made.read(0, samples), made.classes, made.columns)
    if name != "file":
        return toy(name, samples, seed, noise)
    if path is None:
        raise InputError(
            "data set 'file' without a path; give the path of a CSV, NPZ or HDF5 file."
        )
    return read_file(path, target, kind, inputs)
