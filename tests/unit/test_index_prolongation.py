"""Controls on a finer neuron index: the same functions, of the same energy, with the same action."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from levels import INDEX, NEURONS, configuration
from mpi4py import MPI
from problems import random_control

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.errors import InputError
from fem_deepest.runs.model import Problem
from fem_deepest.runs.train import load_data
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.solve.prolongation import prolongation
from fem_deepest.spaces import ProcessGrid, Resolution


def actions(kind: str, cells: tuple[int, int] = (2, 4), **sections: Any) -> list[NetworkAction]:
    """The actions of the first level and of the last."""
    config = configuration(kind, **sections)
    problem = Problem.create(config, *load_data(config))
    ends = config.levels[0][1], config.levels[-1][1]
    grid = ProcessGrid.create(MPI.COMM_SELF)
    return [
        problem.action(Resolution(n, shape), grid) for n, shape in zip(cells, ends, strict=True)
    ]


def states(action: NetworkAction, values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Fields (N, ...) of an index with one channel at points."""
    return np.tensordot(action.network.index.evaluate(points).toarray(), values, 1)


@pytest.mark.parametrize("kind", ["P0", "P1", "rectangle"])
@pytest.mark.parametrize("R", [np.inf, 5.0], ids=["strong", "weak"])
def test_prolongation_is_the_same_functions(kind: str, R: float) -> None:
    section = {"action": {"R_f": R, "R_0": R}} if np.isfinite(R) else {}
    coarse, fine = actions(kind, **section)
    u = random_control(coarse)
    v = prolongation(coarse, fine, same_index=False)(u)
    points = np.random.default_rng(0).uniform(0.01, 0.99, (30, coarse.network.index.dimension))
    a, b = coarse.space.parameters(u.array_r), fine.space.parameters(v.array_r)
    kernels = []
    for action, p, step in ((coarse, a, 1), (fine, b, 2)):  # at the same depth nodes
        theta = p.theta[::step]
        once = states(action, np.moveaxis(theta[:, :, :-1], 1, 0), points)
        twice = states(action, np.moveaxis(once, 2, 0), points)
        bias = states(action, np.moveaxis(theta[:, :, -1], 1, 0), points)
        readout = states(action, p.readout[:, :-1].T, points)
        kernels.append((twice, bias, readout, p.readout[:, -1], states(action, p.lift, points)))
    for x, y in zip(*kernels, strict=True):
        np.testing.assert_allclose(y, x, atol=1e-12)
    for tile in range(len(coarse.space.tiles)):
        (a0, a_xi), (b0, b_xi) = (
            action.space.forcing(w.array_r, tile) for action, w in ((coarse, u), (fine, v))
        )
        assert a_xi.size > 0 or not np.isfinite(R)
        if a0.size:
            np.testing.assert_allclose(
                states(fine, b0, points), states(coarse, a0, points), atol=1e-12
            )
            for cell in range(4):
                np.testing.assert_allclose(
                    states(fine, b_xi[cell], points),
                    states(coarse, a_xi[cell // 2], points),
                    atol=1e-12,
                )


def test_prolongation_of_piecewise_constants_repeats_them() -> None:
    coarse, fine = actions("P0", cells=(2, 2))
    u = random_control(coarse)
    v = prolongation(coarse, fine, same_index=False)(u)
    a, b = coarse.space.parameters(u.array_r), fine.space.parameters(v.array_r)
    kernel = np.repeat(np.repeat(a.theta[:, :, :-1], 4, axis=1), 4, axis=2)
    np.testing.assert_allclose(b.theta[:, :, :-1], kernel, atol=1e-14)
    np.testing.assert_allclose(
        b.theta[:, :, -1], np.repeat(a.theta[:, :, -1], 4, axis=1), atol=1e-14
    )


@pytest.mark.parametrize("kind", INDEX)
def test_prolongation_keeps_the_inner_products_of_the_metric(kind: str) -> None:
    """Where the finer mass matrix is that of the coarser space: P0, or consistent."""
    coarse, fine = actions(kind, network={"mass": "consistent"} if kind == "channels" else {})
    move = prolongation(coarse, fine, same_index=False)
    u, w = random_control(coarse, 0), random_control(coarse, 1)
    products = []
    for action, a, b in ((coarse, u, w), (fine, move(u), move(w))):
        image = action.create()
        action.metric.apply(a, image)
        products.append((image.dot(a), image.dot(b)))
    np.testing.assert_allclose(products[1], products[0], rtol=1e-11)


@pytest.mark.parametrize("kind", ["P0", "P1"])
def test_moving_the_memory_keeps_its_bilinear_form(kind: str) -> None:
    coarse, fine = actions(kind)
    memory, move = LimitedMemory(coarse.metric, 3), prolongation(coarse, fine, same_index=False)
    for seed in range(4):
        s, change = random_control(coarse, seed), random_control(coarse, 100 + seed)
        change.axpy(3.0, s)
        y = coarse.create()
        coarse.metric.apply(change, y)
        memory.push(s, y)
    moved = memory.moved(fine.metric, move)
    r = random_control(coarse, 7)
    values = []
    for action, own, field in ((coarse, memory, r), (fine, moved, move(r))):
        g, d = action.create(), action.create()
        action.metric.apply(field, g)
        own.apply(g, d)
        values.append(g.dot(d))
    assert values[1] == pytest.approx(values[0], rel=1e-10)


def test_action_of_piecewise_constants_stays_the_same() -> None:
    """P0 is closed under the activation, and its lumped mass is exact: nothing changes at all."""
    coarse, fine = actions("P0", cells=(3, 3), action={"R_f": 5.0, "R_0": 5.0})
    u = random_control(coarse)
    v = prolongation(coarse, fine, same_index=False)(u)
    assert fine.value(v) == pytest.approx(coarse.value(u), rel=1e-12)
    for name in ("misfit", "model", "prior"):
        assert getattr(fine.parts, name) == pytest.approx(getattr(coarse.parts, name), rel=1e-12)


def test_action_of_piecewise_linears_changes_by_the_square_of_the_width() -> None:
    """``sigma`` of a P1 field is interpolated at the nodes, more of them on a finer mesh."""
    config = configuration("P1", network={"neurons": 129}, solve={"neurons": [9, 129]})
    problem = Problem.create(config, *load_data(config))
    grid = ProcessGrid.create(MPI.COMM_SELF)
    changes, smooth = [], np.linspace(0.0, 1.0, 129)
    for n in (17, 33, 65):
        coarse, fine = (problem.action(Resolution(2, (m,)), grid) for m in (n, 2 * n - 1))
        u, s = coarse.create(), smooth[:: 128 // (n - 1)]
        p = coarse.space.parameters(u.array_w)
        p.theta[:, :, :-1] = 4.0 * np.cos(3.0 * s[:, None] - 2.0 * s)
        p.theta[:, :, -1] = np.sin(4.0 * s)
        p.lift[...] = np.cos(np.outer(s, [1.0, 3.0, 2.0]))
        p.readout[:, :-1] = np.exp(np.outer([1.0, -1.0], s))[: p.readout.shape[0]]
        v = prolongation(coarse, fine, same_index=False)(u)
        coarse.value(u), fine.value(v)
        changes.append(abs(fine.parts.misfit - coarse.parts.misfit))
        assert fine.parts.prior == pytest.approx(coarse.parts.prior, rel=1e-12)
    orders = np.log2(np.array(changes[:-1]) / changes[1:])
    assert orders[-1] == pytest.approx(2.0, abs=0.15)


def test_points_are_not_prolonged() -> None:
    config = configuration("P0", nested=False, network={"index": "points"})
    other = configuration("P0", nested=False, network={"index": "points", "neurons": 6})
    coarse, fine = (
        Problem.create(c, *load_data(c)).action(Resolution(2), ProcessGrid.create(MPI.COMM_SELF))
        for c in (other, config)
    )
    with pytest.raises(InputError, match="points have no geometry"):
        prolongation(coarse, fine, same_index=False)


def test_levels_of_every_kind_are_there() -> None:
    assert NEURONS.keys() == INDEX.keys()
