"""Data in NumPy's NPZ format: the inputs in one array, the targets in another."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

__all__ = ["DAMAGE", "PAIRS", "read_arrays", "require_matrix"]

# RuntimeError: encrypted, or a compression that zipfile does not know.
DAMAGE = (ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
PAIRS = (("inputs", "targets"), ("x", "y"), ("X", "y"))


def read_arrays(path: Path, *, targets: bool) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """Read ``inputs``/``targets``, ``x``/``y`` or ``X``/``y``, whichever pair is there.

    Args:
        path: The ``.npz`` file. Arrays of Python objects are refused: reading them would run
            code from the file.
        targets: Whether the targets are wanted.

    Returns:
        Inputs ``(K, d)`` and targets as stored, ``(K,)`` or ``(K, m)``; None if not wanted.

    Raises:
        InputError: The file is damaged, an array is missing, or the inputs are not a matrix of
            finite numbers.
    """
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not an NPZ file; write it with numpy.savez(path, x=x, y=y).")
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = archive.files
            for x, y in PAIRS:
                if x in names and (not targets or y in names):
                    inputs = _matrix(path, x, archive[x])
                    return inputs, archive[y] if targets else None
    except InputError:
        raise
    except DAMAGE as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise InputError(
                f"{path}: an array holds Python objects, which are not read; store numbers, or "
                "text as a string array (x.astype(float), y.astype(str))."
            ) from error
        raise InputError(
            f"{path}: the file is damaged ({error}); write it again with numpy.savez."
        ) from error
    raise InputError(
        f"{path}: holds {', '.join(names) or 'no array'}; expected "
        + ("'inputs' and 'targets', or 'x' and 'y'." if targets else "'inputs' or 'x'.")
    )


def _matrix(path: Path, name: str, values: NDArray[Any]) -> NDArray[np.float64]:
    require_matrix(path, name, values.shape, values.dtype)
    numbers = np.ascontiguousarray(values, dtype=np.float64)
    if not np.isfinite(numbers).all():
        row, column = np.argwhere(~np.isfinite(numbers))[0]
        raise InputError(
            f"{path}: '{name}' has the value {numbers[row, column]} in row {row + 1}, column "
            f"{column + 1}; expected a finite number: remove the row or fill the gap."
        )
    return numbers


def require_matrix(path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse inputs that are no matrix of real numbers.

    Raises:
        InputError: They are not.
    """
    if dtype.kind not in "fiub":
        raise InputError(
            f"{path}: '{name}' has type {dtype}; expected real numbers: convert it with "
            f"{name}.astype(float)."
        )
    if len(shape) != 2 or 0 in shape:
        raise InputError(
            f"{path}: '{name}' has shape {shape}; expected (samples, features), neither 0: "
            f"reshape it with {name}.reshape(len({name}), -1)."
        )
