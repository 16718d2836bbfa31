"""A neuron index that is spread over ranks against the same on one rank."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from problems import random_control, samples

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.action.network.numbering import Numbering
from fem_deepest.action.network.regression import regress_readout
from fem_deepest.cli.train import train
from fem_deepest.configuration.train import load
from fem_deepest.errors import InputError
from fem_deepest.network.activation import activation
from fem_deepest.network.coupling.differential import elliptic, local
from fem_deepest.network.coupling.spread import spread_elliptic, spread_local
from fem_deepest.network.loss import CrossEntropy
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.runs.index import make_index
from fem_deepest.runs.train import Run, load_data
from fem_deepest.solve.adaptivity import estimate
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid
from fem_deepest.spaces.spread import SpreadSpace

WORLD = MPI.COMM_WORLD
SQUARE = Path(__file__).parents[2] / "meshes" / "square.msh"

ALL = ["1", "grad", "laplace"]
INDICES: dict[str, tuple[Any, Any]] = {
    "interval": (
        lambda channels: NeuronSpace.interval(20, "P1", extent=19.0, channels=channels),
        lambda comm, channels: SpreadSpace.over_interval(comm, 20, 19.0, channels),
    ),
    "rectangle": (
        lambda channels: NeuronSpace.rectangle((5, 6), "P1", "lumped", (4.0, 5.0), channels),
        lambda comm, channels: SpreadSpace.over_rectangle(comm, (5, 6), (4.0, 5.0), channels),
    ),
    "mesh": (
        lambda channels: NeuronSpace.mesh(SQUARE, channels=channels),
        lambda comm, channels: SpreadSpace.over_mesh(comm, SQUARE, channels),
    ),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "strong": {},
    "weak": {"R_f": 5.0, "R_0": 4.0, "scheme_name": "rk2", "leak": 0.2, "lift": "linear"},
    "smooth": {"R_f": 5.0, "ell": 0.4, "lift": "linear"},
    "elliptic": {"kernel": 0.8, "ell": 0.4, "channels": 2},
    "channels": {"channels": 2, "R_0": 4.0, "readout": "project"},
}
CASES = [(name, kind) for name in ("interval", "rectangle") for kind in OPTIONS]
CASES += [("mesh", "weak"), ("mesh", "smooth"), ("mesh", "elliptic")]


def both(name: str, parts: int = WORLD.size, **given: Any) -> tuple[NetworkAction, NetworkAction]:
    """The action with the index in parts, and on every rank the same on that rank alone."""
    grid, channels = ProcessGrid.create(WORLD, parts), given.get("channels", 1)
    whole, spread = (make(channels) for make in (
        INDICES[name][0], lambda c: INDICES[name][1](grid.index, c)
    ))  # fmt: skip
    return (
        network_action(grid, spread, whole, **given),
        network_action(ProcessGrid.create(MPI.COMM_SELF), whole, whole, **given),
    )


def network_action(
    grid: ProcessGrid,
    index: NeuronSpace,
    whole: NeuronSpace,
    *,
    scheme_name: str = "euler",
    leak: float = 0.0,
    lift: str = "project",
    readout: str = "linear",
    R_f: float = np.inf,
    R_0: float = np.inf,
    ell: float = 0.0,
    strength: float = 1e-2,
    channels: int = 1,
    kernel: float = 0.0,
) -> NetworkAction:
    """Four graded depth cells, 13 samples of 3 classes with 4 inputs; ``kernel`` is that of elliptic."""
    random = np.random.default_rng(5)
    enter = 0.5 * random.standard_normal((whole.neurons, 4))
    leave = random.standard_normal((3, whole.neurons)) / whole.neurons
    make: Any = partial(elliptic, kappa=kernel) if kernel else local
    if isinstance(index, SpreadSpace):
        rows = (np.arange(channels)[:, None] * index.size + index.number).ravel()
        enter, leave = enter[rows], leave[:, rows]
        make = partial(spread_elliptic, kappa=kernel) if kernel else spread_local
    # Cells have a size of one, but those of the mesh: second derivatives would be very large numbers.
    names = {"interval": ALL, "rectangle": [*ALL, "hessian"], "mesh": ["1", "grad"]}[index.kind]
    network = Network(
        DepthMesh.graded(1.5, 4, 1.3),
        index,
        scheme(scheme_name),
        activation("tanh"),
        4,
        3,
        leak,
        lift == "linear",
        readout == "linear",
        coupling=make(index, names),
        enter=enter if lift == "project" else None,
        leave=leave if readout == "project" else None,
    )
    z, labels = samples(13, 4, 3, "cross_entropy")
    return NetworkAction(
        grid, network, CrossEntropy(), z, labels,
        strength=strength, kappa=0.7, ell=ell, model_precision=R_f, input_precision=R_0,
        blocks=1 if kernel else None,  # wide tiles: each solve is one of all ranks
    )  # fmt: skip


def numbering_of(action: NetworkAction) -> Numbering:
    """The order of one rank."""
    numbering = Numbering.of(action)
    assert numbering is not None
    return numbering


def control(action: NetworkAction, numbering: Numbering, seed: int) -> PETSc.Vec:
    """The random control of :func:`random_control` on one rank."""
    v = numbering.create()
    values = 0.1 * np.random.default_rng(seed).standard_normal(v.getSize())
    v.array[...] = values[slice(*v.getOwnershipRange())]
    return numbering.control(v)


def gathered(numbering: Numbering, u: PETSc.Vec) -> np.ndarray:
    """All entries in the common order, on every rank."""
    return np.concatenate(WORLD.allgather(numbering.common(u).array_r.copy()))


def close(a: np.ndarray, b: np.ndarray) -> None:
    """Equal to 1e-12 of the largest."""
    np.testing.assert_allclose(a, b, rtol=0.0, atol=1e-12 * np.abs(b).max())


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_action_and_its_derivatives_are_those_of_one_rank(name: str, kind: str) -> None:
    parallel, serial = both(name, **OPTIONS[kind])
    numbering = numbering_of(parallel)
    u, d = (control(parallel, numbering, seed) for seed in (1, 2))
    v, e = (random_control(serial, seed, 0.1) for seed in (1, 2))
    close(gathered(numbering, u), v.array_r)
    g, h, n, p, s = (parallel.create() for _ in range(5))
    other = [serial.create() for _ in range(5)]
    value, alone = parallel.gradient(u, g), serial.gradient(v, other[0])
    assert value == pytest.approx(alone, rel=1e-12)
    assert parallel.value(u) == value
    assert len(set(WORLD.allgather(value))) == 1
    for part in ("misfit", "model", "prior", "score"):
        assert getattr(parallel.parts, part) == pytest.approx(
            getattr(serial.parts, part), rel=1e-12
        )
    parallel.hessian(u, d, h)
    serial.hessian(v, e, other[1])
    parallel.gauss_newton(u, d, n)
    serial.gauss_newton(v, e, other[2])
    parallel.metric.apply(d, p)
    serial.metric.apply(e, other[3])
    parallel.metric.solve(d, s)
    serial.metric.solve(e, other[4])
    for mine, its in zip((g, h, n, p, s), other, strict=True):
        close(gathered(numbering, mine), its.array_r)


def test_samples_and_neurons_are_dealt_out_together() -> None:
    """The other axis of the grid too: 2 x 2 on four ranks, else the samples alone are dealt out."""
    parts = 2 if WORLD.size == 4 else 1
    parallel, serial = both("rectangle", parts=parts, **OPTIONS["weak"])
    assert parallel.grid.index.size == parts
    assert parallel.grid.data.size == WORLD.size // parts
    numbering = numbering_of(parallel)
    u, v = control(parallel, numbering, 1), random_control(serial, 1, 0.1)
    g, alone = parallel.create(), serial.create()
    assert parallel.gradient(u, g) == pytest.approx(serial.gradient(v, alone), rel=1e-12)
    close(gathered(numbering, g), alone.array_r)


@pytest.mark.parametrize("name", ["interval", "rectangle"])
def test_taylor_remainders(name: str) -> None:
    """Orders 2 and 3; halving from 1/8, the next terms change the slopes by a few hundredths."""
    action, _ = both(name, **OPTIONS["weak"])
    numbering = numbering_of(action)
    u, d = (control(action, numbering, seed) for seed in (1, 2))
    w, g, h = u.copy(), action.create(), action.create()
    value = action.gradient(u, g)
    action.hessian(u, d, h)
    first, second = [], []
    for step in 2.0 ** -np.arange(5, 8):
        u.copy(w)
        w.axpy(step, d)
        change = action.value(w) - value - step * g.dot(d)
        first.append(abs(change))
        second.append(abs(change - step**2 / 2 * h.dot(d)))
    assert np.log2(first[-2] / first[-1]) == pytest.approx(2.0, abs=0.1)
    assert np.log2(second[-2] / second[-1]) == pytest.approx(3.0, abs=0.2)


def test_minimisers_have_the_same_action() -> None:
    """To the square of the gradient that is left; rounding changes the path, but not the end."""
    ends = []
    for action in both("interval", R_0=4.0, strength=0.3):
        u = action.create()
        if action.grid.owner:
            parameters = action.space.parameters(u.array_w)
            random = np.random.default_rng(7)
            action.network.coupling.start(random, 0.5, parameters.theta)
        memory = LimitedMemory(action.metric, 10)
        outcome = minimise(action, u, memory, tolerance=1e-7, iterations=200)
        assert outcome.converged
        ends.append(action.value(u))
    assert ends[0] == pytest.approx(ends[1], rel=1e-12)


def test_random_starts_are_those_of_one_rank() -> None:
    parallel, serial = both("mesh", channels=2)
    thetas = []
    for action in (parallel, serial):
        theta = np.zeros(action.network.shapes.theta)
        action.network.coupling.start(np.random.default_rng(1), 0.7, theta)
        thetas.append(theta)
    index = parallel.network.index
    assert isinstance(index, SpreadSpace)
    close(thetas[0], index.own(thetas[1], axis=1))
    close(index.gather(thetas[0], axis=1), thetas[1])


@pytest.mark.parametrize(
    ("name", "pixels"), [("interval", [7]), ("rectangle", [3, 4]), ("mesh", [5, 3])]
)
def test_pixels_enter_and_leave_as_on_one_rank(name: str, pixels: list[int]) -> None:
    whole, make = INDICES[name]
    alone, index = whole(2), make(WORLD, 2)
    rows = np.concatenate([index.number, index.size + index.number])
    np.testing.assert_allclose(index.enter(pixels), alone.enter(pixels)[rows], atol=1e-13)
    np.testing.assert_allclose(index.leave(pixels), alone.leave(pixels)[:, rows], atol=1e-13)
    with pytest.raises(InputError, match="cannot be interpolated"):
        index.evaluate(index.coordinates)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_rank_holds_its_part(channels: int) -> None:
    """Nodes are balanced to the ghosts of a partition, and all arrays have that size."""
    grid = ProcessGrid.create(WORLD, WORLD.size)
    side = 40
    index = SpreadSpace.over_rectangle(grid.index, (side, side), (1.0, 1.0), channels)
    whole = NeuronSpace.rectangle((side, side), channels=channels)
    action = network_action(grid, index, whole, channels=channels, R_f=5.0, lift="linear")
    share = side**2 / WORLD.size
    assert WORLD.allreduce(index.nodes) == side**2
    assert 0.8 * share < index.nodes < 1.2 * share
    # A cut through the square has at most a few sides of nodes; ghosts are two rows of cells deep.
    assert index.ghosts.local - index.nodes <= (0 if WORLD.size == 1 else 6 * side)
    local_neurons = channels * index.nodes
    parameters = action.space.parameters(action.create().array_r.copy()) if grid.owner else None
    assert parameters is not None
    columns = channels * (channels * 7 + 1)
    assert parameters.theta.shape == (5, index.nodes, columns)
    assert parameters.lift.shape == (local_neurons, 5)
    assert (
        action.space.local_size <= 5 * index.nodes * columns + local_neurons * (3 + 5 + 4 * 13) + 3
    )
    flow = action.network.flow(13)
    assert flow.full.shape == (4, 1, local_neurons + 1, 13)
    ghosted = channels * index.ghosts.local
    assert flow.work[1].shape == (ghosted + 1, 13)
    stencils = action.network.coupling.stencils  # type: ignore[attr-defined]
    assert stencils.neighbours.shape == (index.ghosts.local, 9)


def test_what_cannot_be_spread_is_refused() -> None:
    grid = ProcessGrid.create(WORLD, WORLD.size)
    whole, spread = INDICES["rectangle"]
    index = spread(grid.index, 1)
    with pytest.raises(InputError, match="implicit scheme"):
        network_action(grid, index, whole(1), scheme_name="midpoint")
    with pytest.raises(InputError, match="first neurons"):
        network_action(grid, index, whole(1), lift="pad")
    with pytest.raises(InputError, match="its coupling is not"):
        Network(
            DepthMesh.graded(1.0, 2), index, scheme("euler"), activation("tanh"), 4, 3, 0.0, True
        )
    with pytest.raises(InputError, match="eigenvectors"):
        index.factor.parts[0].modes  # noqa: B018
    action = network_action(grid, index, whole(1), ell=0.5)
    with pytest.raises(InputError, match="batch of samples"):
        Minibatches(action, 2, 0)
    with pytest.raises(InputError, match="estimate of the error"):
        estimate(action, action.create())
    with pytest.raises(InputError, match="by regression"):
        regress_readout(action, action.create())
    with pytest.raises(InputError, match="multiple of the parts"):
        ProcessGrid.create(WORLD, WORLD.size + 1)
    if WORLD.size > 1:
        with pytest.raises(InputError, match="index axis"):
            network_action(ProcessGrid.create(WORLD), index, whole(1))
        with pytest.raises(InputError, match="index axis"):
            network_action(grid, whole(1), whole(1))


def test_training_and_resuming_on_other_ranks(tmp_path: Path) -> None:
    """Half a training with the neurons on all ranks, and the rest on one from the checkpoint."""
    root = Path(WORLD.bcast(str(tmp_path)))
    settings = {
        "data": {"name": "digits", "samples": 40},
        "network": {
            "index": "rectangle", "shape": [5, 5], "coupling": "local", "spread": True,
            "operators": ["1", "grad"], "depth": 1.0, "cells": 3,
        },
        "action": {"lambda": 1e-2, "ell": 0.3},
        "solve": {"levels": [3], "tolerance": 1e-2},
        "output": {"figures": False, "fields": False},
    }  # fmt: skip
    part = ["solve.iterations=5"]
    run = train(settings, out=root / "run", settings=part)
    assert run.status == "not_converged"
    assert run.stages[-1]["neurons"] == 25
    if WORLD.rank == 0:
        whole = [*part, "network.spread=false"]
        alone = train(settings, out=root / "one", settings=whole, comm=MPI.COMM_SELF)
        # Five steps amplify rounding a little.
        assert run.metrics["action"] == pytest.approx(alone.metrics["action"], rel=1e-10)
        inputs = load_data(alone.config)[0].inputs[:3]
        stored = Run.load(root / "run").predict(inputs)
        np.testing.assert_allclose(stored, run.predict(inputs), atol=1e-13)
        np.testing.assert_allclose(stored, alone.predict(inputs), atol=1e-8)
        done = train(settings, out=root / "run", resume=True, comm=MPI.COMM_SELF)
        assert done.status == "converged"
        assert done.metrics["action"] < run.metrics["action"]
    WORLD.barrier()


@pytest.mark.parametrize(
    ("network", "match"),
    [
        ({"index": "interval", "element": "P1"}, "network.coupling = 'dense'"),
        ({"coupling": "local", "index": "points"}, "on points"),
        ({"coupling": "local", "index": "interval"}, "P0 of lumped mass on 'interval'"),
        ({"coupling": "local", "index": "rectangle", "uniform": True}, "uniform parameters"),
    ],
)
def test_configurations_that_cannot_be_spread(network: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        make_index(load({"network": network}), (4, 4), comm=WORLD)
