"""Samples spread over ranks: the same bits on any number of them."""

from __future__ import annotations

import numpy as np
from geometric_brownian import EuropeanCall
from mpi4py import MPI

from fem_deepest.spde.levels import draw
from fem_deepest.spde.multilevel import multilevel

WORLD = MPI.COMM_WORLD


class Counting(EuropeanCall):
    drawn = 0

    def sample(self, level, samples):
        self.drawn += len(samples)
        return super().sample(level, samples)


def test_a_draw_is_that_of_one_rank() -> None:
    shared, alone = Counting(), EuropeanCall()
    a = draw(shared, 3, range(500, 7300), WORLD)
    b = draw(alone, 3, range(500, 7300), MPI.COMM_SELF)
    np.testing.assert_array_equal(a.fine, b.fine)
    np.testing.assert_array_equal(a.coarse, b.coarse)
    assert WORLD.allreduce(shared.drawn) == 6800
    assert WORLD.size == 1 or shared.drawn < 6800


def test_an_estimate_is_that_of_one_rank() -> None:
    a = multilevel(EuropeanCall(), 0.2, WORLD, initial=500)
    b = multilevel(EuropeanCall(), 0.2, initial=500)
    assert (a.value, a.work, a.bias, a.rates) == (b.value, b.work, b.bias, b.rates)
    np.testing.assert_array_equal(a.numbers, b.numbers)
