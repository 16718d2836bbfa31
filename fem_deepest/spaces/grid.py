"""Process grid of the ranks, and sums over samples that have the same bits on any number of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError, NumericalFailure

Array = NDArray[np.float64]

BLOCKS = 12  # divisible by 1, 2, 3, 4, 6 and 12 ranks
FEW = 64  # narrower blocks would spend their time between the matrix products
TILE = 256  # samples whose states through the depth stay in the cache together


@dataclass(frozen=True)
class ProcessGrid:
    """Ranks in a grid slabs x data: a row shares a slab, a column shares samples.

    A slab is a part of the depth with the whole neuron index, or a part of the neuron index through the
    whole depth; by default there is one, with all of both. Samples are dealt out over the data axis in
    contiguous blocks. The parameters of a :class:`.ControlSpace` belong to the first data rank of a slab,
    so that the inner products of a solver have the same bits on any number of data ranks.

    Attributes:
        comm: All ranks.
        data: Communicator of the ranks that share this rank's slab.
        shape: Extent (slabs, data).
        index: Communicator of the ranks that share this rank's samples, one of each part of the index.
        depth: Communicator of the ranks that share this rank's samples, one of each slab of the depth,
            in the order of the depth.
    """

    comm: MPI.Intracomm
    data: MPI.Intracomm
    shape: tuple[int, int]
    index: MPI.Intracomm = field(default_factory=lambda: MPI.COMM_SELF)
    depth: MPI.Intracomm = field(default_factory=lambda: MPI.COMM_SELF)

    @classmethod
    def create(
        cls, comm: MPI.Intracomm = MPI.COMM_WORLD, index: int = 1, depth: int = 1
    ) -> ProcessGrid:
        """Grid slabs x (size / slabs) on ``comm``. Collective on ``comm``.

        Args:
            comm: All ranks.
            index: Parts of the neuron index; see :class:`.SpreadSpace`. Neighbours in rank share
                samples, since they talk most.
            depth: Slabs of the depth. Neighbours in rank share a slab: they exchange its weights, and
                slabs only the states at their ends.

        Raises:
            InputError: The ranks are no multiple of the slabs, or both axes are asked for.
        """
        if index == depth == 1:
            return cls(comm, comm, (1, comm.size))
        if index > 1 and depth > 1:
            raise InputError(
                f"a neuron index in {index} parts was asked for with a depth in {depth} slabs, expected "
                "one of them; take an index that is not spread, or one slab"
            )
        slabs, what = (index, "neuron index") if index != 1 else (depth, "depth")
        if slabs < 1 or comm.size % slabs:
            raise InputError(
                f"{comm.size} ranks were given to a {what} in {slabs} parts, expected a multiple "
                "of the parts; take other ranks or parts"
            )
        width = comm.size // slabs
        if index > 1:
            samples, slab = divmod(comm.rank, index)
        else:
            slab, samples = divmod(comm.rank, width)
        data = MPI.Intracomm(comm.Split(slab, samples))
        along = MPI.Intracomm(comm.Split(samples, slab))
        axis = {"index": along} if index > 1 else {"depth": along}
        return cls(comm, data, (slabs, width), **axis)

    @property
    def owner(self) -> bool:
        """Whether this rank owns the parameters of its slab."""
        return self.data.rank == 0

    def __str__(self) -> str:
        return f"{self.shape[0]}x{self.shape[1]}"


def ranks_on_host(comm: MPI.Intracomm) -> int:
    """How many of these ranks share the memory of this one. Collective on ``comm``."""
    host = comm.Split_type(MPI.COMM_TYPE_SHARED)
    here = int(host.size)
    host.Free()
    return here


def deal(count: int, parts: int) -> list[int]:
    """Edges (parts + 1,) of contiguous parts whose sizes differ by one at most."""
    return [count * part // parts for part in range(parts + 1)]


def own_part(count: int, comm: MPI.Intracomm) -> range:
    """This rank's part of so many, dealt out over all ranks. Not collective."""
    edges = deal(count, comm.size)
    return range(edges[comm.rank], edges[comm.rank + 1])


def block_count(samples: int, ranks: int) -> int:
    """Blocks of so many samples: 12, or 6 for few of them, and a multiple of that for more ranks."""
    blocks = BLOCKS if samples >= FEW * BLOCKS else BLOCKS // 2
    return blocks * -(-ranks // blocks)


class SampleBlocks:
    """``K`` samples in fixed blocks dealt out over the data axis, and ordered sums over them.

    Floating-point sums depend on their order. The blocks do not depend on the number of ranks, and
    block sums are added along one fixed binary tree, so a sum over all samples has the same bits on
    1, 2, 3, ... ranks. Every rank sends the roots of the largest subtrees it owns: at most about
    twice what a plain reduction sends.

    Args:
        samples: ``K``.
        comm: Data axis.
        count: Number of blocks; default 12, or 6 for few samples, and a multiple of that where
            there are more ranks.

    Attributes:
        local: Range of the global sample numbers of this rank.
        own: For every block of this rank its range in the local sample numbers.
        tiles: For every block of this rank the ranges of its tiles, of ``TILE`` samples or less.

    The number of blocks does not depend on the number of ranks up to 12 of them (6 for few
    samples); with more ranks there are more blocks, and sums are equal only to rounding.
    Collective on ``comm`` only in :meth:`sum`.
    """

    def __init__(self, samples: int, comm: MPI.Intracomm, count: int | None = None) -> None:
        blocks = count or block_count(samples, comm.size)
        self.samples, self.comm, self.count = samples, comm, blocks
        self.edges, parts = deal(samples, blocks), list(pairwise(deal(blocks, comm.size)))
        self._roots = [list(subtrees(0, blocks, *part)) for part in parts]
        self._first, last = parts[comm.rank]
        self.local = slice(self.edges[self._first], self.edges[last])
        self.own = [
            slice(self.edges[b] - self.local.start, self.edges[b + 1] - self.local.start)
            for b in range(self._first, last)
        ]
        self.tiles = [
            [slice(lo, min(lo + TILE, block.stop)) for lo in range(block.start, block.stop, TILE)]
            for block in self.own
        ]
        self._spare: dict[int, list[Array]] = {}

    def sum(self, block_sum: Callable[[int, Array], None], out: Array) -> None:
        """Sum over all blocks of all ranks. Collective.

        Args:
            block_sum: ``block_sum(b, value)`` writes the sum over the samples ``own[b]`` into
                ``value``; called once for every block of this rank, in order.
            out: Receives the sum on the first rank of the axis; untouched elsewhere.

        Raises:
            NumericalFailure: ``block_sum`` raised it on some rank; then it is raised on all.
        """
        values, failure = list[Array](), ""
        try:
            for lo, hi in self._roots[self.comm.rank]:
                values.append(self._node(lo, hi, block_sum, out.size))
        except NumericalFailure as error:
            failure = str(error)
        agree(self.comm, failure)
        if self.comm.rank > 0:
            for value in values:
                self.comm.Send(value, dest=0)
        else:
            tree = dict(zip(self._roots[0], values, strict=True))
            for rank in range(1, self.comm.size):
                for node in self._roots[rank]:
                    tree[node] = self._buffer(out.size)
                    self.comm.Recv(tree[node], source=rank)
            values = [self._combine(0, self.count, tree)]
            out[...] = values[0]
        for value in values:
            self._release(value)

    def _buffer(self, size: int) -> Array:
        spare = self._spare.setdefault(size, [])
        return spare.pop() if spare else np.empty(size)

    def _release(self, value: Array) -> None:
        self._spare.setdefault(value.size, []).append(value)

    def _node(self, lo: int, hi: int, block_sum: Callable[[int, Array], None], size: int) -> Array:
        """Sum over the blocks lo..hi-1 of this rank, along the tree."""
        if hi - lo == 1:
            value = self._buffer(size)
            block_sum(lo - self._first, value)
            return value
        middle = _middle(lo, hi)
        left = self._node(lo, middle, block_sum, size)
        right = self._node(middle, hi, block_sum, size)
        return self._add(left, right)

    def _combine(self, lo: int, hi: int, tree: dict[tuple[int, int], Array]) -> Array:
        if (lo, hi) in tree:
            return tree[lo, hi]
        middle = _middle(lo, hi)
        return self._add(self._combine(lo, middle, tree), self._combine(middle, hi, tree))

    def _add(self, left: Array, right: Array) -> Array:
        left += right
        self._release(right)
        return left


def agree(comm: MPI.Intracomm, failure: str) -> None:
    """Raise on all ranks what failed on one of them. Collective on ``comm``.

    Args:
        comm: The ranks.
        failure: What failed here; empty for nothing.

    Raises:
        NumericalFailure: A rank has something to tell.
    """
    failed = np.array([bool(failure)], dtype=np.int32)
    if comm.size > 1:
        comm.Allreduce(MPI.IN_PLACE, failed, op=MPI.MAX)
    if failed[0]:
        raise NumericalFailure(next(filter(None, comm.allgather(failure))))


def _middle(lo: int, hi: int) -> int:
    return (lo + hi + 1) // 2


def subtrees(lo: int, hi: int, first: int, last: int) -> Iterator[tuple[int, int]]:
    """Largest nodes of the tree over [lo, hi) that lie in [first, last), left to right."""
    if last <= lo or hi <= first:
        return
    if first <= lo and hi <= last:
        yield lo, hi
        return
    middle = _middle(lo, hi)
    yield from subtrees(lo, middle, first, last)
    yield from subtrees(middle, hi, first, last)
