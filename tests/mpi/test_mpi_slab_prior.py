"""The prior of sharded weights against that of one rank, on every grid that the ranks make."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from mpi4py import MPI
from problems import network_action

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.numbering import Numbering
from fem_deepest.action.slab.prior import SlabPrior
from fem_deepest.network.coupling.antisymmetric import Antisymmetric
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.coupling.differential import local
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.network.coupling.protocol import Coupling
from fem_deepest.noise.philox import normals
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid, Slabs, SlabSpace
from fem_deepest.spaces.chain import Chain
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.separable import SeparablePrecision
from fem_deepest.spaces.slab_precision import SlabPrecision
from fem_deepest.spaces.slab_sparse import SlabSparsePrecision
from fem_deepest.spaces.sparse_precision import SparsePrecision
from fem_deepest.spaces.transposition import Tally

WORLD = MPI.COMM_WORLD
SLABS = [slabs for slabs in range(1, WORLD.size + 1) if WORLD.size % slabs == 0]
COUPLINGS: dict[str, Callable[[NeuronSpace], Coupling]] = {
    "dense": Dense,
    "low rank": partial(LowRank, rank=2),
    "antisymmetric": Antisymmetric,
    "local": partial(local, names=["1", "grad"]),
}
CASES = [  # coupling, index, ell, R_f, R_0, neurons; in some there are more data ranks than rows
    ("dense", "points", 0.0, np.inf, np.inf, 2),
    ("dense", "interval", 0.4, 5.0, np.inf, 2),
    ("dense", "lumped", 0.4, 5.0, 4.0, 5),
    ("dense", "consistent", 0.0, np.inf, 4.0, 4),
    ("dense", "consistent", 0.4, np.inf, np.inf, 4),
    ("low rank", "interval", 0.0, 5.0, 4.0, 4),
    ("low rank", "lumped", 0.4, np.inf, 4.0, 5),
    ("antisymmetric", "lumped", 0.4, np.inf, np.inf, 4),
    ("local", "lumped", 0.0, 5.0, np.inf, 4),
    ("local", "lumped", 0.4, np.inf, np.inf, 4),
]
SAMPLES, CHUNKS = 8, 3


def both(case: tuple, slabs: int, lift: str = "linear") -> tuple[NetworkAction, SlabPrior]:
    """The action on this rank alone, and the prior of its weights in shards."""
    coupling, index, ell, R_f, R_0, neurons = case
    serial = network_action(
        coupling=COUPLINGS[coupling], index=index, ell=ell, R_f=R_f, R_0=R_0, neurons=neurons,
        inputs=2, outputs=2, lift=lift, cells=5, count=SAMPLES,
    )  # fmt: skip
    prior = serial.metric
    space = SlabSpace(
        ProcessGrid.create(WORLD, depth=slabs), serial.network.shapes, SAMPLES, CHUNKS,
        initial=np.isfinite(R_0), forced=np.isfinite(R_f),
    )  # fmt: skip
    return serial, SlabPrior(
        space, serial.network, strength=prior.strength, kappa=prior.kappa, ell=ell,
        model=R_f, initial=R_0, samples=SAMPLES,
    )  # fmt: skip


def numbering_of(space: SlabSpace) -> Numbering:
    """The order of one rank."""
    return Numbering(space.create(), space.numbers)


def random_pair(serial: NetworkAction, prior: SlabPrior, seed: int) -> tuple[PETSc.Vec, PETSc.Vec]:
    """The same random numbers on one rank and in shards."""
    a, b = serial.create(), prior.space.create()
    a.array[...] = np.random.default_rng(seed).standard_normal(a.getSize())
    b.array[...] = a.array_r[prior.space.numbers]
    return a, b


def close(a: np.ndarray, b: np.ndarray) -> None:
    """Equal to 1e-12 of the largest."""
    np.testing.assert_allclose(a, b, rtol=0.0, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize("slabs", SLABS)
@pytest.mark.parametrize("case", CASES)
def test_the_prior_is_that_of_one_rank(
    case: tuple, slabs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fem_deepest.spaces.slab_precision._BATCH", 40)  # a node or two at once
    serial, prior = both(case, slabs)
    assert prior.space.create().getSize() == serial.create().getSize()
    numbering = numbering_of(prior.space)
    a, b = random_pair(serial, prior, 1)
    np.testing.assert_array_equal(numbering.gather(b), a.array_r)
    for name in ("apply", "solve", "inverse_root"):
        expected, found = serial.create(), prior.space.create()
        getattr(serial.metric, name)(a, expected)
        getattr(prior, name)(b, found)
        close(numbering.gather(found), expected.array_r)


@pytest.mark.parametrize("slabs", SLABS)
def test_draws_are_those_of_one_rank(slabs: int) -> None:
    serial, prior = both(("dense", "lumped", 0.4, 5.0, 4.0, 4), slabs)
    one, shards = serial.metric.root, prior.root
    z, part = normals(3, one.keys, 0, samples=[0, 1]), normals(3, shards.keys, 0, samples=[0, 1])
    np.testing.assert_array_equal(part, z[prior.space.numbers])
    close(shards(part), one(z)[prior.space.numbers])


@pytest.mark.parametrize("slabs", SLABS)
def test_long_nodes_go_through_the_slabs_in_pieces(
    slabs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 5 x 6 entries at most 3 at once; what is sent is counted: of ell = 0 one node each way."""
    monkeypatch.setattr("fem_deepest.spaces.chain._PIECE", 3)
    monkeypatch.setattr("fem_deepest.spaces.chain._MANY", 100)
    serial, prior = both(("dense", "points", 0.0, np.inf, np.inf, 5), slabs)
    a, b = random_pair(serial, prior, 2)
    expected, found = serial.create(), prior.space.create()
    serial.metric.solve(a, expected)
    prior.solve(b, found)
    close(numbering_of(prior.space).gather(found), expected.array_r)
    node, pieces = 6 * len(prior.space.rows), -(-6 * len(prior.space.rows) // 3)
    neighbours = (not prior.space.slabs.first) + (not prior.space.slabs.last)
    assert prior.tally.bytes == 8 * node * neighbours
    assert prior.tally.messages == pieces * neighbours


@pytest.mark.parametrize("slabs", SLABS)
@pytest.mark.parametrize("stiff", ["rows", "columns"])
def test_one_factor_with_a_stiffness(stiff: str, slabs: int) -> None:
    """Rows and columns of any weights, of which one has a stiffness: sparse solves, and modes."""
    grid, random = ProcessGrid.create(WORLD, depth=slabs), np.random.default_rng(4)
    depth = DepthMesh.graded(1.5, 4, 1.3)
    along = NeuronSpace.interval(5, "P1", "lumped").factor
    factors = along, Factor(random.uniform(1.0, 2.0, 4))
    rows, columns = factors if stiff == "rows" else factors[::-1]
    A, B = (tuple(k + m for k, m in zip(depth.stiffness, depth.mass, strict=True)), depth.mass)
    parts = Slabs(grid, 4)
    own = np.ix_(parts.nodes, parts.share(rows.size))
    values = random.standard_normal((5, rows.size, columns.size))
    for one, many in ((SeparablePrecision, SlabPrecision), (SparsePrecision, SlabSparsePrecision)):
        serial = one(A, B, rows, columns)
        chain = Chain(grid.depth, parts.node_edges, Tally())
        sharded = many(chain, grid.data, A, B, rows, columns, Tally())
        for name in ("apply", "solve", "inverse_root"):
            expected, found = np.empty_like(values), np.empty_like(values[own])
            getattr(serial, name)(values, expected)
            getattr(sharded, name)(values[own], found)
            np.testing.assert_allclose(
                found, expected[own], rtol=0.0, atol=1e-12 * np.abs(expected).max()
            )
