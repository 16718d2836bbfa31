"""The action of a network against a plain NumPy version of it, and the laws of its derivatives.

The NumPy version knows nothing of tiles, blocks, transposes or tridiagonal solves, and it takes
complex controls: the complex step differentiates it to rounding.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import (
    PRECISION,
    SHARPNESS,
    dense,
    index_matrices,
    network_action,
    random_control,
    samples,
)

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.errors import InputError
from fem_deepest.spaces import NeuronSpace

Array = NDArray[np.float64]

CE, LS = "cross_entropy", "least_squares"
FIELDS = (
    "scheme_name",
    "activation_name",
    "loss",
    "leak",
    "lift",
    "readout",
    "R_f",
    "R_0",
    "index",
)
INF = np.inf
# Every scheme with every activation; every value of any option with several values of the others.
CASES = [
    ("euler", "tanh", CE, 0.0, "pad", "linear", INF, INF, "points"),
    ("euler", "sigmoid", LS, 0.3, "linear", "observed", 5.0, 4.0, "interval"),
    ("euler", "softplus", CE, 0.3, "linear", "linear", 5.0, INF, "interval"),
    ("rk2", "tanh", LS, 0.0, "linear", "observed", INF, 4.0, "interval"),
    ("rk2", "sigmoid", CE, 0.3, "pad", "linear", 5.0, INF, "points"),
    ("rk2", "softplus", LS, 0.0, "pad", "linear", INF, INF, "points"),
    ("rk4", "tanh", CE, 0.3, "linear", "linear", INF, 4.0, "interval"),
    ("rk4", "sigmoid", LS, 0.0, "pad", "observed", INF, INF, "points"),
    ("rk4", "softplus", CE, 0.0, "pad", "observed", 5.0, 4.0, "points"),
    ("midpoint", "tanh", LS, 0.3, "pad", "observed", 5.0, INF, "points"),
    ("midpoint", "sigmoid", CE, 0.0, "linear", "linear", INF, 4.0, "points"),
    ("midpoint", "softplus", LS, 0.3, "linear", "linear", 5.0, INF, "interval"),
    ("midpoint", "tanh", CE, 0.0, "pad", "linear", 5.0, 4.0, "interval"),
    ("euler", "tanh", CE, 0.3, "linear", "linear", 5.0, 4.0, "lumped"),
    ("rk2", "sigmoid", LS, 0.0, "pad", "observed", 5.0, INF, "consistent"),
    ("rk4", "softplus", CE, 0.3, "linear", "linear", INF, INF, "consistent"),
    ("midpoint", "sigmoid", LS, 0.0, "pad", "linear", INF, 4.0, "lumped"),
    ("midpoint", "softplus", CE, 0.3, "linear", "linear", 5.0, 4.0, "consistent"),
]
ELL = 0.4  # where the index is P1


def _id(case: tuple) -> str:
    inputs = "clamped" if case[7] == INF else "soft"
    forced = "strong" if case[6] == INF else "weak"
    leak = "leak" if case[3] else "no_leak"
    return "-".join([*case[:3], leak, *case[4:6], forced, inputs, case[8]])


def _options(case: tuple) -> dict[str, Any]:
    options = dict(zip(FIELDS, case, strict=True))
    return options | {"ell": ELL if options["index"] in ("lumped", "consistent") else 0.0}


OPTIONS = [pytest.param(_options(case), id=_id(case)) for case in CASES] + [
    # The fixed point of the stage does not contract: direct solves in every sweep.
    pytest.param(
        {"scheme_name": "midpoint", "depth": 9.0, "leak": 0.2, "R_f": 5.0, "R_0": 4.0},
        id="midpoint-long-steps",
    )
]
all_options = pytest.mark.parametrize("options", OPTIONS)
explicit = pytest.mark.parametrize(
    "options", [p for p in OPTIONS if p.values[0]["scheme_name"] != "midpoint"]
)


# The plain version --------------------------------------------------------------------------------


def _entries(action: NetworkAction, u: Array) -> SimpleNamespace:
    """The entries of a serial control by their names: parameters, then the tiles one by one."""
    net, start = action.network, 0
    n, cells = net.index.neurons, net.depth.cells

    def take(*shape: int) -> Array:
        nonlocal start
        start += int(np.prod(shape))
        return u[start - int(np.prod(shape)) : start].reshape(shape)

    e = SimpleNamespace(
        theta=take(cells + 1, n, n + 1),
        readout=take(net.outputs if net.linear_readout else 0, n + 1),
        lift=take(n, net.inputs + 1 if net.linear_lift else 0),
    )
    soft, weak = np.isfinite(action.input_precision), np.isfinite(action.model_precision)
    xi0, xi = [np.zeros((n, 0))], [np.zeros((cells, n, 0))]
    for k in action.space.tiles:
        xi0.append(take(n, k) if soft else np.zeros((n, k)))
        xi.append(take(cells, n, k) if weak else np.zeros((cells, n, k)))
    assert start == u.size
    e.xi0, e.xi = np.concatenate(xi0, axis=1), np.concatenate(xi, axis=2)
    return e


def _output(action: NetworkAction, u: Array, z: Array, options: dict[str, Any]) -> Array:
    """Output of an explicit scheme, (outputs, K), of the inputs (K, d)."""
    e, net = _entries(action, u), action.network
    n, a = net.index.neurons, options.get("leak", 0.0)
    sigma = {
        "tanh": np.tanh,
        "sigmoid": lambda y: 1.0 / (1.0 + np.exp(-y)),
        "softplus": lambda y: np.log(1.0 + np.exp(SHARPNESS * y)) / SHARPNESS,
    }[options.get("activation_name", "tanh")]
    M, _ = index_matrices(options.get("index", "points"), n)
    x = np.zeros((n, len(z)), dtype=u.dtype)
    if net.linear_lift:
        x += e.lift[:, :-1] @ z.T + e.lift[:, -1:]
    else:
        x[: z.shape[1]] = z.T
    x += e.xi0
    for i, h in enumerate(np.diff(net.depth.nodes)):

        def f(c: float, y: Array, i: int = i) -> Array:
            w = (1 - c) * e.theta[i] + c * e.theta[i + 1]
            return -a * y + sigma(w[:, :n] @ M @ y + w[:, n:]) + e.xi[i]

        k1 = f(0.0, x)
        k2 = f(0.5, x + h / 2 * k1)
        k3 = f(0.5, x + h / 2 * k2)
        k4 = f(1.0, x + h * k3)
        step = {"euler": k1, "rk2": k2, "rk4": (k1 + 2 * k2 + 2 * k3 + k4) / 6}
        x = x + h * step[options.get("scheme_name", "euler")]
    if net.linear_readout:
        return e.readout[:, :-1] @ M @ x + e.readout[:, -1:]
    return x[: net.outputs]


def _parts(
    action: NetworkAction, u: Array, data: tuple[Array, NDArray], options: dict[str, Any]
) -> SimpleNamespace:
    """Misfit, model and prior term, for a real or complex control ``u``."""
    e, h, (z, target) = _entries(action, u), np.diff(action.network.depth.nodes), data
    n, samples = action.network.index.neurons, len(z)
    M, K = index_matrices(options.get("index", "points"), n)
    lumped = M.sum(axis=1)
    y = _output(action, u, z, options)
    if options.get("loss", CE) == CE:
        loss = np.sum(np.log(np.exp(y).sum(axis=0)) - y[target, np.arange(samples)])
        score = np.mean(y.real.argmax(axis=0) == target)
    else:
        loss = PRECISION / 2 * np.sum((y - target.T) ** 2)
        score = np.sqrt(np.mean((y.real - target.T) ** 2))
    initial = options["R_0"] / 2 * np.sum(lumped @ e.xi0**2) if e.xi0.any() else 0.0
    model = options["R_f"] / 2 * h @ np.sum(lumped @ e.xi**2, axis=1) if e.xi.any() else 0.0
    M_1, K_1 = (np.pad(m, (0, 1)) for m in (M, K))
    M_1[-1, -1], ell = 1.0, options.get("ell", 0.0)

    def mass(a: Array, b: Array) -> Array:
        return np.sum(a * (M @ b @ M_1), axis=(1, 2))

    def along(a: Array, b: Array) -> Array:
        return ell**2 * np.sum(a * (K @ b @ M_1 + M @ b @ K_1), axis=(1, 2))

    # int u^2 = h/3 (u_0^2 + u_0 u_1 + u_1^2) and int u'^2 = (u_1 - u_0)^2 / h of a P1 field.
    left, right = e.theta[:-1], e.theta[1:]
    prior = mass(right - left, right - left) @ (1 / h)
    for a, b in ((left, left), (left, right), (right, right)):
        prior += (0.7**2 * mass(a, b) + along(a, b)) @ (h / 3)
    prior += np.sum(e.readout * (e.readout @ (M_1 + ell**2 * K_1)))
    prior = 1e-2 / 2 * (prior + np.sum(e.lift * ((M + ell**2 * K) @ e.lift)))
    misfit = (loss + initial) / samples
    return SimpleNamespace(
        action=misfit + model / samples + prior,
        misfit=misfit,
        model=model / samples,
        prior=prior,
        score=score,
    )


def _check_against_numpy(options: dict[str, Any], count: int, **small: int) -> None:
    data = samples(count, small.get("inputs", 3), small.get("outputs", 3), options.get("loss", CE))
    action = network_action(data=data, **options, **small)
    u, d, g = random_control(action, 1), random_control(action, 2), action.create()
    expected = _parts(action, u.array, data, options)
    # Sums of up to thousands of terms of the order of the result.
    value = action.value(u)
    assert value == pytest.approx(expected.action, rel=1e-13)
    assert action.gradient(u, g) == pytest.approx(expected.action, rel=1e-13)
    for name in ("action", "misfit", "model", "prior", "score"):
        assert getattr(action.parts, name) == pytest.approx(getattr(expected, name), rel=1e-13)
    complex_step = _parts(action, u.array + 1e-30j * d.array, data, options).action.imag * 1e30
    scale = np.linalg.norm(g.array) * np.linalg.norm(d.array)
    assert abs(g.dot(d) - complex_step) < 1e-13 * scale


@explicit
def test_value_parts_and_gradient_are_those_of_plain_numpy(options: dict[str, Any]) -> None:
    _check_against_numpy(options, 20)


@pytest.mark.parametrize(
    "options",
    [{}, {"loss": LS, "R_f": 5.0, "R_0": 4.0}],
    ids=["cross_entropy-strong-clamped", "least_squares-weak-soft"],
)
# Fewer samples than blocks; around the edges of blocks (6, or 12 from 768 samples on) and of tiles
# (256 samples: 3084 make blocks of 257).
@pytest.mark.parametrize("count", [1, 5, 6, 7, 13, 767, 768, 769, 3084, 4000])
def test_any_number_of_samples(count: int, options: dict[str, Any]) -> None:
    _check_against_numpy(options, count, neurons=2, inputs=2, outputs=2, cells=2)


def test_p0_network_is_a_plain_residual_network() -> None:
    """Explicit Euler on P0 in the interval: layers ``x + h sigma(w/N x + b)``."""
    data = z, labels = samples(20, 3, 3, CE)
    action = network_action(data=data, index="interval", neurons=5, cells=8, grading=1.0)
    u = random_control(action, 3)
    net, p = action.network, action.space.parameters(u.array)

    y = np.zeros((20, 3))
    for k in range(20):
        x = np.array([*z[k], 0.0, 0.0])
        for layer in range(8):
            x = x + 1.5 / 8 * np.tanh(p.theta[layer, :, :5] / 5 @ x + p.theta[layer, :, 5])
        y[k] = p.readout[:, :5] / 5 @ x + p.readout[:, 5]
    likelihood = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(net.output(p, z.T), y.T, atol=1e-13)
    action.value(u)
    misfit = -np.mean(np.log(likelihood[np.arange(20), labels]))
    assert action.parts.misfit == pytest.approx(misfit, rel=1e-13)
    assert action.parts.score == np.mean(y.argmax(axis=1) == labels)
    states = net.states(p, z.T)
    assert states.shape == (9, 5, 20)
    np.testing.assert_array_equal(states[0], np.vstack([z.T, np.zeros((2, 20))]))
    np.testing.assert_allclose(
        p.readout[:, :5] / 5 @ states[-1] + p.readout[:, 5:], y.T, atol=1e-13
    )


def test_outputs_of_more_samples_than_a_tile_holds() -> None:
    action = network_action(cells=2)
    p = action.space.parameters(random_control(action).array)
    z = np.random.default_rng(15).standard_normal((3, 600))
    many = action.network.output(p, z)
    assert many.shape == (3, 600)
    for k in (0, 255, 256, 511, 512, 599):
        np.testing.assert_allclose(many[:, k : k + 1], action.network.output(p, z[:, k : k + 1]))
    assert action.network.output(p, z[:, :0]).shape == (3, 0)


# Laws of the derivatives --------------------------------------------------------------------------


def _slope(errors: list[float]) -> float:
    return float(np.log2(errors[-2] / errors[-1]))


@all_options
def test_taylor_remainders(options: dict[str, Any]) -> None:
    action = network_action(**options)
    u, d, w = random_control(action, 1), random_control(action, 2, 1.0), action.create()
    g, h, moved = action.create(), action.create(), action.create()
    value = action.gradient(u, g)
    action.hessian(u, d, h)
    first, second = g.dot(d), h.dot(d)
    remainders: list[list[float]] = [[], [], [], []]
    for e in 2.0 ** -np.arange(6, 10):
        u.copy(w)
        w.axpy(e, d)
        change = action.value(w) - value
        action.gradient(w, moved)
        moved.axpy(-1.0, g)
        remainders[0].append(abs(change - e * first))
        remainders[1].append(abs(change - e * first - e**2 / 2 * second))
        remainders[2].append(moved.norm())
        moved.axpy(-e, h)
        remainders[3].append(moved.norm())
    # Halving from e = 1/64 the slopes differ from 2, 3, 1, 2 by about e; the smallest remainders
    # are e^3 = 1e-8, far above rounding.
    assert _slope(remainders[0]) == pytest.approx(2.0, abs=0.1)
    assert _slope(remainders[1]) == pytest.approx(3.0, abs=0.15)
    assert _slope(remainders[2]) == pytest.approx(1.0, abs=0.1)
    assert _slope(remainders[3]) == pytest.approx(2.0, abs=0.1)


@all_options
def test_second_variations_are_symmetric(options: dict[str, Any]) -> None:
    action = network_action(**options)
    u, a, b = (random_control(action, seed) for seed in (1, 2, 3))
    image_a, image_b = action.create(), action.create()
    for product in (action.hessian, action.gauss_newton):
        product(u, a, image_a)
        product(u, b, image_b)
        scale = image_a.norm() * b.norm()
        assert abs(image_a.dot(b) - image_b.dot(a)) < 1e-12 * scale


@all_options
def test_gauss_newton_minus_the_prior_is_semidefinite(options: dict[str, Any]) -> None:
    action = network_action(**options, count=3, cells=2, neurons=3)
    u = random_control(action, 1)
    data = dense(lambda d, r: action.gauss_newton(u, d, r), action) - dense(
        action.metric.apply, action
    )
    values = np.linalg.eigvalsh(0.5 * (data + data.T))
    assert values[0] > -1e-12 * values[-1]
    assert values[-1] > 1e-2
    # J^T Phi'' J of three samples with three outputs has rank nine at most.
    assert np.count_nonzero(values > 1e-10 * values[-1]) <= 9


@explicit
def test_gauss_newton_is_that_of_the_outputs(options: dict[str, Any]) -> None:
    """``(1/K) J^T Phi'' J + P`` with the Jacobian of the plain NumPy output."""
    data = samples(4, 3, 3, options["loss"])
    action = network_action(data=data, **options, cells=2, neurons=3)
    u = random_control(action, 1)
    jacobian = np.stack(
        [
            _output(action, u.array + 1e-30j * unit, data[0], options).imag * 1e30
            for unit in np.eye(u.getSize())
        ],
        axis=2,
    )  # (outputs, K, size)
    expected = dense(action.metric.apply, action)
    y = _output(action, u.array, data[0], options)
    p = np.exp(y) / np.exp(y).sum(axis=0)
    for k in range(4):
        phi = np.diag(p[:, k]) - np.outer(p[:, k], p[:, k])
        if options["loss"] == LS:
            phi = PRECISION * np.eye(3)
        expected += jacobian[:, k].T @ phi @ jacobian[:, k] / 4
    got = dense(lambda d, r: action.gauss_newton(u, d, r), action)
    np.testing.assert_allclose(got, expected, atol=1e-12 * np.abs(expected).max())


@all_options
def test_gauss_newton_is_the_hessian_where_the_residual_vanishes(options: dict[str, Any]) -> None:
    """Every other term has the factor ``y - target``."""
    options = {**options, "loss": LS, "R_f": INF, "R_0": INF}
    z, targets = samples(20, 3, 3, LS)
    first = network_action(data=(z, targets), **options)
    u, d = random_control(first, 1), random_control(first, 2)
    outputs = first.network.output(first.space.parameters(u.array), z.T).T
    exact, gauss = first.create(), first.create()
    for target, equal in ((outputs, True), (targets, False)):
        action = network_action(data=(z, target), **options)
        action.hessian(u, d, exact)
        action.gauss_newton(u, d, gauss)
        difference = np.abs(exact.array - gauss.array).max() / np.abs(exact.array).max()
        assert difference < 1e-12 if equal else difference > 1e-3
        if equal:
            action.value(u)
            assert action.parts.misfit < 1e-25


# Layout of the control ----------------------------------------------------------------------------


@pytest.mark.parametrize("R_0", [4.0, INF], ids=["soft", "clamped"])
@pytest.mark.parametrize("R_f", [5.0, INF], ids=["weak", "strong"])
def test_views_of_a_control_are_a_partition(R_f: float, R_0: float) -> None:
    action = network_action(R_f=R_f, R_0=R_0, lift="linear", count=800, cells=2)
    u = action.create()
    assert sum(action.space.tiles) == 800
    parameters = action.space.parameters(u.array)
    views = [*vars(parameters).values()]
    for tile, width in enumerate(action.space.tiles):
        xi0, xi = action.space.forcing(u.array, tile)
        assert xi0.shape == ((4, width) if R_0 < INF else (0, width))
        assert xi.shape == ((2, 4, width) if R_f < INF else (0, 4, width))
        views += [xi0, xi]
    for view in views:
        view += 1.0
    np.testing.assert_array_equal(u.array, 1.0)


# Refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
@pytest.mark.parametrize(
    ("option", "name"), [("strength", "lambda"), ("kappa", "kappa"), ("R_f", "R_f"), ("R_0", "R_0")]
)
def test_precisions_must_be_positive(option: str, name: str, bad: float) -> None:
    with pytest.raises(InputError, match=f"{name} must be positive"):
        network_action(**{option: bad})


@pytest.mark.parametrize("bad", [-0.1, np.inf, np.nan])
def test_length_along_the_index_must_not_be_negative(bad: float) -> None:
    with pytest.raises(InputError, match="ell must be finite and not negative"):
        network_action(ell=bad)


def test_no_samples() -> None:
    with pytest.raises(InputError, match="at least one sample"):
        network_action(count=0)


def test_too_few_neurons() -> None:
    with pytest.raises(InputError, match="3 neurons cannot hold 4 inputs"):
        network_action(neurons=3, inputs=4)
    with pytest.raises(InputError, match="3 neurons cannot show 4 outputs"):
        network_action(neurons=3, inputs=2, outputs=4, readout="observed")
    with pytest.raises(InputError, match="at least one neuron"):
        NeuronSpace.interval(0)
    network_action(neurons=3, inputs=4, outputs=4, lift="linear")
