"""Samples in blocks: a partition on any number of ranks, and sums with the same bits.

Ranks are played one after the other in one process; ``tests/mpi`` does the same with MPI.
"""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.spaces import ProcessGrid, SampleBlocks

Array = NDArray[np.float64]


class _Rank:
    """One rank of a communicator whose messages lie in a letter box until rank 0 reads them."""

    def __init__(self, rank: int, size: int, box: dict[int, list[Array]]) -> None:
        self.rank, self.size, self._box = rank, size, box

    def Allreduce(self, send: object, flags: Array, op: object) -> None:
        """The other ranks have nothing to report."""

    def Send(self, value: Array, dest: int) -> None:
        assert dest == 0
        self._box.setdefault(self.rank, []).append(value.copy())

    def Recv(self, value: Array, source: int) -> None:
        value[...] = self._box[source].pop(0)


def _ranks(size: int) -> list[_Rank]:
    box: dict[int, list[Array]] = {}
    return [_Rank(rank, size, box) for rank in range(size)]


def _sum(samples: Array, size: int) -> tuple[Array, list[list[int]]]:
    """Sum of the columns as rank 0 gets it, and the order of the calls on every rank."""
    out = np.full(len(samples), np.nan)
    calls: list[list[int]] = []
    ranks = _ranks(size)
    for comm in [*ranks[1:], ranks[0]]:
        blocks = SampleBlocks(samples.shape[1], comm)  # type: ignore[arg-type]
        local, order = samples[:, blocks.local], []

        def block_sum(b: int, value: Array, local=local, own=blocks.own, order=order) -> None:
            order.append(b)
            value[...] = local[:, own[b]].sum(axis=1)

        result = out if comm.rank == 0 else np.full_like(out, 7.0)
        blocks.sum(block_sum, result)
        assert comm.rank == 0 or np.all(result == 7.0)
        assert order == list(range(len(blocks.own)))
        calls.append(order)
    assert not any(ranks[0]._box.values())  # every message was read
    return out, calls


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 12, 13, 30])
@pytest.mark.parametrize("samples", [1, 2, 5, 6, 7, 13, 100, 767, 768, 769, 4000])
def test_every_sample_lies_in_one_block_of_one_rank(samples: int, size: int) -> None:
    seen = []
    for comm in _ranks(size):
        blocks = SampleBlocks(samples, comm)  # type: ignore[arg-type]
        local = np.arange(samples)[blocks.local]
        parts = [local[own] for own in blocks.own]
        assert np.array_equal(np.concatenate([[], *parts]), local)
        seen += parts
    np.testing.assert_array_equal(np.concatenate(seen), np.arange(samples))
    widths = [len(part) for part in seen]
    assert max(widths) - min(widths) <= 1


@pytest.mark.parametrize("samples", [5, 767, 768, 4000])
def test_blocks_do_not_depend_on_the_number_of_ranks(samples: int) -> None:
    def edges(size: int) -> list[int]:
        return SampleBlocks(samples, _Rank(0, size, {})).edges  # type: ignore[arg-type]

    assert all(edges(size) == edges(1) for size in range(1, 7))
    if samples >= 768:
        assert all(edges(size) == edges(1) for size in range(7, 13))


@pytest.mark.parametrize("samples", [1, 7, 769])
def test_sums_have_the_same_bits_on_any_number_of_ranks(samples: int) -> None:
    random = np.random.default_rng(samples)
    # Magnitudes from 1e-8 to 1e8: another order of the additions shows in the last bits.
    x = random.standard_normal((50, samples)) * 10.0 ** random.integers(-8, 9, (50, samples))
    serial, _ = _sum(x, 1)
    np.testing.assert_allclose(serial, x.sum(axis=1), rtol=0.0, atol=1e-14 * np.abs(x).sum())
    for size in (2, 3, 4, 5, 6, *([7, 12] if samples == 769 else [])):
        np.testing.assert_array_equal(_sum(x, size)[0], serial, err_msg=f"{size} ranks")
    for size in (13, 20):  # more blocks, so the sums agree to rounding only
        np.testing.assert_allclose(_sum(x, size)[0], serial, rtol=0.0, atol=1e-14 * np.abs(x).sum())


def test_the_order_of_the_sum_is_a_balanced_tree() -> None:
    """The tree over six blocks, written out; sums from one side have other bits."""
    random = np.random.default_rng(17)
    x = random.standard_normal((50, 6)) * 10.0 ** random.integers(-3, 4, (50, 6))
    a, b, c, d, e, f = x.T
    tree = ((a + b) + c) + ((d + e) + f)
    assert np.any(tree != a + b + c + d + e + f)
    assert np.any(tree != a + (b + (c + (d + (e + f)))))
    for size in (1, 2, 3, 4, 5, 6):
        np.testing.assert_array_equal(_sum(x, size)[0], tree)


def test_repeated_sums_of_different_lengths() -> None:
    """Buffers are kept from sum to sum; a gradient is longer than a value."""
    blocks = SampleBlocks(100, MPI.COMM_SELF)
    for length in (3, 5, 5, 3, 1, 3):
        out = np.empty(length)

        def block_sum(b: int, value: Array) -> None:
            value[...] = (blocks.own[b].stop - blocks.own[b].start) * np.arange(value.size)

        blocks.sum(block_sum, out)
        np.testing.assert_array_equal(out, 100.0 * np.arange(length))


def test_process_grid() -> None:
    grid = ProcessGrid.create(MPI.COMM_SELF)
    assert grid.owner
    assert grid.shape == (1, 1)
    assert str(grid) == "1x1"
