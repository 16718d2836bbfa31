"""Samples spread over ranks: the same bits on any number of them."""

from __future__ import annotations

import numpy as np
import pytest
from geometric_brownian import EuropeanCall
from mpi4py import MPI

from fem_deepest.errors import NotConverged
from fem_deepest.spde.levels import draw
from fem_deepest.spde.modal import ModalHeat
from fem_deepest.spde.multilevel import multilevel
from fem_deepest.studies.heat_levels import HeatSampler, Hierarchy
from fem_deepest.studies.heat_sampled import sampled_errors
from fem_deepest.studies.stability_sampled import squares

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


def test_a_failure_on_one_rank_is_raised_on_all() -> None:
    class Failing(EuropeanCall):
        def sample(self, level, samples):
            if samples.start == 1000:  # the second block: one rank's alone
                raise NotConverged("stuck")
            return super().sample(level, samples)

    with pytest.raises(NotConverged, match="stuck"):
        draw(Failing(), 2, range(4000), WORLD)
    assert WORLD.allreduce(1) == WORLD.size


def test_an_estimate_is_that_of_one_rank() -> None:
    a = multilevel(EuropeanCall(), 0.2, WORLD, initial=500)
    b = multilevel(EuropeanCall(), 0.2, initial=500)
    assert (a.value, a.work, a.bias, a.rates) == (b.value, b.work, b.bias, b.rates)
    np.testing.assert_array_equal(a.numbers, b.numbers)


def test_samples_of_an_equation_are_those_of_one_rank() -> None:
    """White and coloured noise, both errors of the heat equation: the same bits."""
    for heat in (ModalHeat(T=0.02), ModalHeat(a=0.5, T=0.02, modes=16)):
        sizes = [(4, 8), (8, 8)]
        a = sampled_errors(heat, sizes, 3, range(350), WORLD)
        b = sampled_errors(heat, sizes, 3, range(350), MPI.COMM_SELF)
        np.testing.assert_array_equal(a["strong"], b["strong"])
        np.testing.assert_array_equal(a["weak"], b["weak"])


def test_an_estimate_of_an_equation_is_that_of_one_rank() -> None:
    hierarchy = Hierarchy(ModalHeat(T=0.1), "point", 4, 4)
    found = [
        multilevel(HeatSampler(hierarchy, 0, 0), 0.02, comm, initial=200, known=hierarchy.rates)
        for comm in (WORLD, MPI.COMM_SELF)
    ]
    assert found[0].value == found[1].value
    np.testing.assert_array_equal(found[0].numbers, found[1].numbers)


def test_a_sampled_step_is_that_of_one_rank() -> None:
    a, b = (squares("milstein", 0.5, 1.7, 0, 11_000, comm) for comm in (WORLD, MPI.COMM_SELF))
    np.testing.assert_array_equal(a, b)
