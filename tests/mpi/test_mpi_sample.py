"""Chains on several ranks: the same to the last bit, and errors on all ranks."""

import numpy as np
import pytest
from mpi4py import MPI
from path_measures import bridge, double_well

from fem_deepest.errors import InputError
from fem_deepest.sample.langevin import spde_mala
from fem_deepest.sample.run import Plan, Setting, sample

WORLD = MPI.COMM_WORLD


def setting() -> Setting:
    target = bridge(double_well, 2.0, 16)
    return Setting(target, lambda: spde_mala(target), {"x": lambda v: v[7], "v": lambda v: v})


def test_chains_do_not_depend_on_the_ranks() -> None:
    plan = Plan(chains=11, batch=3, relax=20, warmup=20, draws=20, thin=5, seed=4)
    batches = []
    many = sample(setting, plan, WORLD, lambda batch, rate: batches.append(batch))
    alone = sample(setting, plan, MPI.COMM_SELF)
    assert batches == list(range(4))[WORLD.rank :: WORLD.size]
    assert many.values["v"].shape == (11, 4, 15)
    for name in many.values:
        np.testing.assert_array_equal(many.values[name], alone.values[name])
    np.testing.assert_array_equal(many.acceptance, alone.acceptance)
    np.testing.assert_array_equal(many.steps, alone.steps)
    assert np.unique(many.steps).size == 4
    assert many.gradients == alone.gradients == 20


def test_an_error_on_one_rank_is_raised_on_all() -> None:
    def make() -> Setting:
        if WORLD.rank == WORLD.size - 1:
            raise InputError("the last rank does not want to")
        return setting()

    with pytest.raises(InputError, match="does not want to"):
        sample(make, Plan(chains=4, batch=1, relax=1, warmup=1, draws=1), WORLD)
