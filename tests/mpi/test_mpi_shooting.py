"""Slabs on all ranks against as many virtual ones on one: the same iteration and the same solution."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI
from problems import network_action, random_control
from shooting import saddle, to_slabs

from fem_deepest.solve.newton import polish
from fem_deepest.solve.shooting.blocks import DepthBlocks
from fem_deepest.solve.shooting.newton import solve_saddle

WORLD = MPI.COMM_WORLD
DEPTHS = [depth for depth in range(1, WORLD.size + 1) if WORLD.size % depth == 0]
OPTIONS = {
    "strong": {"scheme_name": "rk2"},
    "soft-midpoint": {"scheme_name": "midpoint", "R_f": 7.0, "R_0": 3.0, "lift": "linear"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("depth", DEPTHS)
def test_ranks_do_what_virtual_slabs_do(options, depth):
    action = network_action(count=7, cells=12, strength=1e-1, neurons=3, **options)
    u = random_control(action, scale=0.05)
    polish(action, u, tolerance=1e-2, iterations=50)
    found = []
    for form in (saddle(action, 6, WORLD, depth), saddle(action, 6)):
        v, r, image = form.start(to_slabs(form, u)), form.create(), form.create()
        value = form.gradient(v, r)
        form.product(v, image)
        outcome = solve_saddle(form, v, DepthBlocks(form), tolerance=1e-10)
        numbers, entries = form.space.numbers, [r.array, image.array, v.array]
        common = np.empty((3, u.getSize()))
        if form.grid.comm.size > 1:
            parts = WORLD.allgather((numbers, [e[: numbers.size].copy() for e in entries]))
        else:
            parts = [(numbers, [e[: numbers.size] for e in entries])]
        for places, own in parts:
            common[:, places] = own
        found.append((value, outcome, common))
    (value, outcome, mine), (expected, alone, serial) = found
    assert value == pytest.approx(expected, rel=1e-13)
    assert outcome.converged and outcome.linear == alone.linear
    # The residual is small already: its rounding is that of terms of the size of one.
    for a, b, tolerance in zip(mine, serial, (1e-14, 1e-13, 1e-9), strict=True):
        np.testing.assert_allclose(a, b, rtol=0.0, atol=tolerance)
