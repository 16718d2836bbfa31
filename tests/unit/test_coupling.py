"""Couplings: their products against plain NumPy, the laws of their derivatives, and networks of them.

The plain maps below take the stored parameters of one node and states as columns, know the mass matrix
from elsewhere, and take complex numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import index_matrices, network_action, random_control, samples

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.replicas import Replicas
from fem_deepest.action.network.states import StateAction
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.network.coupling.antisymmetric import Antisymmetric
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.network.coupling.protocol import Coupling
from fem_deepest.network.stage import ImplicitStage
from fem_deepest.spaces import NeuronSpace

Array = NDArray[np.float64]
N, K, RANK = 5, 7, 2


def _p1_mass(n: int) -> Array:
    """Consistent mass of P1 on ``n - 1`` equal cells of (0, 1)."""
    h = 1.0 / (n - 1)
    mass = h / 6 * (4 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1))
    mass[0, 0] = mass[-1, -1] = h / 3
    return mass


INDICES = {
    "points": (NeuronSpace.points, np.eye(N)),
    "P0": (NeuronSpace.interval, np.eye(N) / N),
    "P1": (partial(NeuronSpace.interval, element="P1"), np.diag([1, 2, 2, 2, 1]) / 8),
    "P1-consistent": (
        partial(NeuronSpace.interval, element="P1", mass="consistent"),
        _p1_mass(N),
    ),
}


def _dense(theta: Array, mass: Array, x: Array) -> Array:
    return theta[:, :-1] @ mass @ x + theta[:, -1:]


def _low_rank(theta: Array, mass: Array, x: Array) -> Array:
    v, u, b = theta[:, :RANK], theta[:, RANK : 2 * RANK], theta[:, -1:]
    return u @ (v.T @ (mass @ x)) + b


def _antisymmetric(theta: Array, mass: Array, x: Array) -> Array:
    w = theta[:, :-1]
    return w @ (mass @ x) - w.T @ (mass @ x) - 0.3 * x + theta[:, -1:]


KINDS: dict[str, tuple[Callable[[NeuronSpace], Coupling], Callable[..., Array]]] = {
    "dense": (Dense, _dense),
    "low_rank": (partial(LowRank, rank=RANK), _low_rank),
    "antisymmetric": (partial(Antisymmetric, damping=0.3), _antisymmetric),
}
kinds = pytest.mark.parametrize("kind", KINDS)
indices = pytest.mark.parametrize("index", INDICES)
leads = pytest.mark.parametrize("lead", [(), (3,)], ids=["one", "three"])


class Products:
    """Random parameters, states and duals of a coupling, and its products as new arrays."""

    def __init__(self, kind: str, index: str, lead: tuple[int, ...] = ()) -> None:
        make, self.mass = INDICES[index]
        self.coupling, self.plain = KINDS[kind][0](make(N)), KINDS[kind][1]
        random = np.random.default_rng(7)
        self.theta, self.d_theta, self.t = random.standard_normal((3, *lead, *self.coupling.shape))
        self.x, self.dx, self.v = random.standard_normal((3, *lead, N, K))
        self.work = self.coupling.buffers(K, lead)

    def effective(self, theta: Array) -> Array:
        kept = theta.copy()
        effective = self.coupling.effective(theta)
        np.testing.assert_array_equal(theta, kept)
        return effective

    def full(self, x: Array) -> Array:
        return np.concatenate([x, np.ones((*x.shape[:-2], 1, K))], axis=-2)

    def value(self, theta: Array, x: Array) -> Array:
        out = np.full(x.shape, np.nan)
        self.coupling.value(self.effective(theta), self.full(x), out, self.work)
        return out

    def tangent(self, theta: Array, dx: Array) -> Array:
        out = np.full(dx.shape, np.nan)
        self.coupling.tangent(self.effective(theta), dx, out, self.work)
        return out

    def adjoint(self, theta: Array, v: Array) -> Array:
        out = np.full(v.shape, np.nan)
        self.coupling.adjoint(self.effective(theta), v, out, self.work)
        return out

    def variation(self, theta: Array, d_theta: Array, x: Array) -> Array:
        out = np.full(x.shape, np.nan)
        arguments = self.effective(theta), self.effective(d_theta), self.full(x)
        self.coupling.variation(*arguments, out, self.work)
        return out

    def gradient(self, theta: Array, v: Array, x: Array) -> Array:
        out = np.full(theta.shape, np.nan)
        self.coupling.gradient(self.effective(theta), v, self.full(x), out, self.work)
        self.coupling.effective_transposed(out)
        return out


@kinds
@indices
@leads
def test_value_is_that_of_plain_numpy(kind: str, index: str, lead: tuple[int, ...]) -> None:
    """Each of the networks side by side."""
    p = Products(kind, index, lead)
    got = p.value(p.theta, p.x).reshape(-1, N, K)
    thetas, states = p.theta.reshape(-1, *p.coupling.shape), p.x.reshape(-1, N, K)
    for one, theta, x in zip(got, thetas, states, strict=True):
        np.testing.assert_allclose(one, p.plain(theta, p.mass, x), atol=1e-14)


@kinds
@indices
def test_first_derivatives_are_those_of_plain_numpy(kind: str, index: str) -> None:
    """By complex steps, without cancellation."""
    p = Products(kind, index)
    step = 1e-30j
    tangent = p.plain(p.theta, p.mass, p.x + step * p.dx).imag * 1e30
    np.testing.assert_allclose(p.tangent(p.theta, p.dx), tangent, atol=1e-14)
    variation = p.plain(p.theta + step * p.d_theta, p.mass, p.x).imag * 1e30
    np.testing.assert_allclose(p.variation(p.theta, p.d_theta, p.x), variation, atol=1e-14)
    matrix = p.coupling.matrix(p.effective(p.theta))
    np.testing.assert_allclose(matrix @ p.dx, tangent, atol=1e-14)


@kinds
@indices
@leads
def test_adjoint_and_gradient_are_transposes(kind: str, index: str, lead: tuple[int, ...]) -> None:
    p = Products(kind, index, lead)
    left = np.sum(p.tangent(p.theta, p.dx) * p.v)
    assert left == pytest.approx(np.sum(p.dx * p.adjoint(p.theta, p.v)), rel=1e-12)
    left = np.sum(p.variation(p.theta, p.d_theta, p.x) * p.v)
    assert left == pytest.approx(np.sum(p.d_theta * p.gradient(p.theta, p.v, p.x)), rel=1e-12)


@kinds
@indices
@leads
def test_second_adjoint_is_the_derivative_of_adjoint_and_gradient(
    kind: str, index: str, lead: tuple[int, ...]
) -> None:
    """Both are polynomials of degree two at most along a line: central differences are exact."""
    p = Products(kind, index, lead)
    ends = [(p.theta + e * p.d_theta, p.x + e * p.dx) for e in (1.0, -1.0)]
    by_x, other = (p.adjoint(theta, p.v) for theta, _ in ends)
    by_x -= other
    by_theta, other = (p.gradient(theta, p.v, x) for theta, x in ends)
    by_theta -= other
    out_x, out_theta = np.ones_like(p.x), np.ones_like(p.theta)  # it adds to them
    arguments = p.effective(p.theta), p.effective(p.d_theta), p.v, p.dx, p.full(p.x)
    p.coupling.second_adjoint(*arguments, out_x, out_theta, p.work)
    out_theta -= 1.0
    p.coupling.effective_transposed(out_theta)
    np.testing.assert_allclose(out_x - 1.0, by_x / 2, atol=1e-13)
    np.testing.assert_allclose(out_theta, by_theta / 2, atol=1e-13)


@kinds
@indices
def test_prior_factors_are_those_of_the_parameters(kind: str, index: str) -> None:
    """Rows are functions of the index; ``<theta, theta>`` of the factors is the L2 norm of the fields."""
    p = Products(kind, index)
    rows, columns = p.coupling.rows, p.coupling.columns
    assert (rows.size, columns.size) == p.coupling.shape
    np.testing.assert_allclose(rows.mass.toarray(), p.mass, atol=1e-15)
    got = np.vdot(p.theta, columns.apply_mass(rows.apply_mass(p.theta, 0), 1))
    if kind != "low_rank":  # |w|^2 in L2(S x S) + |b|^2 in L2(S)
        w, b = p.theta[:, :-1], p.theta[:, -1]
        expected = np.trace(w.T @ p.mass @ w @ p.mass) + b @ p.mass @ b
    else:
        expected = np.trace(p.theta.T @ p.mass @ p.theta)
    assert got == pytest.approx(expected, rel=1e-13)


@kinds
@pytest.mark.parametrize("element", ["P0", "P1"])
def test_prolongation_keeps_the_map_of_states(kind: str, element: str) -> None:
    """On nested spaces with consistent mass ``B_f(P theta; P x) = P B_c(theta; x)``."""
    sizes = {"P0": (5, 10), "P1": (5, 9)}[element]
    spaces = [NeuronSpace.interval(n, element, "consistent") for n in sizes]
    coarse, fine = (KINDS[kind][0](space) for space in spaces)
    rows, columns = coarse.prolongation(fine)
    random = np.random.default_rng(2)
    theta, x = random.standard_normal(coarse.shape), random.standard_normal((5, K))
    finer = rows @ theta
    if columns is not None:
        finer = (columns @ finer.T).T
    assert finer.shape == fine.shape
    P = spaces[0].prolongation(spaces[1])
    results = []
    for coupling, parameters, state in ((coarse, theta, x), (fine, finer, P @ x)):
        full = np.concatenate([state, np.ones((1, K))])
        results.append(np.empty_like(state))
        work = coupling.buffers(K)
        coupling.value(coupling.effective(parameters), full, results[-1], work)
    np.testing.assert_allclose(results[1], P @ results[0], atol=1e-13)


@kinds
@indices
def test_start_has_the_size_that_was_asked_for(kind: str, index: str) -> None:
    """``|B x|^2`` is on average ``deviation^2 |x|^2``; depth nodes agree and the bias is zero."""
    many, make = 60, INDICES[index][0]
    sized = {"dense": Dense, "low_rank": partial(LowRank, rank=12), "antisymmetric": Antisymmetric}
    coupling = sized[kind](make(many))
    starts, random = [], np.random.default_rng(4)
    for _ in range(30):
        theta = np.empty((3, *coupling.shape))
        coupling.start(random, 0.8, theta)
        starts.append(coupling.matrix(coupling.effective(theta)))
        np.testing.assert_array_equal(theta, theta[:1].repeat(3, axis=0))
        assert not theta[..., -1].any()
    got = np.sqrt(np.mean(np.square(starts)) * many)
    # Of 30 squares of Frobenius norms the deviation of the mean is at most 2 sqrt(2/12)/sqrt(60 30);
    # a consistent mass averages neighbours, and the ends of P1 weigh half.
    expected = {"P1-consistent": 0.8 * np.sqrt(0.5)}.get(index, 0.8)
    assert got == pytest.approx(expected, rel=0.03)


def test_dense_start_is_a_gaussian_matrix_over_the_measure_of_a_neuron() -> None:
    for make, scale in ((NeuronSpace.points, 1.0), (NeuronSpace.interval, 12.0)):
        theta = np.empty((2, 12, 13))
        Dense(make(12)).start(np.random.default_rng(5), 0.5, theta)
        expected = 0.5 / np.sqrt(12) * scale * np.random.default_rng(5).standard_normal((12, 12))
        np.testing.assert_array_equal(theta[1, :, :-1], expected)


# Networks -----------------------------------------------------------------------------------------

LOW_RANK: dict[str, Any] = {"coupling": partial(LowRank, rank=RANK), "neurons": N}
OPTIONS = {
    "euler": {},
    "rk4-weak": {"scheme_name": "rk4", "R_f": 5.0, "leak": 0.3},
    "midpoint-weak-soft": {"scheme_name": "midpoint", "R_f": 5.0, "R_0": 4.0, "lift": "linear"},
    # The fixed point of the stage does not contract: direct solves in every sweep.
    "midpoint-long-steps": {"scheme_name": "midpoint", "depth": 12.0, "leak": 0.2},
    "P1": {"index": "lumped", "ell": 0.3, "scheme_name": "rk2"},
    "P1-consistent": {"index": "consistent", "ell": 0.3, "R_f": 5.0},
}
all_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def _action_of_plain_numpy(
    u: Array, z: Array, labels: NDArray, cells: int, mass: Array, stiffness: Array
) -> Any:
    """Explicit Euler on a uniform mesh, cross-entropy, H1 prior in depth and index; complex too."""
    h, size, length = 1.5 / cells, (cells + 1) * N * (2 * RANK + 1), 0.3
    theta, readout = u[:size].reshape(cells + 1, N, -1), u[size:].reshape(3, N + 1)
    x = np.concatenate([z.T, np.zeros((N - 3, len(z)))]).astype(u.dtype)
    for node in theta[:-1]:
        x = x + h * np.tanh(_low_rank(node, mass, x))
    C, c = readout[:, :-1], readout[:, -1:]
    y = C @ mass @ x + c
    loss = np.mean(np.log(np.exp(y).sum(axis=0)) - y[labels, np.arange(len(z))])
    a, b, prior = theta[:-1], theta[1:], np.sum(C @ (mass + length**2 * stiffness) * C + 0j)
    for weight, form in ((0.7**2, mass), (length**2, stiffness)):
        prior += weight * h / 3 * np.sum(a * (form @ a) + a * (form @ b) + b * (form @ b))
    prior += np.sum((b - a) * (mass @ (b - a))) / h + np.sum(c**2)
    return loss + 1e-2 / 2 * prior


@pytest.mark.parametrize("index", ["points", "lumped", "consistent"])
def test_low_rank_network_is_that_of_plain_numpy(index: str) -> None:
    data = samples(20, 3, 3, "cross_entropy")
    action = network_action(data=data, cells=4, grading=1.0, index=index, ell=0.3, **LOW_RANK)
    u, g = random_control(action, 1), action.create()
    given = *data, 4, *index_matrices(index, N)
    value = action.gradient(u, g)
    assert value == pytest.approx(_action_of_plain_numpy(u.array, *given).real, rel=1e-13)
    steps = u.array + 1e-30j * np.eye(u.getSize())
    gradient = [_action_of_plain_numpy(step, *given).imag * 1e30 for step in steps]
    np.testing.assert_allclose(g.array, gradient, atol=1e-13 * np.abs(gradient).max())


def test_start_of_low_rank_does_not_stick() -> None:
    """Both factors and the bias feel the misfit as soon as the readout is there; at zero they do not."""
    action = network_action(**LOW_RANK)
    coupling = action.network.coupling
    norms = []
    for deviation in (0.5, 0.0):
        u, g, riesz = action.create(), action.create(), action.create()
        p = action.space.parameters(u.array)
        coupling.start(np.random.default_rng(1), deviation, p.theta)
        p.readout[...] = np.random.default_rng(2).standard_normal(p.readout.shape)
        action.gradient(u, g)
        action.metric.apply(u, riesz)
        g.axpy(-1.0, riesz)
        theta = action.space.parameters(g.array).theta
        parts = theta[..., :RANK], theta[..., RANK:-1], theta[..., -1]
        norms.append([np.linalg.norm(part) for part in parts])
    assert min(norms[0]) > 1e-2
    assert norms[1][:2] == [0.0, 0.0]


@pytest.mark.parametrize("options", [{}, {"R_f": 5.0}], ids=["strong", "weak"])
def test_low_rank_network_is_the_dense_one_with_its_kernel(options: dict[str, Any]) -> None:
    """Explicit Euler sees the nodes alone: ``w = U V^T`` there, and the chain rule to ``U``, ``V``."""
    action = network_action(**options, **LOW_RANK)
    full = network_action(**options, neurons=N)
    u, g, w, g_w = random_control(action, 1), action.create(), full.create(), full.create()
    p, q = action.space.parameters(u.array), full.space.parameters(w.array)
    v, left, b = p.theta[..., :RANK], p.theta[..., RANK:-1], p.theta[..., -1]
    q.theta[..., :-1], q.theta[..., -1] = left @ v.swapaxes(1, 2), b
    w.array[full.space.parameter_size - q.readout.size :] = u.array[
        action.space.parameter_size - q.readout.size :
    ]
    action.gradient(u, g), full.gradient(w, g_w)
    assert action.parts.misfit == pytest.approx(full.parts.misfit, rel=1e-13)
    assert action.parts.model == pytest.approx(full.parts.model, rel=1e-13)
    for one, at, derivative in ((action, u, g), (full, w, g_w)):
        riesz = one.create()
        one.metric.apply(at, riesz)
        derivative.axpy(-1.0, riesz)
    d, d_w = (a.space.parameters(x.array).theta for a, x in ((action, g), (full, g_w)))
    expected = [d_w[..., :-1].swapaxes(1, 2) @ left, d_w[..., :-1] @ v, d_w[..., -1:]]
    np.testing.assert_allclose(d, np.concatenate(expected, axis=2), atol=1e-14)


def _slope(errors: list[float]) -> float:
    return float(np.log2(errors[-2] / errors[-1]))


@all_options
def test_taylor_remainders(options: dict[str, Any]) -> None:
    _check_taylor(network_action(**options, **LOW_RANK))


def _check_taylor(action: NetworkAction) -> None:
    u, d, w = random_control(action, 1), random_control(action, 2, 1.0), action.create()
    g, h = action.create(), action.create()
    value = action.gradient(u, g)
    action.hessian(u, d, h)
    first, second = [], []
    for e in 2.0 ** -np.arange(6, 10):
        u.copy(w)
        w.axpy(e, d)
        change = action.value(w) - value
        first.append(abs(change - e * g.dot(d)))
        second.append(abs(change - e * g.dot(d) - e**2 / 2 * h.dot(d)))
    # Halving from e = 1/64 the slopes differ from 2 and 3 by about e; the smallest remainders are
    # e^3 = 1e-8, far above rounding.
    assert _slope(first) == pytest.approx(2.0, abs=0.1)
    assert _slope(second) == pytest.approx(3.0, abs=0.15)


@all_options
def test_second_variations_are_symmetric(options: dict[str, Any]) -> None:
    action = network_action(**options, **LOW_RANK)
    u, a, b = (random_control(action, seed) for seed in (1, 2, 3))
    image_a, image_b = action.create(), action.create()
    for product in (action.hessian, action.gauss_newton):
        product(u, a, image_a)
        product(u, b, image_b)
        assert abs(image_a.dot(b) - image_b.dot(a)) < 1e-12 * image_a.norm() * b.norm()


@pytest.mark.parametrize("scheme", ["euler", "midpoint"])
def test_networks_side_by_side_are_those_one_by_one(scheme: str) -> None:
    """Also with steps so long that the stages of some need direct solves."""
    action = network_action(scheme_name=scheme, depth=6.0, **LOW_RANK)
    w = np.stack([random_control(action, seed, 0.3 + 0.2 * seed).array for seed in range(4)])
    parts, gradients = Replicas(action).gradient(w)
    for row, value, expected in zip(w, parts.action, gradients, strict=True):
        u, g = action.create(), action.create()
        u.array[...] = row
        assert action.gradient(u, g) == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(g.array, expected, atol=1e-12 * np.abs(expected).max())


def test_rotating_the_factors_changes_nothing() -> None:
    action = network_action(scheme_name="rk2", **LOW_RANK)
    u = random_control(action, 1)
    value = action.value(u)
    c, s = np.cos(0.4), np.sin(0.4)
    p = action.space.parameters(u.array)
    for factor in (p.theta[..., :RANK], p.theta[..., RANK:-1]):
        factor[...] = factor @ np.array([[c, -s], [s, c]])
    assert action.value(u) == pytest.approx(value, rel=1e-13)


ANTISYMMETRIC: dict[str, Any] = {"coupling": partial(Antisymmetric, damping=0.3), "neurons": N}


@pytest.mark.parametrize("scheme", ["euler", "midpoint"])
def test_antisymmetric_network_is_the_dense_one_with_its_kernel(scheme: str) -> None:
    """``w - w^T - 0.3`` at the nodes is one in P1 between them: for any scheme."""
    action = network_action(scheme_name=scheme, R_f=5.0, **ANTISYMMETRIC)
    full = network_action(scheme_name=scheme, R_f=5.0, neurons=N)
    u, g, g_w = random_control(action, 1), action.create(), full.create()
    w = u.copy()
    theta = full.space.parameters(w.array).theta
    kernel = theta[..., :-1]
    kernel -= kernel.swapaxes(1, 2).copy() + 0.3 * np.eye(N)
    action.gradient(u, g), full.gradient(w, g_w)
    assert action.parts.misfit == pytest.approx(full.parts.misfit, rel=1e-13)
    for one, at, derivative in ((action, u, g), (full, w, g_w)):
        riesz = one.create()
        one.metric.apply(at, riesz)
        derivative.axpy(-1.0, riesz)
    expected = full.space.parameters(g_w.array).theta
    expected[..., :-1] -= expected[..., :-1].swapaxes(1, 2).copy()
    np.testing.assert_allclose(g.array, g_w.array, atol=1e-13)


@pytest.mark.parametrize("index", ["points", "consistent"])
def test_antisymmetric_network_with_midpoint_conserves_the_norm(index: str) -> None:
    """Of states so small that tanh is linear: ``tanh z - z`` is some ``(3e-5)^2`` of ``z``, ten times."""
    action = network_action(
        coupling=Antisymmetric, neurons=N, index=index, scheme_name="midpoint", depth=5.0
    )
    u = random_control(action, 3)
    p = action.space.parameters(u.array)
    p.theta[..., -1] = 0.0
    z = 1e-5 * np.random.default_rng(0).standard_normal((3, 4))
    nodes = action.network.states(p, z)
    mass, _ = index_matrices(index, N)
    norms = np.einsum("iak,ab,ibk->ik", nodes, mass, nodes)
    np.testing.assert_allclose(norms, norms[:1].repeat(len(norms), axis=0), rtol=1e-7)
    assert np.abs(nodes[-1] - nodes[0]).max() > 1e-6  # they did move


@pytest.mark.parametrize("scheme", ["euler", "midpoint"])
def test_antisymmetric_taylor_remainders(scheme: str) -> None:
    _check_taylor(network_action(scheme_name=scheme, index="lumped", ell=0.3, **ANTISYMMETRIC))


def test_antisymmetric_is_refused_where_a_dense_coupling_is_needed() -> None:
    with pytest.raises(InputError, match=r"Antisymmetric.*dense"):
        StateAction(network_action(R_f=5.0, **ANTISYMMETRIC))


# Bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, N + 1])
def test_a_rank_out_of_range_is_refused(rank: int) -> None:
    with pytest.raises(InputError, match=f"rank {rank} .*1 to {N}"):
        LowRank(NeuronSpace.points(N), rank)


def test_a_coupling_of_another_index_is_refused() -> None:
    with pytest.raises(InputError, match=rf"{N + 1} neurons, but the index has {N}"):
        network_action(neurons=N, coupling=lambda _: Dense(NeuronSpace.points(N + 1)))


def test_a_stage_that_would_factorise_large_matrices_is_refused() -> None:
    """With the size of one; the fixed point of ``x = 3 tanh'(0) x + 1`` does not contract."""
    n = 2049
    coupling = LowRank(NeuronSpace.points(n), 1)
    theta = np.zeros(coupling.shape)
    theta[0, :2] = 1.0
    stage = ImplicitStage(coupling, None, 0.0, coupling.buffers(1))  # type: ignore[arg-type]
    with pytest.raises(NumericalFailure, match=r"2049 x 2049 matrix \(34 MB\)"):
        stage.solve_linear(theta, np.ones((n, 1)), 3.0, np.ones((n, 1)), adjoint=False)
