"""A data set: ``K`` input/output pairs ``(x_k, y_k)``, samples in rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError

__all__ = ["DataSet"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DataSet:
    """Input/output pairs ``(x_k, y_k)``, ``k = 1..K``, for classification or regression.

    Attributes:
        name: What the set is called in figures and in ``run.json``.
        inputs: ``(K, d)``, float64.
        targets: Classification: ``(K,)`` int64, indices into ``classes``. Regression: ``(K, m)``
            float64.
        classes: The labels as the source wrote them, one per class index, or None for regression.
        columns: The names of the ``d`` inputs. Left empty, they become ``x1, .., xd``.

    Raises:
        InputError: The set is empty, has a NaN or an infinity, has fewer than two classes, or
            its sizes disagree.
    """

    name: str
    inputs: Floats
    targets: Floats | Integers
    classes: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Bring the arrays to their types and refuse what is not a data set."""
        inputs = _floats(self.name, "inputs", self.inputs)
        if inputs.ndim != 2:
            raise InputError(
                f"{self.name}: the inputs have shape {inputs.shape}; expected two axes "
                "(samples, features): reshape them to one row per sample."
            )
        if 0 in inputs.shape:
            raise InputError(
                f"{self.name}: the inputs have shape {inputs.shape}, so the data set is empty; "
                "give at least one sample with one feature."
            )
        columns = tuple(self.columns) or tuple(f"x{i + 1}" for i in range(inputs.shape[1]))
        if len(columns) != inputs.shape[1]:
            raise InputError(
                f"{self.name}: {len(columns)} column names for {inputs.shape[1]} inputs; "
                "give one name per input, or none."
            )
        _check_finite(self.name, "input", inputs, columns)
        targets = self._regression() if self.classes is None else self._classification()
        if len(targets) != len(inputs):
            raise InputError(
                f"{self.name}: {len(inputs)} rows of inputs but {len(targets)} targets; "
                "give one target per row."
            )
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "columns", columns)

    def _regression(self) -> Floats:
        targets = _floats(self.name, "targets", self.targets)
        if targets.ndim == 1:
            targets = targets[:, np.newaxis]
        if targets.ndim != 2 or targets.shape[1] == 0:
            raise InputError(
                f"{self.name}: the targets have shape {targets.shape}; expected (samples,) or "
                "(samples, outputs) for regression."
            )
        names = tuple(f"y{i + 1}" for i in range(targets.shape[1]))
        _check_finite(self.name, "target", targets, names)
        return targets

    def _classification(self) -> Integers:
        classes = tuple(str(c) for c in self.classes or ())
        object.__setattr__(self, "classes", classes)
        if len(classes) < 2:
            raise InputError(
                f"{self.name}: classification needs at least two classes, got "
                f"{len(classes)} ({', '.join(classes) or 'none'}); choose another target column, "
                "or use kind = 'regression'."
            )
        if len(set(classes)) < len(classes):
            raise InputError(f"{self.name}: a class is listed twice in {classes}; list it once.")
        targets = np.asarray(self.targets)
        if targets.ndim != 1 or targets.dtype.kind not in "iu":
            raise InputError(
                f"{self.name}: the targets have shape {targets.shape} and type {targets.dtype}; "
                "expected one integer class index per sample for classification."
            )
        wrong = np.flatnonzero((targets < 0) | (targets >= len(classes)))
        if wrong.size:
            raise InputError(
                f"{self.name}: class index {targets[wrong[0]]} in row {wrong[0] + 1}; expected "
                f"0 to {len(classes) - 1}, one for each of the {len(classes)} classes."
            )
        return np.ascontiguousarray(targets, dtype=np.int64)

    @property
    def is_classification(self) -> bool:
        """True for class indices, False for regression."""
        return self.classes is not None

    @property
    def samples(self) -> int:
        """Number of samples ``K``."""
        return len(self.inputs)

    @property
    def features(self) -> int:
        """Number of inputs ``d``."""
        return int(self.inputs.shape[1])

    @property
    def outputs(self) -> int:
        """Number of classes, or number ``m`` of regression targets."""
        return int(self.targets.shape[1]) if self.classes is None else len(self.classes)

    def shown(self) -> DataSet:
        """What figures show: all samples, unlike those of :meth:`.Samples.shown`."""
        return self

    def take(self, indices: ArrayLike) -> DataSet:
        """The samples with these numbers, in this order; all classes are kept.

        Args:
            indices: Sample numbers (from 0), or a boolean mask of length ``K``.

        Raises:
            InputError: Nothing is taken, or a number is outside the data set.
        """
        chosen: Any = np.asarray(indices)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        try:
            inputs, targets = self.inputs[chosen], self.targets[chosen]
        except IndexError as error:
            raise InputError(
                f"{self.name}: {error}; take samples 0 to {self.samples - 1}."
            ) from error
        return DataSet(self.name, inputs, targets, self.classes, self.columns)


def _floats(name: str, what: str, values: Any) -> Floats:
    """Convert to a C-contiguous float64 array."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":
            raise TypeError("complex numbers")
        return np.ascontiguousarray(array, dtype=np.float64).reshape(array.shape)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name}: the {what} cannot be read as real numbers ({error}); give a rectangular "
            "array of numbers."
        ) from error


def _check_finite(name: str, what: str, values: Floats, columns: tuple[str, ...]) -> None:
    """Refuse NaN and infinities, naming the first one."""
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"{name}: {what} {values[row, column]} in row {row + 1}, column "
            f"'{columns[column]}'; expected a finite number: remove the row or fill the gap."
        )
