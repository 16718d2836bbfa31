"""What an evaluation sends, counted rank by rank, is what the performance model says."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest._petsc import PETSc  # noqa: F401
from fem_deepest.action.slab.action import SlabAction
from fem_deepest.configuration.train import load
from fem_deepest.network.activation import activation
from fem_deepest.network.loss import CrossEntropy
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.performance import traffic
from fem_deepest.performance.layout import Layout, factorisations
from fem_deepest.performance.workload import Workload
from fem_deepest.runs.auto_grid import choose, host, make_workload
from fem_deepest.runs.network import make_network
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid, Resolution

COMM = MPI.COMM_WORLD


@pytest.mark.parametrize(
    "neurons, cells, samples, chunk", [(5, 7, 20, 3), (5, 3, 5, 2), (1, 6, 2, 8)]
)
@pytest.mark.parametrize("stepping", ["euler", "midpoint", "rk4"])
def test_counters_of_evaluations_are_the_model(
    stepping: str, neurons: int, cells: int, samples: int, chunk: int
) -> None:
    network = Network(
        depth=DepthMesh.graded(1.0, cells),
        index=NeuronSpace.points(neurons),
        scheme=scheme(stepping),
        activation=activation("tanh"),
        inputs=3,
        outputs=2,
        linear_lift=True,
    )
    rng = np.random.default_rng(0)
    inputs, targets = rng.standard_normal((samples, 3)), rng.integers(2, size=samples)
    workload = Workload.of(network, samples)
    for slabs, data in factorisations(COMM.size):
        if slabs > cells:
            continue
        grid = ProcessGrid.create(COMM, depth=slabs)
        action = SlabAction(
            grid, network, CrossEntropy(), inputs, targets, strength=1e-2, chunk=chunk
        )
        layout = Layout.of_width(workload, slabs, data, chunk)
        u, d, g = (action.create() for _ in range(3))
        for name, kind, vectors in (
            ("gradient", traffic.GRADIENT, (u, g)),
            ("hessian", traffic.HESSIAN, (u, d, g)),
            ("gauss_newton", traffic.GAUSS_NEWTON, (u, d, g)),
        ):
            getattr(action, name)(*vectors)
            volumes = {key: volume(layout, kind) for key, volume in traffic.KINDS.items()}
            counted = {key: COMM.allreduce(getattr(action.traffic, key)) for key in volumes}
            assert counted == {key: volume.bytes for key, volume in volumes.items()}
            messages = COMM.allreduce(action.traffic.messages)
            assert messages == traffic.total(layout, kind).messages
        for operation, volume in (("apply", traffic.product), ("solve", traffic.solve)):
            tally = action.metric.tally
            before = tally.messages, tally.bytes
            getattr(action.metric, operation)(u, g)
            sent = [
                COMM.allreduce(after - then)
                for after, then in zip((tally.messages, tally.bytes), before, strict=True)
            ]
            assert sent == [volume(layout).messages, volume(layout).bytes]


def test_the_automatic_grid_is_the_same_on_every_rank_and_of_this_host() -> None:
    config = load(
        {
            "data": {"name": "donut"},
            "network": {"neurons": 5, "cells": 4},
            "solve": {"levels": [4]},
            "parallel": {"chunk": 7},
        }
    )
    network = make_network(config, 2, 2, Resolution(4))
    found = choose(network, config, 100, COMM)
    assert COMM.allgather(found) == [found] * COMM.size
    assert (found.layout.ranks, found.layout.sharded, found.fits) == (COMM.size, True, True)
    assert found.layout == Layout.of_width(
        make_workload(network, config, 100), found.layout.slabs, found.layout.data, 7
    )
    machine = host(COMM)
    assert machine.nodes == 1
    assert 0 < machine.memory < 2**62


def test_bound_ranks_have_the_cores_of_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sees the two threads of its own core alone, as under SLURM."""
    mine = {2 * COMM.rank, 2 * COMM.rank + 1}
    monkeypatch.setattr("os.sched_getaffinity", lambda _: mine)
    assert host(COMM).cores == 2 * COMM.size
