"""Networks whose couplings are operators: against plain NumPy, Taylor tests, refinement of the index."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from numpy.typing import NDArray
from problems import random_control, samples
from stencils import differences

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.replicas import Replicas
from fem_deepest.network.activation import activation
from fem_deepest.network.coupling.convolution import convolution
from fem_deepest.network.coupling.differential import elliptic, local
from fem_deepest.network.coupling.operators import OperatorCoupling
from fem_deepest.network.loss import CrossEntropy
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid, prolong
from fem_deepest.spaces.prolongation import along

Array = NDArray[np.float64]

LAMBDA, KAPPA = 1e-2, 0.7
ALL = ["1", "grad", "laplace"]


def line(n: int = 6, channels: int = 2) -> NeuronSpace:
    """P1 on an interval of cells of length 1: derivatives of the size of the values."""
    return NeuronSpace.interval(n, "P1", extent=n - 1.0, channels=channels)


def plane(channels: int = 1) -> NeuronSpace:
    """Q1 on a rectangle."""
    return NeuronSpace.rectangle((3, 4), "P1", extent=(2.0, 3.0), channels=channels)


def network_action(
    coupling: OperatorCoupling,
    *,
    scheme_name: str = "euler",
    cells: int = 4,
    grading: float = 1.3,
    leak: float = 0.0,
    linear_lift: bool = False,
    ell: float = 0.0,
    R_f: float = np.inf,
    R_0: float = np.inf,
    depth: float = 1.5,
) -> NetworkAction:
    """Action on 20 random samples of 3 classes."""
    network = Network(
        DepthMesh.graded(depth, cells, grading),
        coupling.index,
        scheme(scheme_name),
        activation("tanh"),
        3,
        3,
        leak,
        linear_lift,
        coupling=coupling,
    )
    z, labels = samples(20, 3, 3, "cross_entropy")
    return NetworkAction(
        ProcessGrid.create(MPI.COMM_SELF), network, CrossEntropy(), z, labels,
        strength=LAMBDA, kappa=KAPPA, ell=ell, model_precision=R_f, input_precision=R_0,
    )  # fmt: skip


CASES: dict[str, tuple[Callable[[], OperatorCoupling], dict[str, Any]]] = {
    "field": (lambda: local(line(), ALL), {"ell": 0.5}),
    "field-midpoint-weak": (
        lambda: local(plane(), ALL),
        {"scheme_name": "midpoint", "R_f": 5.0, "R_0": 4.0, "ell": 0.5},
    ),
    # The fixed point of the stage does not contract: direct solves in every sweep.
    "field-long-steps": (
        lambda: local(line(), ALL),
        {"scheme_name": "midpoint", "depth": 4.0, "leak": 0.2},
    ),
    "uniform-rk4": (
        lambda: local(plane(2), ["1", "hessian"], uniform=True),
        {"scheme_name": "rk4", "R_f": 5.0, "leak": 0.3, "linear_lift": True},
    ),
    "elliptic-midpoint": (
        lambda: elliptic(line(), ALL, 0.8),
        {"scheme_name": "midpoint", "R_f": 5.0},
    ),
    "convolution-rk2": (lambda: convolution(plane(2), 1.0), {"scheme_name": "rk2", "ell": 0.4}),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def _slope(errors: list[float]) -> float:
    return float(np.log2(errors[-2] / errors[-1]))


@cases
def test_taylor_remainders_and_symmetry(case: tuple) -> None:
    make, options = case
    action = network_action(make(), **options)
    u, d, e = (
        random_control(action, seed, scale) for seed, scale in ((1, 0.3), (2, 0.5), (3, 0.5))
    )
    w, g, h, other = u.copy(), action.create(), action.create(), action.create()
    value = action.gradient(u, g)
    action.hessian(u, d, h)
    first, second = [], []
    for step in 2.0 ** -np.arange(6, 10):
        u.copy(w)
        w.axpy(step, d)
        change = action.value(w) - value - step * g.dot(d)
        first.append(abs(change))
        second.append(abs(change - step**2 / 2 * h.dot(d)))
    # Halving from 1/64 the slopes differ from 2 and 3 by a few hundredths; remainders are far above
    # rounding.
    assert _slope(first) == pytest.approx(2.0, abs=0.1)
    assert _slope(second) == pytest.approx(3.0, abs=0.2)
    for product in (action.hessian, action.gauss_newton):
        product(u, d, h)
        product(u, e, other)
        assert abs(h.dot(e) - other.dot(d)) < 1e-12 * h.norm() * e.norm()
    action.gauss_newton(u, d, h)
    assert h.dot(d) > 0.0


def test_local_network_is_that_of_plain_numpy() -> None:
    """Explicit Euler, two channels on a line: central differences, cross-entropy, H1 prior."""
    n, cells, K = 6, 4, 20
    action = network_action(local(line(n), ALL), cells=cells, grading=1.0)
    z, labels = samples(K, 3, 3, "cross_entropy")
    u, g = random_control(action, 1, 0.3), action.create()
    grad, laplace, _ = differences(n, n - 1.0)
    D, h = (np.eye(n), grad, laplace), 1.5 / cells
    lumped = np.ones(n)
    lumped[[0, -1]] = 0.5

    def plain(flat: Array) -> Any:
        size = (cells + 1) * n * 2 * 7
        theta = flat[:size].reshape(cells + 1, n, 2, 7)
        readout = flat[size:].reshape(3, 2 * n + 1)
        x = np.zeros((2, n, K), dtype=flat.dtype)
        x.reshape(2 * n, K)[:3] = z.T
        for w in theta[:-1]:
            pre = np.stack(
                [
                    w[:, c, 6:] + sum(w[:, c, j, None] * (D[j % 3] @ x[j // 3]) for j in range(6))
                    for c in (0, 1)
                ]
            )  # fmt: skip
            x = x + h * np.tanh(pre)
        masses = np.append(np.tile(lumped, 2), 1.0)
        y = readout @ (masses[:, None] * np.concatenate([x.reshape(2 * n, K), np.ones((1, K))]))
        loss = np.mean(np.log(np.exp(y).sum(axis=0)) - y[labels, np.arange(K)])
        a, b, mass = theta[:-1], theta[1:], lumped[:, None, None]
        energy = KAPPA**2 * h / 3 * np.sum(mass * (a**2 + a * b + b**2))
        energy = energy + np.sum(mass * (b - a) ** 2) / h + np.sum(masses * readout**2)
        return loss + LAMBDA / 2 * energy

    value = action.gradient(u, g)
    assert value == pytest.approx(plain(u.array), rel=1e-13)
    steps = u.array + 1e-30j * np.eye(u.getSize())
    gradient = [plain(step).imag * 1e30 for step in steps]
    np.testing.assert_allclose(g.array, gradient, atol=1e-13 * np.abs(gradient).max())


@cases
def test_networks_side_by_side_are_those_one_by_one(case: tuple) -> None:
    make, options = case
    options = {name: value for name, value in options.items() if name not in ("R_f", "R_0")}
    action = network_action(make(), **options)
    w = np.stack([random_control(action, seed, 0.1 + 0.1 * seed).array for seed in range(4)])
    parts, gradients = Replicas(action).gradient(w)
    for row, value, expected in zip(w, parts.action, gradients, strict=True):
        u, g = action.create(), action.create()
        u.array[...] = row
        assert action.gradient(u, g) == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(g.array, expected, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize(
    "make",
    [
        lambda index: local(index, ALL),
        lambda index: elliptic(index, ["1"], 2.0, uniform=True),
        lambda index: convolution(index, 0.25),
    ],
    ids=["local", "elliptic", "convolution"],
)
def test_networks_converge_with_order_two_as_the_index_is_refined(make: Any) -> None:
    """The same smooth coefficients and states: ``z`` of the prolonged network at the coarse nodes."""

    def index(n: int) -> NeuronSpace:
        return NeuronSpace.interval(n, "P1")

    def at_nodes(n: int) -> Array:
        coupling = make(index(n))
        s = index(n).coordinates[:, 0]
        theta = np.zeros(coupling.shape)
        if not coupling.uniform:
            theta[:, 0], theta[:, 1], theta[:, 2] = np.cos(s), np.sin(s), 0.1
        elif coupling.kernel is None:
            theta[0, 0] = 1.0
        else:
            r = np.linspace(-0.25, 0.25, coupling.shape[1] - 1)
            theta[0, :-1] = np.exp(r) * (0.25**2 - r**2) ** 2
        theta[..., -1] += 0.5
        full = np.ones((n + 1, 1))
        full[:-1, 0] = np.cos(np.pi * s) + np.cos(2 * np.pi * s)
        out = np.empty((n, 1))
        coupling.value(theta, full, out, coupling.buffers(1))
        return out[:: (n - 1) // 8, 0][
            1:-1
        ]  # inside: at the ends one-sided differences have order 1

    values = [at_nodes(n) for n in (17, 33, 65, 129)]
    errors = [np.abs(v - values[-1]).max() for v in values[:-1]]
    # With the finest one as the reference orders are log2((4^k - 1)/(4^(k-1) - 1)): 2.07 and 2.32.
    orders = [np.log2(a / b) for a, b in pairwise(errors)]
    np.testing.assert_allclose(orders, [np.log2(63 / 15), np.log2(15 / 3)], atol=0.15)


def test_prolonged_fields_and_kernels_are_the_same_functions() -> None:
    coarse = line(5)
    fine = NeuronSpace.interval(9, "P1", extent=4.0, channels=2)
    rows, columns = local(coarse, ALL).prolongation(local(fine, ALL))
    assert columns is None
    s = coarse.coordinates
    np.testing.assert_allclose(along(rows, 2.0 + s, 0), 2.0 + fine.coordinates, rtol=1e-14)
    rows, columns = convolution(coarse, 2.0).prolongation(convolution(fine, 2.0))
    assert rows is None
    kernel = np.abs(np.arange(-2.0, 3.0))
    theta = np.append(np.tile(kernel, 2), 7.0)
    expected = np.append(np.tile(np.abs(np.arange(-2.0, 2.5, 0.5)), 2), 7.0)
    np.testing.assert_allclose(along(columns, theta[None], 1)[0], expected, rtol=1e-13)
    rows, columns = local(coarse, ALL, uniform=True).prolongation(local(fine, ALL, uniform=True))
    assert rows is None and columns is None


def test_a_control_is_prolonged_along_the_index() -> None:
    couplings = [local(NeuronSpace.interval(n, "P1", extent=4.0), ALL) for n in (5, 9)]
    one, two = (network_action(c, R_f=4.0) for c in couplings)
    u = random_control(one, 1)
    rows, columns = couplings[0].prolongation(couplings[1])
    states = couplings[0].index.prolongation(couplings[1].index)
    depth = one.network.depth
    v = prolong(one.space, two.space, depth, depth, u, states=states, rows=rows, columns=columns)
    theta, fine = one.space.parameters(u.array_r).theta, two.space.parameters(v.array_r).theta
    np.testing.assert_allclose(fine[:, ::2], theta, rtol=1e-13)
    np.testing.assert_allclose(fine[:, 1::2], 0.5 * (theta[:, 1:] + theta[:, :-1]), atol=1e-13)
