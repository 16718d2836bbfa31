"""Multiple shooting in depth: the KKT matrix against one by hand, its preconditioner, its solution."""

from __future__ import annotations

import numpy as np
import pytest
from problems import dense, network_action, p1, random_control, samples
from shooting import saddle, to_slabs

from fem_deepest.errors import InputError
from fem_deepest.solve.newton import polish
from fem_deepest.solve.shooting.blocks import DepthBlocks
from fem_deepest.solve.shooting.newton import SaddleMetric, Step, solve_saddle
from fem_deepest.solve.shooting.propagators import PROPAGATORS, Exact, Frozen
from fem_deepest.solve.shooting.slab import Slab

TINY = {
    "neurons": 2,
    "inputs": 2,
    "outputs": 1,
    "count": 2,
    "cells": 4,
    "loss": "least_squares",
    "lift": "linear",
    "scheme_name": "euler",
}
K, N, CELLS, SLABS, PRECISION, R_F, R_0 = 2, 2, 4, 2, 2.0, 7.0, 3.0
STRENGTH, KAPPA = 1e-2, 0.7  # those of network_action
CASES = {
    "euler": {},
    "midpoint-forced": {"scheme_name": "midpoint", "R_f": R_F},
    "rk2-soft": {"scheme_name": "rk2", "R_f": R_F, "R_0": R_0, "lift": "linear", "leak": 0.3},
    "interval-ell": {"index": "interval", "ell": 0.4, "loss": "least_squares"},
}
cases = pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())


class ByHand:
    """The Lagrangian of two slabs of a network with the Euler scheme, in NumPy alone."""

    def __init__(self, nodes):
        self.nodes, (mass, stiffness) = nodes, p1(nodes)
        self.depth = STRENGTH * (KAPPA**2 * mass + stiffness)
        inputs, targets = samples(K, 2, 1, "least_squares")
        self.inputs, self.targets = inputs.T, targets.T
        self.sizes = [(CELLS + 1, N, N + 1), (1, N + 1), (N, 3), (N, K), (CELLS, N, K)]
        self.sizes += [(SLABS, N, K)] * 2

    def __call__(self, v):
        parts, start = [], 0
        for shape in self.sizes:
            size = int(np.prod(shape))
            parts.append(v[start : start + size].reshape(shape))
            start += size
        theta, readout, lift, xi0, xi, states, costates = parts
        flat = theta.reshape(CELLS + 1, -1)
        prior = (flat * (self.depth @ flat)).sum() + STRENGTH * (
            (readout**2).sum() + (lift**2).sum()
        )
        h = np.diff(self.nodes)
        model = R_F * (h[:, None, None] * xi**2).sum() + R_0 * (xi0**2).sum()
        x, coupled = lift[:, :-1] @ self.inputs + lift[:, -1:] + xi0, 0.0
        for s in range(SLABS):
            for i in range(2 * s, 2 * s + 2):
                x = x + h[i] * (np.tanh(theta[i, :, :-1] @ x + theta[i, :, -1:]) + xi[i])
            coupled = coupled + (costates[s] * (x - states[s])).sum()
            x = states[s]
        y = readout[:, :-1] @ x + readout[:, -1:]
        loss = 0.5 * PRECISION * ((y - self.targets) ** 2).sum()
        return (loss + coupled + 0.5 * model) / K + 0.5 * prior

    def gradient(self, v):
        """By complex steps, exact."""
        return np.array([self(v + 1e-30j * e).imag / 1e-30 for e in np.eye(v.size)])

    def hessian(self, v):
        """By central differences of :meth:`gradient`."""
        step = 1e-5
        return np.stack(
            [
                (self.gradient(v + step * e) - self.gradient(v - step * e)) / (2 * step)
                for e in np.eye(v.size)
            ],
            axis=1,
        )


@pytest.fixture(scope="module")
def by_hand():
    """Saddle form, point, and value, gradient and matrix by hand."""
    form = saddle(network_action(**TINY, R_f=R_F, R_0=R_0), SLABS)
    lagrangian, v = ByHand(form.network.depth.nodes), random_control(form)
    return form, v, lagrangian(v.array), lagrangian.gradient(v.array), lagrangian.hessian(v.array)


def test_residual_and_kkt_matrix_are_those_by_hand(by_hand):
    form, v, value, gradient, hessian = by_hand
    r = form.create()
    assert form.gradient(v, r) == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(r.array, gradient, rtol=0.0, atol=1e-13 * np.abs(gradient).max())
    matrix = dense(form.product, form)
    np.testing.assert_allclose(matrix, hessian, rtol=0.0, atol=1e-8 * np.abs(hessian).max())
    np.testing.assert_allclose(matrix, matrix.T, rtol=0.0, atol=1e-14 * np.abs(matrix).max())


@pytest.mark.parametrize("propagators", ["exact", "decoupled"])
def test_the_preconditioner_is_the_inverse_of_its_blocks(by_hand, propagators):
    form, v, _, _, hessian = by_hand
    form.gradient(v, form.create())
    blocks = DepthBlocks(form, propagators)
    blocks.update()
    size, ends = form.space.local_size, N * K
    control, states = slice(0, size), slice(size, size + SLABS * ends)
    costates = slice(states.stop, states.stop + SLABS * ends)
    matrix = np.zeros_like(hessian)
    matrix[control, control] = dense(form.prior.apply, form.space)
    matrix[costates, control] = hessian[costates, control]
    matrix[costates, states] = hessian[costates, states]
    if propagators == "decoupled":
        matrix[costates, states] = -np.eye(SLABS * ends) / K
    matrix[control, costates] = matrix[costates, control].T
    matrix[states, costates] = matrix[costates, states].T
    found = dense(lambda r, z: blocks.apply(None, r, z), form)
    inverse = np.linalg.inv(matrix)
    np.testing.assert_allclose(found, inverse, rtol=0.0, atol=1e-7 * np.abs(inverse).max())


@cases
def test_taylor_and_the_sweeps_of_the_action(options):
    """At the states and costates of the sweeps the residual is the gradient of the action."""
    action = network_action(count=5, cells=6, **options)
    form = saddle(action, 3)
    u, g = random_control(action), action.create()
    value = action.gradient(u, g)
    v, r = form.start(to_slabs(form, u)), form.create()
    assert form.gradient(v, r) == pytest.approx(value, rel=1e-13)
    assert form.action == pytest.approx(value, rel=1e-13) and form.defect == 0.0
    size = form.space.local_size
    scale = np.abs(g.array).max()
    np.testing.assert_allclose(r.array[:size], g.array[form.space.numbers], atol=1e-13 * scale)
    np.testing.assert_allclose(r.array[size:], 0.0, atol=1e-13)
    d, image, w, other = random_control(form, 2), *(form.create() for _ in range(3))
    v.axpy(0.1, random_control(form, 1))
    value = form.gradient(v, r)
    form.product(d, image)
    first, second = [], []
    for h in 2.0 ** -np.arange(4, 8):
        w.waxpy(h, d, v)
        remainder = form.gradient(w, other) - value - h * r.dot(d)
        first.append(abs(remainder))
        second.append(abs(remainder - 0.5 * h**2 * d.dot(image)))
    slopes = [np.diff(np.log2(x))[-1] for x in (first, second)]
    assert slopes[0] == pytest.approx(-2.0, abs=0.1)
    assert slopes[1] == pytest.approx(-3.0, abs=0.2)


@cases
def test_propagators(options):
    """Transposes are transposes; the exact one is the slab, and the frozen one has a local error ``H^3``.

    With the Euler scheme the slab itself has one of ``H^2``, with a fixed number of cells.
    """
    errors = []
    for depth in (0.4, 0.2, 0.1):
        network = network_action(cells=10, grading=1.0, depth=depth, **options).network
        slab, random = Slab(network, range(5, 10), 3), np.random.default_rng(0)
        theta = np.tile(random.standard_normal(network.coupling.shape), (6, 1, 1))
        slab.forward(theta, random.standard_normal((4, 3)), None)
        dx, costate = random.standard_normal((2, 4, 3))
        ends, backs = {}, {}
        for kind in (Exact, Frozen):
            propagator = kind(slab, 1)
            propagator.update()
            ends[kind], backs[kind] = propagator.tangent(dx), propagator.adjoint(costate)
            product = np.vdot(dx, backs[kind])
            assert np.vdot(ends[kind], costate) == pytest.approx(product, rel=1e-12)
        end, (back, _) = slab.tangent(None, dx, None), slab.sensitivity(costate)
        np.testing.assert_allclose(ends[Exact], end, rtol=0.0, atol=1e-13)
        np.testing.assert_allclose(backs[Exact], back, rtol=0.0, atol=1e-13)
        errors.append(np.abs(ends[Frozen] - end).max())
    order = -np.diff(np.log2(errors))[-1]
    expected = 2.0 if network.scheme.order == 1 else 3.0
    assert order == pytest.approx(expected, abs=0.2)


def test_counts_do_not_depend_on_the_slabs_where_there_are_propagators():
    action = network_action(count=6, cells=16, grading=1.0, scheme_name="rk2", strength=1e-1)
    u = random_control(action, scale=0.1)
    counts = {}
    for name in PROPAGATORS:
        for slabs in (1, 2, 8):
            form = saddle(action, slabs)
            v, r, d = form.start(to_slabs(form, u)), form.create(), form.create()
            form.gradient(v, r)
            step = Step(form, DepthBlocks(form, name), v)
            counts[name, slabs] = step.solve(r, d, 1e-8)
            step.destroy()
    one = counts["exact", 1]
    assert all(counts[name, 1] == one for name in PROPAGATORS)
    for slabs in (2, 8):
        assert abs(counts["exact", slabs] - one) <= 1
        assert abs(counts["frozen", slabs] - one) <= 3
    # An interface is told of its neighbour in each iteration: it takes slabs times as many, about.
    assert counts["decoupled", 8] > 2 * counts["decoupled", 2] > 2 * one


@pytest.mark.parametrize("options", [CASES["euler"], CASES["rk2-soft"]], ids=["strong", "soft"])
def test_the_minimiser_is_that_of_the_action(options):
    action = network_action(count=6, cells=8, strength=1e-1, **options)
    u = random_control(action, scale=0.05)
    polish(action, u, tolerance=1e-2, iterations=50)
    form = saddle(action, 4)
    v = form.start(to_slabs(form, u))
    v.axpy(1e-3, random_control(form, 1))  # states that are none of a sweep
    outcome = solve_saddle(form, v, DepthBlocks(form), tolerance=1e-11)
    assert outcome.converged and outcome.residual <= 1e-11
    assert polish(action, u, tolerance=1e-11, iterations=50).converged
    assert form.action == pytest.approx(action.value(u), rel=1e-13)
    assert form.defect < 1e-11
    found = form.control(v).array
    np.testing.assert_allclose(found, u.array[form.space.numbers], rtol=0.0, atol=1e-9)


def test_the_metric_is_a_riesz_map():
    form = saddle(network_action(count=3, cells=4, index="interval", R_f=5.0), 2)
    metric, d, r = SaddleMetric(form), random_control(form), form.create()
    metric.apply(d, r)
    assert r.dot(d) > 0.0
    back = form.create()
    metric.solve(r, back)
    np.testing.assert_allclose(back.array, d.array, rtol=0.0, atol=1e-12)


def test_what_is_refused():
    action = network_action(cells=4)
    with pytest.raises(InputError, match="5 slabs were asked for on 1 ranks in depth and 4 cells"):
        saddle(action, 5)
    with pytest.raises(InputError, match="unknown propagators 'magic'"):
        DepthBlocks(saddle(action, 2), "magic")
