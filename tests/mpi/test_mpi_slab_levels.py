"""Starts and prolongations of sharded weights against those of one rank, on all grids of the ranks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from problems import network, network_action

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.numbering import Numbering
from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError
from fem_deepest.network.coupling.antisymmetric import Antisymmetric
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.coupling.differential import local
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.network.coupling.protocol import Coupling
from fem_deepest.network.network import Network
from fem_deepest.runs.network import initial_parameters
from fem_deepest.runs.start import random_start
from fem_deepest.solve.prolongation import prolongation, redealt
from fem_deepest.spaces import NeuronSpace, ProcessGrid, SlabSpace

WORLD = MPI.COMM_WORLD
SLABS = [slabs for slabs in range(1, WORLD.size + 1) if WORLD.size % slabs == 0]
COUPLINGS: dict[str, Callable[[NeuronSpace], Coupling]] = {
    "dense": Dense,
    "low rank": partial(LowRank, rank=2),
    "antisymmetric": Antisymmetric,
    "local": partial(local, names=["1", "grad"]),
}
SAMPLES = 8


class Sharded:
    """What a start and a prolongation need of an action: network and layout."""

    def __init__(self, net: Network, slabs: int, chunks: int, R_f: float, R_0: float) -> None:
        self.network = net
        self.space = SlabSpace(
            ProcessGrid.create(WORLD, depth=slabs), net.shapes, SAMPLES, chunks,
            initial=bool(np.isfinite(R_0)), forced=bool(np.isfinite(R_f)),
        )  # fmt: skip

    def create(self) -> PETSc.Vec:
        """Zero vector."""
        return self.space.create()

    def gathered(self, u: PETSc.Vec) -> np.ndarray:
        """All entries in the order of one rank."""
        numbering = Numbering.of(self)
        assert numbering is not None
        return numbering.gather(u)


@pytest.mark.parametrize("slabs", SLABS)
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_a_start_has_the_bits_of_one_rank(coupling: str, slabs: int) -> None:
    options: dict[str, Any] = {"index": "lumped", "neurons": 4, "lift": "linear", "cells": 5}
    action = network_action(coupling=COUPLINGS[coupling], count=SAMPLES, R_0=4.0, **options)
    config, expected = Config(seed=7), action.create()
    initial_parameters(action.network, action.space.parameters(expected.array_w), config)
    sharded = Sharded(action.network, slabs, 2, np.inf, 4.0)
    found = random_start(sharded, config)  # type: ignore[arg-type]
    np.testing.assert_array_equal(sharded.gathered(found), expected.array_r)


@pytest.mark.parametrize("slabs", SLABS)
@pytest.mark.parametrize(
    ("coupling", "neurons", "cells", "R_f", "R_0"),
    [
        ("dense", (3, 3), (4, 8), np.inf, np.inf),
        ("dense", (3, 3), (5, 7), 5.0, 4.0),
        ("dense", (3, 5), (9, 4), 5.0, np.inf),
        ("low rank", (3, 5), (5, 7), np.inf, 4.0),
    ],
)
def test_prolongation_is_that_of_one_rank(
    coupling: str,
    neurons: tuple[int, int],
    cells: tuple[int, int],
    R_f: float,
    R_0: float,
    slabs: int,
) -> None:
    """The same bits in depth; along the index products of matrices of at most 6 x 6, twice."""
    options: dict[str, Any] = {"index": "lumped", "lift": "linear", "inputs": 2, "outputs": 2}
    options |= {"coupling": COUPLINGS[coupling], "count": SAMPLES, "R_f": R_f, "R_0": R_0}
    serial = [
        network_action(cells=n, neurons=N, grading=1.0 + 0.3 * (n > 4), **options)
        for n, N in zip(cells, neurons, strict=True)
    ]
    same = neurons[0] == neurons[1]
    a = serial[0].create()
    a.array[...] = np.random.default_rng(3).standard_normal(a.getSize())
    expected = prolongation(*serial, same_index=same)(a)
    shards = [
        Sharded(action.network, slabs, chunks, R_f, R_0)
        for action, chunks in zip(serial, (3, 2), strict=True)
    ]
    b = shards[0].create()
    b.array[...] = a.array_r[shards[0].space.numbers]
    found = shards[1].gathered(prolongation(*shards, same_index=same)(b))
    atol = 0.0 if same else 2 * 6 * 2.0**-52 * np.abs(a.array_r).max()
    np.testing.assert_allclose(found, expected.array_r, rtol=0.0, atol=atol)


@pytest.mark.parametrize("slabs", [(1, WORLD.size), (WORLD.size, 1)])
def test_levels_may_have_different_grids(slabs: tuple[int, int]) -> None:
    """As where the first level has fewer cells than there are ranks: with the bits of one grid."""
    options: dict[str, Any] = {"lift": "linear", "count": SAMPLES, "R_f": 5.0, "R_0": 4.0}
    serial = [network_action(cells=cells, **options) for cells in (slabs[0], 5)]
    a = serial[0].create()
    a.array[...] = np.random.default_rng(3).standard_normal(a.getSize())
    shards = [
        Sharded(action.network, parts, 2, 5.0, 4.0)
        for action, parts in zip(serial, slabs, strict=True)
    ]
    b = shards[0].create()
    b.array[...] = a.array_r[shards[0].space.numbers]
    found = shards[1].gathered(prolongation(*shards, same_index=True)(b))
    expected = prolongation(*serial, same_index=True)(a)
    np.testing.assert_array_equal(found, expected.array_r)


def test_nothing_is_left_of_a_control_that_was_dealt_out_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PETSc keeps what lies on several ranks until it is destroyed."""
    net = network(cells=5)
    old, new = (Sharded(net, slabs, 2, np.inf, np.inf).space for slabs in (1, WORLD.size))
    u, made, create = old.create(), list[PETSc.Vec](), SlabSpace.create
    monkeypatch.setattr(SlabSpace, "create", lambda space: made.append(create(space)) or made[-1])
    result = redealt(u, old, new)
    assert result and len(made) == 2 and not any([u, *made])


def test_a_slab_has_a_cell() -> None:
    grid = ProcessGrid(WORLD, MPI.COMM_SELF, (WORLD.size, 1), depth=WORLD)
    net = network(cells=1)
    shapes = net.shapes._replace(theta=(WORLD.size, *net.shapes.theta[1:]))
    with pytest.raises(InputError, match=f"{WORLD.size} slabs .* of {WORLD.size - 1} cells"):
        SlabSpace(grid, shapes, 2, 1, initial=False, forced=False)
