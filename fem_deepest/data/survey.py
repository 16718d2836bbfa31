"""Sums over the samples of a data set that no rank has as a whole: scaling, checksum, scores.

The samples are summed in fixed blocks along the fixed tree of :class:`.SampleBlocks`, and within a block
in pieces of a fixed length: the sums have the same bits on any number of ranks. Each rank reads the
blocks dealt to it, once.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data.rows import Samples
from fem_deepest.data.split import Standardiser
from fem_deepest.errors import InputError
from fem_deepest.spaces.grid import SampleBlocks
from fem_deepest.spaces.tasks import on_root

__all__ = ["Survey", "sum_over", "survey"]

Array = NDArray[np.float64]

_BLOCK, _MOST = 4096, 1024  # samples of a block, at least; blocks, at most
_PIECE = 2**17  # numbers


@dataclass(frozen=True)
class Survey:
    """What a training has to know of all of its samples.

    Attributes:
        inputs: Mean and deviation of the inputs.
        targets: Those of the targets of a regression; of classes nothing.
    """

    inputs: Standardiser
    targets: Standardiser | None


def sum_over(
    samples: Samples, add: Callable[[Array, NDArray, Array, int], None], size: int
) -> Array:
    """A sum over all samples, the same on every rank.

    Args:
        samples: Data set.
        add: ``add(inputs, targets, sums, piece)`` adds what the samples of a piece have; pieces have
            numbers of their own.
        size: Entries of ``sums``.

    Raises:
        InputError: What is wrong with the data; the first rank's that found something.
        NumericalFailure: What ``add`` raised.

    Collective on the ranks of the data set.
    """
    count = min(max(samples.samples // _BLOCK, 1), _MOST)
    blocks = SampleBlocks(samples.samples, samples.comm, count)
    total, failures = np.zeros(size), list[InputError]()
    rows = max(1, _PIECE // (samples.features + samples.outputs))

    def block_sum(block: int, sums: Array) -> None:
        sums[...] = 0.0
        own = blocks.own[block]
        first = blocks.local.start
        try:
            for low in range(own.start, own.stop, rows):
                x, y = samples.read(first + low, first + min(low + rows, own.stop))
                add(x, y, sums, first + low)
        except InputError as error:
            failures.append(error)

    blocks.sum(block_sum, total)
    for found in samples.comm.allgather(failures[:1]):
        if found:
            raise found[0]
    samples.comm.Bcast(total, root=0)
    return total


def survey(samples: Samples) -> Survey:
    """Look at all samples of a part, and leave their checksum with it.

    Mean and deviation are those of differences from a value near the mean, that of the first samples: one
    pass, without cancellation.

    Raises:
        InputError: As :func:`sum_over`; or a mean or a deviation is not finite.

    Collective on the ranks of the data set.
    """
    regression = not samples.is_classification
    first = _near(samples)
    widths = [samples.features, samples.outputs if regression else 0]
    cuts = np.cumsum([1, *widths, *widths])

    def parts(sums: Array) -> Iterator[tuple[Array, Array]]:
        yield sums[cuts[0] : cuts[1]], sums[cuts[2] : cuts[3]]
        yield sums[cuts[1] : cuts[2]], sums[cuts[3] : cuts[4]]

    def add(x: Array, y: NDArray, sums: Array, piece: int) -> None:
        content = np.ascontiguousarray(y).tobytes(), np.ascontiguousarray(x).tobytes()
        sums[0] += zlib.crc32(content[1], zlib.crc32(content[0], piece % 2**32))
        with np.errstate(over="ignore", invalid="ignore"):
            for values, shift, (sum_, squares) in zip((x, y), first, parts(sums), strict=True):
                if sum_.size:
                    difference = values - shift
                    sum_ += difference.sum(axis=0)
                    squares += np.square(difference).sum(axis=0)

    sums = sum_over(samples, add, int(cuts[4]))
    found = [
        _scaling(*pair, shift, samples.samples)
        for pair, shift in zip(parts(sums), first, strict=True)
    ]
    samples.checksum = int(sums[0])
    return Survey(found[0], found[1] if regression else None)


def _near(samples: Samples) -> list[Array]:
    """Values near the means of inputs and targets; those of constant columns exactly. Collective."""

    def near() -> list[Array]:
        inputs, targets = samples.read(0, min(samples.samples, _BLOCK // 4))
        return [_middle(inputs), np.zeros(0) if samples.is_classification else _middle(targets)]

    return on_root(near, samples.comm)


def _middle(values: Array) -> Array:
    constant = values.max(axis=0) == values.min(axis=0)
    with np.errstate(over="ignore"):
        return np.where(constant, values[0], values.mean(axis=0))


def _scaling(sums: Array, squares: Array, shift: Array, samples: int) -> Standardiser:
    if not sums.size:
        return Standardiser.identity(0)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = sums / samples
        scale = np.sqrt(np.maximum(squares / samples - mean**2, 0.0))
    return Standardiser(shift + mean, np.where(scale == 0.0, 1.0, scale))
