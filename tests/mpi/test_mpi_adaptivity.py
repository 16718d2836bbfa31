"""Indicators, and so the depth meshes that follow from them, have the same bits on any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI
from problems import network_action, random_control

from fem_deepest.solve.adaptivity import PLACEMENTS, adapted, estimate
from fem_deepest.spaces import Resolution


@pytest.mark.parametrize("R_f", [np.inf, 2.0])
def test_indicators_and_meshes_are_those_of_one_rank(R_f: float) -> None:
    found = []
    for comm in (MPI.COMM_WORLD, MPI.COMM_SELF):
        action = network_action(comm=comm, scheme_name="rk2", count=23, R_f=R_f)
        found.append(estimate(action, random_control(action)))
    for name in ("scheme", "weights", "forcings"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))
    assert np.all(found[0].scheme != 0.0)
    assert bool(np.all(found[0].forcings > 0.0)) == np.isfinite(R_f)
    for place in PLACEMENTS.values():
        one, other = (adapted(place, indicators, Resolution(9)) for indicators in found)
        assert one == other
