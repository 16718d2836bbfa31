"""Tiles of samples as the sweeps take them, samples in columns: in memory, or read again each time.

A rank whose samples do not fit into the memory it may take reads them anew for every evaluation, some
tiles at once; see :class:`.Window`. The numbers are those of tiles in memory, in arrays of the same
layout, so the results have the same bits. Nothing here is collective.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data.rows import Rows

__all__ = ["sample_tiles"]

Arrays = Sequence[NDArray[Any]]

_NUMBER = 8  # bytes
_CHUNK = 2**24  # bytes that are read at once, at most
_PARTS = 8  # of the memory, one of which is read at once, at most


def sample_tiles(
    inputs: NDArray[Any] | Rows, targets: NDArray[Any] | Rows, slices: Sequence[slice]
) -> tuple[Arrays, Arrays]:
    """For every slice of the samples its inputs (d, k) and its targets (k,) or (outputs, k), contiguous.

    Args:
        inputs: All inputs, (K, d), an array or read when they are asked for.
        targets: All targets, (K,) or (K, outputs), likewise.
        slices: Ranges of samples, one behind the other.

    Returns:
        Lists; or sequences that read, where the samples of the slices together are more than the memory
        of their data set.
    """
    if not isinstance(inputs, Rows) or not isinstance(targets, Rows):
        return [_columns(inputs[own]) for own in slices], [_columns(targets[own]) for own in slices]
    samples = inputs.samples
    row = _NUMBER * (samples.features + int(np.prod(targets.shape[1:], initial=1)))
    if row * sum(own.stop - own.start for own in slices) > samples.memory:
        chunks = _chunks(slices, min(_CHUNK, samples.memory // _PARTS) // row)
        return _Streamed(inputs, slices, chunks), _Streamed(targets, slices, chunks)
    found: tuple[list[NDArray[Any]], list[NDArray[Any]]] = [], []
    for own in slices:
        pair = samples.read(own.start, own.stop)
        for some, rows, values in zip(found, (inputs, targets), pair, strict=True):
            some.append(_columns(rows.finish(values)))
    return found


def _columns(rows: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(rows.T)


def _chunks(slices: Sequence[slice], most: int) -> list[int]:
    """The first tiles of chunks of at most so many samples, and the number of tiles."""
    edges, begin = [0], slices[0].start
    for tile, own in enumerate(slices):
        if own.stop - begin > most and tile > edges[-1]:
            edges.append(tile)
            begin = own.start
    return [*edges, len(slices)]


class _Streamed(Sequence[NDArray[Any]]):
    """Inputs or targets tile by tile, read in chunks of tiles."""

    def __init__(self, rows: Rows, slices: Sequence[slice], chunks: list[int]) -> None:
        self._rows, self._slices, self._chunks = rows, slices, chunks
        self._here, self._tiles = -1, list[NDArray[Any]]()

    def __len__(self) -> int:
        return len(self._slices)

    @overload
    def __getitem__(self, tile: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, tile: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, tile: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(tile, slice):
            return [self[i] for i in range(*tile.indices(len(self)))]
        if not -len(self) <= tile < len(self):
            raise IndexError(tile)
        tile %= len(self)
        first = self._chunks[bisect_right(self._chunks, tile) - 1]
        if first != self._here:
            self._tiles = []
            own = self._slices[first : self._chunks[bisect_right(self._chunks, tile)]]
            values = self._rows[own[0].start : own[-1].stop]
            low = own[0].start
            self._tiles = [_columns(values[one.start - low : one.stop - low]) for one in own]
            self._here = first
        return self._tiles[tile - first]
