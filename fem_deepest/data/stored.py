"""Samples in a file of arrays: the inputs in one, the targets in another, each read by its rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.data.arrays import require_matrix
from fem_deepest.data.labels import Labels, unique_labels
from fem_deepest.data.source import Floats, Targets, require_finite
from fem_deepest.errors import InputError
from fem_deepest.spaces.grid import own_part

__all__ = ["Stored", "StoredSamples"]

_READ = 2**20  # labels that are looked at together


class Stored(Protocol):
    """An array in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its type."""

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Rows ``first .. last - 1``."""


class StoredSamples:
    """Two arrays of a file as a :class:`.Source`.

    Args:
        path: The file.
        names: Of both arrays.
        inputs: (K, d), real numbers.
        targets: Labels (K,), or numbers (K,) or (K, m); None: only inputs are wanted.
        kind: "classification" or "regression".
        comm: The ranks that read; each looks for labels in its part.
        classes: The labels, where the targets are class numbers already.
        columns: Names of the inputs, if there are.
        concurrent: See :class:`.Source`.
        quick: See :class:`.Source`.

    Raises:
        InputError: The arrays are of the wrong type or shape, or there are no classes.

    Collective: construction.
    """

    def __init__(
        self,
        path: Path,
        names: tuple[str, str],
        inputs: Stored,
        targets: Stored,
        kind: str,
        comm: MPI.Intracomm,
        classes: tuple[str, ...] | None = None,
        columns: tuple[str, ...] = (),
        *,
        concurrent: bool = True,
        quick: bool = True,
    ) -> None:
        self.path, self.name = path, path.name
        self._inputs, self._targets, self._names = inputs, targets, names
        self.concurrent, self.quick = concurrent, quick
        require_matrix(path, names[0], inputs.shape, inputs.dtype)
        self.samples, self.features = inputs.shape
        self.columns = columns or tuple(f"x{i + 1}" for i in range(self.features))
        self._require_targets(kind)
        self._labels: Labels | None = None
        self.classes: tuple[str, ...] | None = None
        if kind == "regression":
            self.outputs = int(np.prod(targets.shape[1:], initial=1))
        else:
            if classes is None:
                self._labels = Labels(path, self._own_labels(comm), comm)
                classes = self._labels.classes
            self.classes, self.outputs = classes, len(classes)

    def _require_targets(self, kind: str) -> None:
        shape, dtype, name = self._targets.shape, self._targets.dtype, self._names[1]
        if len(shape) == 0 or shape[0] != self.samples:
            raise InputError(
                f"{self.path}: {self.samples} rows of inputs but targets '{name}' of shape {shape}; "
                "give one target per row."
            )
        if kind == "regression":
            if dtype.kind not in "fiub":
                raise InputError(
                    f"{self.path}: the targets '{name}' have type {dtype}; expected real numbers for "
                    "regression: convert them, or use kind = 'classification'."
                )
            if len(shape) > 2 or 0 in shape:
                raise InputError(
                    f"{self.path}: the targets '{name}' have shape {shape}; expected (samples,) or "
                    "(samples, outputs) for regression."
                )
        else:
            unique_labels(self.path, self._targets.read(0, 1))  # type and shape

    def _own_labels(self, comm: MPI.Intracomm) -> Iterator[list[str]]:
        own = own_part(self.samples, comm)
        for low in own[::_READ]:
            values = self._targets.read(low, min(low + _READ, own.stop))
            yield unique_labels(self.path, values, low)[1]

    def read(self, first: int, last: int) -> tuple[Floats, Targets]:
        """See :meth:`.Source.read`."""
        x = np.ascontiguousarray(self._inputs.read(first, last), dtype=np.float64)
        require_finite(str(self.path), "input", x, first, self.columns)
        values = self._targets.read(first, last)
        if self.classes is None:
            y = np.ascontiguousarray(values, dtype=np.float64).reshape(len(x), self.outputs)
            require_finite(str(self.path), "target", y, first)
            return x, y
        if self._labels is not None:
            return x, self._labels(*unique_labels(self.path, values, first))
        numbers = values.astype(np.int64).reshape(-1)
        wrong = np.flatnonzero((numbers < 0) | (numbers >= len(self.classes)))
        if wrong.size:
            raise InputError(
                f"{self.path}: class number {numbers[wrong[0]]} in row {first + wrong[0] + 1}; expected "
                f"0 to {len(self.classes) - 1}, one for each of the classes in the file."
            )
        return x, numbers
