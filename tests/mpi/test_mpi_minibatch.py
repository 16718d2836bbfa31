"""Batches and their gradients on all ranks against the same on one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from problems import network_action, random_control

from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.solve.lmvm import Iterate
from fem_deepest.solve.network.sgd import BatchDescent

WORLD = MPI.COMM_WORLD


@pytest.mark.parametrize("size", [1, 13, 150, 400])  # one block up to 127 samples, then 2, 6
@pytest.mark.parametrize("options", [{}, {"loss": "least_squares", "lift": "linear"}], ids=str)
def test_batches_have_the_bits_of_one_rank(options: dict[str, Any], size: int) -> None:
    found = []
    for comm in (WORLD, MPI.COMM_SELF):
        action = network_action(comm=comm, count=410, cells=2, **options)
        batches = Minibatches(action, size, 5)
        u, g = random_control(action, 1), action.create()
        values = []
        for step in (0, 70, 3):
            value = batches.gradient(u, g, step, 1)
            entries = (
                np.concatenate(WORLD.allgather(g.array_r.copy())) if comm is WORLD else g.array
            )
            values.append((value, batches.subsets(step, 1).copy(), np.array(entries)))
        found.append(values)
    for mine, alone in zip(*found, strict=True):
        assert mine[0] == alone[0]
        for a, b in zip(mine[1:], alone[1:], strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(set(WORLD.allgather(tuple(found[0][0][1].tolist())))) == 1


@pytest.mark.parametrize("riesz", [True, False])
def test_stochastic_descent_has_the_bits_of_one_rank(riesz: bool) -> None:
    ends = []
    for comm in (WORLD, MPI.COMM_SELF):
        action = network_action(comm=comm, count=20, cells=2)
        u, seen = random_control(action, 1), list[tuple[float, float]]()
        descent = BatchDescent(0.5, 0.5, 6, 4, seed=3, riesz=riesz)

        def monitor(iterate: Iterate, seen: list[tuple[float, float]] = seen) -> None:
            seen.append((iterate.action, iterate.gradient))

        outcome = descent.minimise(action, u, tolerance=0.0, monitor=monitor)
        ends.append((seen, outcome, action.space.share(u)))
    assert ends[0][:2] == ends[1][:2]
    assert len(ends[0][0]) == 5
    np.testing.assert_array_equal(ends[0][2], ends[1][2])
    assert len(set(WORLD.allgather(tuple(ends[0][0])))) == 1
