"""The quasi-Newton memory against the two-loop recursion."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import DiagonalMetric, network_action, random_control

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.spaces import prolong

Array = NDArray[np.float64]

SIZE = 12
M = 10.0 ** np.linspace(-1, 2, SIZE)


def _vec(array: Array) -> PETSc.Vec:
    return PETSc.Vec().createWithArray(array.copy(), comm=PETSc.COMM_SELF)


def _pairs(count: int) -> list[tuple[Array, Array]]:
    """Steps and gradient changes of a convex quadratic, so that all curvatures are positive."""
    random = np.random.default_rng(11)
    root = random.standard_normal((SIZE, SIZE))
    hessian = np.diag(M) + root @ root.T
    return [(s, hessian @ s) for s in random.standard_normal((count, SIZE))]


def _memory(pairs: list[tuple[Array, Array]], size: int) -> LimitedMemory:
    memory = LimitedMemory(DiagonalMetric(M), size)
    for s, y in pairs:
        memory.push(_vec(s), _vec(y))
    return memory


def _apply(memory: LimitedMemory, g: Array) -> Array:
    d = _vec(np.full(SIZE, np.nan))
    memory.apply(_vec(g), d)
    return d.array.copy()


def _two_loops(pairs: list[tuple[Array, Array]], g: Array) -> Array:
    """Nocedal and Wright, Numerical Optimization (2006), Algorithm 7.4."""
    s, y = pairs[-1]
    gamma = (s @ y) / (y @ (y / M))
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    r = gamma * q / M
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        r += (alpha - y @ r / (s @ y)) * s
    return r


@pytest.mark.parametrize("pushed", [1, 2, 5, 9])
@pytest.mark.parametrize("size", [1, 5, 20])
def test_apply_is_the_two_loop_recursion(size: int, pushed: int) -> None:
    pairs = _pairs(pushed)
    g = np.random.default_rng(12).standard_normal(SIZE)
    expected = _two_loops(pairs[-size:], g)
    memory = _memory(pairs, size)
    assert len(memory.s) == len(memory.y) == min(size, pushed)
    # The triangular solves of the compact form lose the condition of R, some 1e3.
    np.testing.assert_allclose(_apply(memory, g), expected, atol=1e-11 * np.abs(expected).max())


def test_secant_equation_of_the_newest_pair() -> None:
    pairs = _pairs(6)
    memory = _memory(pairs, 4)
    s, y = pairs[-1]
    np.testing.assert_allclose(_apply(memory, y), s, atol=1e-12)
    s, y = pairs[-2]
    assert np.abs(_apply(memory, y) - s).max() > 1e-6  # only the newest one's holds


def test_all_pairs_of_a_quadratic_give_its_inverse() -> None:
    """With conjugate steps every secant equation holds, so H is the inverse Hessian."""
    hessian = np.diag(M)
    steps = np.eye(SIZE) * np.arange(1.0, SIZE + 1.0)
    memory = _memory([(s, hessian @ s) for s in steps], SIZE)
    g = np.random.default_rng(13).standard_normal(SIZE)
    np.testing.assert_allclose(_apply(memory, g), g / M, rtol=1e-13)


def test_without_pairs_it_is_the_scaled_metric() -> None:
    memory = _memory([], 3)
    g = np.arange(1.0, SIZE + 1.0)
    np.testing.assert_allclose(_apply(memory, g), g / M, rtol=1e-15)
    memory.scale = 0.25
    np.testing.assert_allclose(_apply(memory, g), 0.25 * g / M, rtol=1e-15)


@pytest.mark.parametrize("curvature", [-1.0, 0.0, 1e-14])
def test_flat_pairs_are_left_out(curvature: float) -> None:
    pairs = _pairs(3)
    memory = _memory(pairs, 5)
    g = np.ones(SIZE)
    before, scale = _apply(memory, g), memory.scale
    y = np.zeros(SIZE)
    y[0] = 1.0
    s = np.zeros(SIZE)
    s[0], s[1] = curvature, 1.0
    memory.push(_vec(s), _vec(y))
    assert len(memory.s) == 3
    assert memory.scale == scale
    np.testing.assert_array_equal(_apply(memory, g), before)


def test_pairs_that_are_not_numbers_are_left_out() -> None:
    memory = _memory(_pairs(2), 5)
    memory.push(_vec(np.full(SIZE, np.nan)), _vec(np.ones(SIZE)))
    assert len(memory.s) == 2


def test_clear_forgets_the_pairs_and_keeps_the_scale() -> None:
    memory = _memory(_pairs(3), 5)
    scale, g = memory.scale, np.ones(SIZE)
    memory.clear()
    assert memory.s == memory.y == []
    np.testing.assert_allclose(_apply(memory, g), scale * g / M, rtol=1e-15)
    pairs = _pairs(3)
    for s, y in pairs:
        memory.push(_vec(s), _vec(y))
    np.testing.assert_allclose(_apply(memory, g), _two_loops(pairs, g), rtol=1e-9)


def test_dual_norm() -> None:
    g = np.random.default_rng(14).standard_normal(SIZE)
    assert dual_norm(DiagonalMetric(M), _vec(g)) == pytest.approx(
        np.sqrt(np.sum(g**2 / M)), rel=1e-14
    )


def _prolong(coarse: NetworkAction, fine: NetworkAction, u: PETSc.Vec) -> PETSc.Vec:
    """Same functions on the finer mesh."""
    v = fine.create()
    source, target = coarse.space.parameters(u.array_r), fine.space.parameters(v.array)
    old, new = coarse.network.depth.nodes, fine.network.depth.nodes
    for entry in np.ndindex(*source.theta.shape[1:]):
        target.theta[:, *entry] = np.interp(new, old, source.theta[:, *entry])
    target.readout[...] = source.readout
    middle = (new[:-1] + new[1:]) / 2
    for tile in range(len(coarse.space.tiles)):
        (a0, a), (b0, b) = coarse.space.forcing(u.array_r, tile), fine.space.forcing(v.array, tile)
        b0[...] = a0
        for cell in range(len(b)):  # constant on a cell: the value at its middle
            b[cell] = a[np.searchsorted(old, middle[cell]) - 1]
    return v


@pytest.mark.parametrize("cells", [10, 7], ids=["nested", "not-nested"])
@pytest.mark.parametrize("R", [np.inf, 5.0], ids=["strong-clamped", "weak-soft"])
def test_prolongation_of_a_control_is_the_same_functions(R: float, cells: int) -> None:
    coarse, fine = (network_action(cells=n, R_f=R, R_0=R) for n in (5, cells))
    u = random_control(coarse)
    v = prolong(coarse.space, fine.space, coarse.network.depth, fine.network.depth, u)
    np.testing.assert_allclose(v.array, _prolong(coarse, fine, u).array, atol=1e-14)
    if cells == 10:  # nested: also the prior energy is the same
        energies = []
        for action, w in ((coarse, u), (fine, v)):
            image = action.create()
            action.metric.apply(w, image)
            energies.append(w.dot(image))
        assert energies[0] == pytest.approx(energies[1], rel=1e-13)


@pytest.mark.parametrize("R", [np.inf, 5.0], ids=["strong-clamped", "weak-soft"])
def test_moving_to_a_nested_mesh_keeps_inner_products(R: float) -> None:
    coarse, fine = (network_action(cells=n, R_f=R, R_0=R) for n in (5, 10))
    memory, pairs = LimitedMemory(coarse.metric, 4), []
    for seed in range(6):
        s, change = random_control(coarse, seed), random_control(coarse, 100 + seed)
        change.axpy(3.0, s)
        y = coarse.create()
        coarse.metric.apply(change, y)
        pairs.append((s.copy(), y.copy()))
        memory.push(s, y)
    moved = memory.moved(fine.metric, lambda u: _prolong(coarse, fine, u))
    assert len(moved.s) == len(memory.s) == 4
    assert moved.scale == memory.scale
    assert moved.metric is fine.metric
    for i in range(4):
        for j in range(4):
            before, after = memory.s[i].dot(memory.y[j]), moved.s[i].dot(moved.y[j])
            assert after == pytest.approx(before, rel=1e-12, abs=1e-12)
    # So the operator is the same bilinear form on functionals of coarse fields.
    r = random_control(coarse, 7)
    g, d = coarse.create(), coarse.create()
    coarse.metric.apply(r, g)
    memory.apply(g, d)
    expected = g.dot(d)
    fine_g, fine_d = fine.create(), fine.create()
    fine.metric.apply(_prolong(coarse, fine, r), fine_g)
    moved.apply(fine_g, fine_d)
    assert fine_g.dot(fine_d) == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(
        fine_d.array, _prolong(coarse, fine, d).array, atol=1e-11 * np.abs(d.array).max()
    )
