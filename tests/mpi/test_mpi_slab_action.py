"""The action on sharded weights: on every grid that of one rank, with derivatives of its own."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from problems import PRECISION, network, samples

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.slab.action import SlabAction
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.network.coupling.antisymmetric import Antisymmetric
from fem_deepest.network.coupling.convolution import convolution
from fem_deepest.network.coupling.differential import local
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.network.loss import CrossEntropy, LeastSquares
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.spaces import ProcessGrid

WORLD = MPI.COMM_WORLD
SLABS = [slabs for slabs in range(1, WORLD.size + 1) if WORLD.size % slabs == 0]

# Between them: every scheme, coupling and kind of index, forcings and none, all ends, chunks of one sample
# up to all, and fewer samples than ranks.
OPTIONS: dict[str, dict[str, Any]] = {
    "dense": {"chunk": 3},
    "one-sample": {"chunk": 1, "lift": "linear", "count": 1, "R_f": 5.0, "R_0": 4.0},
    "least-squares-rk2": {
        "scheme_name": "rk2",
        "index": "interval",
        "loss": "least_squares",
        "readout": "observed",
        "chunk": 1,
        "count": 5,
    },
    "low-rank-rk4": {
        "coupling": partial(LowRank, rank=2),
        "scheme_name": "rk4",
        "index": "lumped",
        "ell": 0.3,
        "lift": "linear",
        "chunk": 4,
    },
    "antisymmetric-midpoint": {
        "coupling": partial(Antisymmetric, damping=0.1),
        "scheme_name": "midpoint",
        "index": "lumped",
        "R_f": 5.0,
        "R_0": 4.0,
        "chunk": 2,
    },
    "local-leak": {
        "coupling": partial(local, names=["1", "grad"]),
        "index": "consistent",
        "leak": 0.3,
        "R_f": 5.0,
        "chunk": 50,
    },
    "convolution-rk2": {
        "coupling": partial(convolution, reach=0.4),
        "index": "interval",
        "scheme_name": "rk2",
        "R_0": 4.0,
        "count": 2,
        "chunk": 1,
    },
}
all_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
all_grids = pytest.mark.parametrize("slabs", SLABS)


def _actions(
    slabs: int,
    *,
    count: int = 13,
    loss: str = "cross_entropy",
    chunk: int = 3,
    ell: float = 0.0,
    R_f: float = np.inf,
    R_0: float = np.inf,
    strength: float = 1e-2,
    data: Any = None,
    **options: Any,
) -> tuple[SlabAction, NetworkAction]:
    """The action on a grid, and the same on one rank."""
    net, alone = (network(**options) for _ in range(2))
    z, targets = data or samples(count, net.inputs, net.outputs, loss)
    phi = CrossEntropy() if loss == "cross_entropy" else LeastSquares(PRECISION)
    common = {"strength": strength, "kappa": 0.7, "ell": ell}
    common |= {"model_precision": R_f, "input_precision": R_0}
    grid = ProcessGrid.create(WORLD, depth=slabs)
    return (
        SlabAction(grid, net, phi, z, targets, chunk=chunk, **common),
        NetworkAction(ProcessGrid.create(MPI.COMM_SELF), alone, phi, z, targets, **common),
    )


def _pair(
    action: SlabAction, alone: NetworkAction, seed: int, scale: float = 0.5
) -> tuple[PETSc.Vec, PETSc.Vec]:
    """The same random vector for both."""
    u, v = action.create(), alone.create()
    v.array[...] = scale * np.random.default_rng(seed).standard_normal(v.getSize())
    u.array[...] = v.array_r[action.space.numbers]
    return u, v


def _difference(action: SlabAction, a: PETSc.Vec, b: PETSc.Vec) -> float:
    """Largest difference to a vector of one rank, of all ranks, relative to its largest entry."""
    error = np.abs(a.array_r - b.array_r[action.space.numbers]).max(initial=0.0)
    return float(WORLD.allreduce(error, op=MPI.MAX) / np.abs(b.array_r).max())


@all_grids
@all_options
def test_action_and_derivatives_are_those_of_one_rank(options: dict[str, Any], slabs: int) -> None:
    action, alone = _actions(slabs, **options)
    (u, v), (d, e) = _pair(action, alone, 1), _pair(action, alone, 2)
    (r, s), (g, h) = (action.create(), alone.create()), (action.create(), alone.create())
    value, expected = action.gradient(u, g), alone.gradient(v, h)
    assert abs(value - expected) < 1e-13 * abs(expected)
    assert _difference(action, g, h) < 1e-12
    np.testing.assert_allclose(
        list(vars(action.parts).values()), list(vars(alone.parts).values()), rtol=1e-13, atol=1e-14
    )
    assert abs(action.value(u) - expected) < 1e-13 * abs(expected)
    for name in ("hessian", "gauss_newton"):
        getattr(action, name)(u, d, r)
        getattr(alone, name)(v, e, s)
        assert _difference(action, r, s) < 1e-12
    # The buffers of an evaluation serve the next one.
    assert action.gradient(u, g) == value and _difference(action, g, h) < 1e-12
    assert (action.evaluations, action.hessians) == (2, 2)


@all_grids
@pytest.mark.parametrize("scheme_name", ["euler", "rk4"])
def test_gradient_and_hessian_are_derivatives(scheme_name: str, slabs: int) -> None:
    action, alone = _actions(
        slabs, scheme_name=scheme_name, lift="linear", R_f=5.0, R_0=4.0, count=4, chunk=1
    )
    (u, _), (d, _), (e, _) = (_pair(action, alone, seed) for seed in range(3))
    g, r, h, moved = (action.create() for _ in range(4))
    value = action.gradient(u, g)
    action.hessian(u, d, r)
    slope, curvature = g.dot(d), r.dot(d)
    steps, first, second = 4e-3 * 0.5 ** np.arange(4), [], []
    for t in steps:
        moved.waxpy(t, d, u)
        rest = action.gradient(moved, h) - value - t * slope
        first.append(abs(rest))
        second.append(abs(rest - 0.5 * t**2 * curvature))
    assert np.polyfit(np.log(steps), np.log(first), 1)[0] == pytest.approx(2.0, abs=0.1)
    assert np.polyfit(np.log(steps), np.log(second), 1)[0] == pytest.approx(3.0, abs=0.2)
    left = r.dot(e)
    action.hessian(u, e, h)
    assert abs(left - h.dot(d)) < 1e-13 * r.norm() * e.norm()


@all_grids
def test_outputs_and_scores_of_other_samples(slabs: int) -> None:
    action, alone = _actions(slabs, lift="linear", scheme_name="rk2")
    u, v = _pair(action, alone, 1)
    z, targets = samples(9, 3, 3, "cross_entropy")
    z += 0.3
    y = alone.network.output(alone.space.parameters(v.array_r), z.T)
    own, outputs = action.outputs(u, z)
    np.testing.assert_allclose(outputs, y.T[own.start : own.stop], atol=1e-14)
    assert WORLD.allreduce(len(own)) == 9
    loss, score = action.score(u, z, targets)
    assert score == np.mean(y.argmax(axis=0) == targets)
    expected = np.mean(np.log(np.exp(y).sum(axis=0)) - y[targets, np.arange(9)])
    assert abs(loss - expected) < 1e-13


@all_grids
def test_outputs_too_large_for_numbers_are_not_left_out(slabs: int) -> None:
    """Sample 0 is infinity less infinity on its way, and takes the others of its chunk along."""
    action, _ = _actions(slabs, lift="linear", chunk=2, strength=1.0)
    u, z = action.create(), np.zeros((6, 3))
    action.space.parameters(u.array).lift[...] = 1e308
    z[0] = 10.0, -10.0, 0.0
    with np.errstate(all="ignore"):
        own, outputs = action.outputs(u, z)
    assert len(outputs) == len(own)
    assert np.isnan(outputs[: len(own) if own.start == 0 else 0][:1]).all()


@all_grids
def test_a_stage_that_fails_for_the_last_sample_fails_on_every_rank(slabs: int) -> None:
    # X = x_0 + 2 softplus(X) has a solution for x_0 = -9 in every cell, and none for x_0 = 1.
    z = np.full((7, 1), -9.0)
    z[-1] = 1.0
    action, _ = _actions(
        slabs,
        data=(z, np.zeros((7, 1))),
        loss="least_squares",
        scheme_name="midpoint",
        activation_name="softplus",
        neurons=1,
        inputs=1,
        outputs=1,
        readout="observed",
        depth=4.0 * WORLD.size,
        cells=WORLD.size,
        grading=1.0,
        chunk=2,
    )
    u, g = action.create(), action.create()
    action.space.parameters(u.array).theta[..., 0] = 1.0
    for evaluate in (action.value, lambda u: action.gradient(u, g)):
        with pytest.raises(NumericalFailure, match="take more cells"):
            evaluate(u)
    u.set(0.0)
    assert np.isfinite(action.gradient(u, g))


def test_more_slabs_than_cells_are_refused() -> None:
    if WORLD.size == 1:
        pytest.skip("one slab always has a cell")
    with pytest.raises(InputError, match=f"{WORLD.size} slabs .* {WORLD.size - 1} cells"):
        _actions(WORLD.size, cells=WORLD.size - 1)


@all_grids
def test_the_minimiser_makes_the_same_steps(slabs: int) -> None:
    action, alone = _actions(slabs, lift="linear", chunk=5, strength=1.0)
    u, v = _pair(action, alone, 3, scale=0.1)
    outcomes = [
        minimise(a, x, LimitedMemory(a.metric, 5), tolerance=1e-6, iterations=50)
        for a, x in ((action, u), (alone, v))
    ]
    assert outcomes[0] == outcomes[1] and outcomes[0].converged
    assert action.evaluations == alone.evaluations
    assert abs(action.value(u) - alone.value(v)) < 1e-12 * alone.value(v)
