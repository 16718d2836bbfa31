"""Samples in chunks: what of a data set a rank reads for an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.spaces.grid import deal
from fem_deepest.spaces.slabs import Slabs


class Source(Protocol):
    """Rows of a data set: an array, or something that reads them where they are asked for."""

    def __len__(self) -> int:
        """Number of samples, of all ranks."""

    def __getitem__(self, rows: slice) -> Any:
        """Samples of a range, an array of as many rows."""


@dataclass(frozen=True)
class Batch:
    """The samples of a rank, dealt out over the data axis and then in chunks.

    Attributes:
        inputs: All inputs, (K, d); read on the ranks of the first slab.
        targets: All targets, (K,) or (K, outputs); read on those of the last slab.
        edges: Numbers of the first samples of the chunks, and of the one after the last.
    """

    inputs: Source
    targets: Source
    edges: list[int]

    @classmethod
    def deal(cls, slabs: Slabs, inputs: Source, targets: Source, chunk: int) -> Batch:
        """In as few chunks as a width of ``chunk`` allows, as many on every rank.

        Widths differ by one at most; with fewer samples than ranks some chunks are empty.
        """
        own = slabs.share(len(inputs))
        count = chunk_count(len(inputs), slabs.grid.data.size, chunk)
        return cls(inputs, targets, [own.start + edge for edge in deal(len(own), count)])

    @property
    def widths(self) -> list[int]:
        """Numbers of samples of the chunks."""
        return [int(width) for width in np.diff(self.edges)]

    def columns(self, source: Source, chunk: int) -> NDArray:
        """Rows of a chunk as columns, (d, k), or numbers (k,)."""
        return np.ascontiguousarray(source[self.edges[chunk] : self.edges[chunk + 1]].T)


def chunk_count(samples: int, ranks: int, chunk: int) -> int:
    """Chunks ``C`` on every data rank: those of the rank with most samples."""
    most = -(-samples // ranks)
    return max(-(-most // chunk), 1)
