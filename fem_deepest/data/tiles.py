"""Tiles of samples as the sweeps take them, samples in columns: in memory, or read again each time.

A rank whose samples do not fit into the memory it may take reads them anew for every evaluation, chunk
by chunk of tiles; while one chunk is computed on, a thread reads the next, and behind the last the first
of the next evaluation. The numbers are those of tiles in memory, in arrays of the same layout, so the
results have the same bits. Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data.rows import Rows
from fem_deepest.errors import InputError, NumericalFailure

__all__ = ["sample_tiles"]

Arrays = Sequence[NDArray[Any]]
Pair = tuple[NDArray[Any], NDArray[Any]]

_NUMBER = 8  # bytes
_CHUNK = 2**24  # bytes that are read at once, at most
_AT_ONCE = 4  # chunks in memory: in use, in reading, and each as read and as tiles


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
    stream = _Stream(inputs, targets, slices)
    if stream.bytes > inputs.samples.memory:
        return _Streamed(stream, 0), _Streamed(stream, 1)
    pairs = [pair for chunk in range(stream.chunks) for pair in stream.read(chunk)]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _columns(rows: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(rows.T)


class _Stream:
    """Chunks of tiles, each read at once; the next one in a thread."""

    def __init__(self, inputs: Rows, targets: Rows, slices: Sequence[slice]) -> None:
        self._inputs, self._targets, self.slices = inputs, targets, slices
        samples = inputs.samples
        row = _NUMBER * (samples.features + int(np.prod(targets.shape[1:], initial=1)))
        self.bytes = row * sum(own.stop - own.start for own in slices)
        most = min(_CHUNK, samples.memory // _AT_ONCE)
        self._edges = [0]  # of the chunks, in tiles
        size = 0
        for tile, own in enumerate(slices):
            size += row * (own.stop - own.start)
            if size > most and tile > self._edges[-1]:
                self._edges.append(tile)
                size = row * (own.stop - own.start)
        self._edges.append(len(slices))
        self.chunks = len(self._edges) - 1 if slices else 0
        self._of = np.repeat(np.arange(len(self._edges) - 1), np.diff(self._edges))
        self._here: tuple[int, list[Pair]] = (-1, [])
        self._next: tuple[int, Future[list[Pair]]] | None = None
        self._thread = ThreadPoolExecutor(1) if samples.source.concurrent else None

    def read(self, chunk: int) -> list[Pair]:
        """The tiles of a chunk."""
        tiles = self.slices[self._edges[chunk] : self._edges[chunk + 1]]
        first, last = tiles[0].start, tiles[-1].stop
        x, y = self._inputs.samples.read(first, last)
        x, y = self._inputs.finish(x), self._targets.finish(y)
        own = [slice(tile.start - first, tile.stop - first) for tile in tiles]
        return [(_columns(x[part]), _columns(y[part])) for part in own]

    def tile(self, tile: int) -> Pair:
        """Inputs and targets of a tile."""
        chunk = int(self._of[tile])
        if self._here[0] != chunk:
            self._here = (-1, [])
            ahead, self._next = self._next, None
            try:
                fits = ahead is not None and ahead[0] == chunk
                self._here = chunk, ahead[1].result() if fits and ahead else self.read(chunk)
            except (
                InputError
            ) as error:  # in the midst of a sum over samples, which ends on all ranks
                raise NumericalFailure(f"samples could not be read again: {error}") from None
            if self._thread is not None and self.chunks > 1:
                after = (chunk + 1) % self.chunks
                self._next = after, self._thread.submit(self.read, after)
        return self._here[1][tile - self._edges[chunk]]


class _Streamed(Sequence[NDArray[Any]]):
    """Inputs or targets of a stream, tile by tile."""

    def __init__(self, stream: _Stream, which: int) -> None:
        self._stream, self._which = stream, which

    def __len__(self) -> int:
        return len(self._stream.slices)

    @overload
    def __getitem__(self, tile: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, tile: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, tile: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(tile, slice):
            return [self[i] for i in range(*tile.indices(len(self)))]
        if not -len(self) <= tile < len(self):
            raise IndexError(tile)
        return self._stream.tile(tile % len(self))[self._which]
