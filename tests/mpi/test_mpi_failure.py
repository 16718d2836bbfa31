"""What goes wrong for the samples of one rank goes wrong on all."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI
from problems import network_action

from fem_deepest.errors import NumericalFailure


def test_a_stage_that_fails_for_the_last_sample_fails_on_every_rank() -> None:
    # X = x_0 + 4 softplus(X) has a solution for x_0 = -5, and none for x_0 = 1.
    z = np.full((20, 1), -5.0)
    z[-1] = 1.0
    action = network_action(
        comm=MPI.COMM_WORLD,
        data=(z, np.zeros((20, 1))),
        loss="least_squares",
        scheme_name="midpoint",
        activation_name="softplus",
        neurons=1,
        inputs=1,
        outputs=1,
        readout="observed",
        depth=4.0,
        cells=1,
    )
    u = action.create()
    if action.grid.owner:
        action.space.parameters(u.array).theta[..., 0] = 1.0
    with pytest.raises(NumericalFailure, match="take more cells"):
        action.value(u)
    u.set(0.0)
    assert np.isfinite(action.value(u))
