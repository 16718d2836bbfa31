"""Where samples are read from, some at a time: what every kind of file and generator offers."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data.dataset import DataSet
from fem_deepest.errors import InputError

__all__ = ["Memory", "Source", "require_finite"]

Floats = NDArray[np.float64]
Targets = NDArray[Any]


class Source(Protocol):
    """``K`` samples in the order in which they are stored or numbered, read some at a time.

    Attributes:
        name: What the set is called.
        samples: ``K``.
        features: Number of inputs ``d``.
        outputs: Number of classes, or of values ``m``.
        classes: The labels of the classes, or none for regression.
        columns: Names of the inputs.
        concurrent: Whether a thread may read while this one does something else.
        quick: Whether a single sample is read in a time that does not depend on ``K``.

    Nothing here is collective; what opens a source may be.
    """

    name: str
    samples: int
    features: int
    outputs: int
    classes: tuple[str, ...] | None
    columns: tuple[str, ...]
    concurrent: bool
    quick: bool

    def read(self, first: int, last: int) -> tuple[Floats, Targets]:
        """Samples ``first .. last - 1``: inputs (k, d), and class numbers (k,) or values (k, m).

        The numbers do not depend on how the samples are divided among calls.

        Raises:
            InputError: A value is missing or not finite; the sentence names row and column.
        """


class Memory:
    """A data set in memory as a source.

    Args:
        data: The data set.
    """

    concurrent = quick = True

    def __init__(self, data: DataSet) -> None:
        self.data = data
        self.name, self.samples, self.features = data.name, data.samples, data.features
        self.outputs, self.classes, self.columns = data.outputs, data.classes, data.columns

    def read(self, first: int, last: int) -> tuple[Floats, Targets]:
        """See :meth:`Source.read`."""
        return self.data.inputs[first:last], self.data.targets[first:last]


def require_finite(
    name: str, what: str, values: Floats, first: int, columns: tuple[str, ...] = ()
) -> None:
    """Refuse NaN and infinities, naming the first one.

    Args:
        name: Of the file.
        what: "input" or "target".
        values: Samples in rows.
        first: Number of the first of them in the file, from 0.
        columns: Names of the columns; without them they are numbered.

    Raises:
        InputError: There is one.
    """
    if np.isfinite(values).all():
        return
    row, column = np.argwhere(~np.isfinite(values))[0]
    where = f"column '{columns[column]}'" if columns else f"column {column + 1}"
    raise InputError(
        f"{name}: {what} {values[row, column]} in row {first + row + 1}, {where}; expected a finite "
        "number: remove the row or fill the gap."
    )
