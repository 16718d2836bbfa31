"""A data set of which every rank reads what it needs: a part of a source, like a :class:`.DataSet`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray

from fem_deepest.data.dataset import DataSet
from fem_deepest.data.deal import Deal
from fem_deepest.data.source import Source
from fem_deepest.data.window import Window
from fem_deepest.errors import InputError, NumericalFailure

__all__ = ["Rows", "Samples"]

Floats = NDArray[np.float64]
Pair = tuple[NDArray[Any], NDArray[Any]]
Map = Callable[[NDArray[Any]], NDArray[Any]]

_SPAN = 2**17  # numbers that are read at once where a part has gaps
_SHOWN = 2000


class Samples:
    """The training or the test part of a source; it has what a :class:`.DataSet` has.

    Args:
        source: Where the samples are.
        deal: Which belong to which part.
        test: The test part, or that for training.
        comm: The ranks that take parts of it.
        memory: Bytes of samples that a rank may keep; what is more is read again whenever it is needed.

    Attributes:
        name: See :class:`.Source`, as the others.
        samples: ``K`` of this part.
        window: Ranges that are asked for again and again.
        checksum: Of inputs and targets, after :func:`.survey`.

    Not collective but where it is said.
    """

    def __init__(
        self, source: Source, deal: Deal, *, test: bool, comm: MPI.Intracomm, memory: int
    ) -> None:
        self.source, self.deal, self.test = source, deal, test
        self.comm, self.memory = comm, memory
        self.name, self.samples, self.features = source.name, deal.size(test), source.features
        self.outputs, self.classes, self.columns = source.outputs, source.classes, source.columns
        self.window = Window(self.read, memory, source.concurrent)
        self.checksum: int | None = None

    @property
    def is_classification(self) -> bool:
        """True for class numbers, False for regression."""
        return self.classes is not None

    @cached_property
    def inputs(self) -> Rows:
        """The inputs, (K, d), read when they are asked for."""
        return Rows(self, 0, (self.samples, self.features))

    @cached_property
    def targets(self) -> Rows:
        """The targets, (K,) or (K, m), read when they are asked for."""
        shape = (self.samples,) if self.is_classification else (self.samples, self.outputs)
        return Rows(self, 1, shape)

    def read(self, first: int, last: int) -> Pair:
        """Inputs and targets of the samples ``first .. last - 1`` of this part.

        Raises:
            InputError: What is wrong with them.
        """
        if self.deal.fraction == 0.0:
            return self.source.read(first, last)
        numbers = self.deal.numbers(self.test, first, last)
        inputs = np.empty((numbers.size, self.features))
        targets = np.empty(
            (numbers.size, *self.targets.shape[1:]), np.int64 if self.is_classification else float
        )
        if numbers.size == 0:
            return inputs, targets
        span = max(1, _SPAN // (self.features + self.outputs))
        for low in range(int(numbers[0]), int(numbers[-1]) + 1, span):
            high = min(low + span, int(numbers[-1]) + 1)
            own = slice(*np.searchsorted(numbers, [low, high]))
            if own.start < own.stop:
                x, y = self.source.read(low, high)
                inputs[own], targets[own] = x[numbers[own] - low], y[numbers[own] - low]
        return inputs, targets

    def pick(self, numbers: NDArray[np.int64]) -> Pair:
        """Inputs and targets of these samples of this part, in any order.

        Raises:
            InputError: What is wrong with them, or single samples of this source cannot be read.
        """
        if not self.source.quick:
            raise InputError(
                f"{self.name}: single samples were asked for, which takes long of a file that has to be "
                "read through; convert it with 'fem-deepest generate FILE --out FILE.h5'"
            )
        found = [self.read(int(k), int(k) + 1) for k in numbers]
        return (
            np.concatenate([x for x, _ in found]) if found else np.empty((0, self.features)),
            np.concatenate([y for _, y in found]) if found else self.targets[:0],
        )

    def take(self, indices: ArrayLike) -> DataSet:
        """The samples with these numbers, in this order, in memory."""
        chosen = np.asarray(indices)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        return self._whole(*self.pick(chosen.astype(np.int64)))

    def shown(self, most: int = _SHOWN) -> DataSet:
        """The first samples of this part in memory: for figures."""
        return self._whole(*self.read(0, min(most, self.samples)))

    def _whole(self, inputs: NDArray[Any], targets: NDArray[Any]) -> DataSet:
        return DataSet(self.name, inputs, targets, self.classes, self.columns)


class Rows:
    """Inputs or targets of :class:`Samples` as an array that is read when it is sliced.

    Args:
        samples: The data set.
        which: 0 for the inputs, 1 for the targets.
        shape: Shape as read.
        maps: What is done to the rows that were read.

    ``len``, ``shape`` and slices ``rows[a:b]`` are those of an array. Not collective.
    """

    def __init__(
        self, samples: Samples, which: int, shape: tuple[int, ...], maps: tuple[Map, ...] = ()
    ) -> None:
        self.samples, self.which, self.shape, self._maps = samples, which, shape, maps
        whole = which == 1 and samples.is_classification and not maps
        self.dtype = np.dtype(np.int64 if whole else np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def map(self, change: Map) -> Rows:
        """These rows changed by a function that treats each for itself, (k, ...) to (k, ...)."""
        one = change(np.zeros((1, *self.shape[1:]), self.dtype))
        return Rows(self.samples, self.which, (len(self), *one.shape[1:]), (*self._maps, change))

    def finish(self, rows: NDArray[Any]) -> NDArray[Any]:
        """What is made of rows that were read."""
        for change in self._maps:
            rows = change(rows)
        return rows

    def __getitem__(self, key: slice) -> NDArray[Any]:
        """Rows of a range, from the window of the data set.

        Raises:
            NumericalFailure: They cannot be read; so that a sum over samples ends on all ranks.
        """
        first, last, step = key.indices(len(self))
        try:
            rows = self.finish(self.samples.window(first, max(first, last))[self.which])
        except InputError as error:
            raise NumericalFailure(f"samples could not be read again: {error}") from None
        return rows[::step] if step != 1 else rows
