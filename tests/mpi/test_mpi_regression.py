"""A readout by regression on all ranks against the same on one."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from problems import network_action, random_control

from fem_deepest.action.network.regression import regress_readout

WORLD = MPI.COMM_WORLD


def test_regression_has_the_bits_of_one_rank() -> None:
    found = []
    for comm in (WORLD, MPI.COMM_SELF):
        action = network_action(
            comm=comm, count=610, cells=2, loss="least_squares", index="lumped", ell=0.3
        )
        u = random_control(action, 1)
        start = action.space.share(u)
        regress_readout(action, u)
        found.append(action.space.share(u))
        assert not np.array_equal(found[-1], start)
    np.testing.assert_array_equal(*found)
    assert len(set(WORLD.allgather(found[0].tobytes()))) == 1
