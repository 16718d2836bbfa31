"""Sums over blocks of samples have the same bits on any number of ranks, with real messages."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest.spaces import ProcessGrid, SampleBlocks


def _sum(x: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Sum of the columns of ``x``, on every rank."""
    blocks, out = SampleBlocks(x.shape[1], comm), np.full(len(x), np.nan)
    local = x[:, blocks.local]

    def block_sum(b: int, value: np.ndarray) -> None:
        value[...] = local[:, blocks.own[b]].sum(axis=1)

    blocks.sum(block_sum, out)
    assert comm.rank == 0 or np.isnan(out).all()  # untouched but on the first rank
    comm.Bcast(out, root=0)
    return out


@pytest.mark.parametrize("samples", [1, 7, 767, 769])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_sums_are_those_of_one_rank(ranks: int, samples: int) -> None:
    world = MPI.COMM_WORLD
    if ranks > world.size:
        pytest.skip(f"needs {ranks} ranks")
    random = np.random.default_rng(samples)
    # Magnitudes from 1e-8 to 1e8: another order of the additions shows in the last bits.
    x = random.standard_normal((50, samples)) * 10.0 ** random.integers(-8, 9, (50, samples))
    # The other ranks form a communicator of their own.
    comm = world.Split(world.rank < ranks)
    try:
        for _ in range(2):
            np.testing.assert_array_equal(_sum(x, comm), _sum(x, MPI.COMM_SELF))
    finally:
        comm.Free()


def test_the_first_rank_owns_the_parameters() -> None:
    grid = ProcessGrid.create()
    assert grid.shape == (1, MPI.COMM_WORLD.size)
    assert grid.owner == (MPI.COMM_WORLD.rank == 0)
    assert str(grid) == f"1x{MPI.COMM_WORLD.size}"
