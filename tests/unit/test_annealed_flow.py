"""Annealed flows: stationary laws without sampling, Metropolis against quadrature, and going on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from landscapes import Quadratic, Well
from mpi4py import MPI
from numpy.typing import NDArray
from path_measures import bridge, double_well, numbers
from problems import network_action
from scipy.linalg import eigh, solve_discrete_lyapunov
from test_paths import ENDS, oscillator
from test_sample_paths import Decay

from fem_deepest.action.form.action import FormAction
from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.observations import Observations
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.flow import AnnealedFlow, FlowState
from fem_deepest.annealed.minibatch import MinibatchLandscape
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.annealed.schedule import ByAcceptance, Constant, Geometric, Logarithmic
from fem_deepest.annealed.target import TargetLandscape
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.sample.diagnostics import standard_error

Array = NDArray[np.float64]
THETA = 0.7


def matrices(n: int = 6) -> tuple[Array, Array]:
    """``P`` and ``M`` of a path with clamped ends, lumped."""
    h = 1.0 / (n + 1)
    K = (2.0 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)) / h
    return K, h * np.eye(n)


def stationary(landscape: Quadratic, noise: str, root: Array, k: float, **more: Any) -> Array:
    """Covariance of the flow's law in the long run: its map is linear, so it can be asked for it."""
    n = landscape.rows

    def once(U: Array, draws: Array) -> Array:
        landscape.draws = draws
        flow = AnnealedFlow(
            landscape, Constant(THETA), step=k, U0=U, numbers=range(n), noise=noise, **more
        )
        flow.advance()
        return flow.U

    F = once(np.eye(n), np.zeros((n, n)))
    B = once(np.zeros((n, n)), root)
    assert np.abs(np.linalg.eigvals(F)).max() < 1.0
    return solve_discrete_lyapunov(F, B @ B.T)


@pytest.mark.parametrize("k", [0.01, 0.5, 2.0, 10.0])
@pytest.mark.parametrize("noise", ["prior", "white"])
def test_stationary_law_is_exact_at_every_step(noise: str, k: float) -> None:
    """``A'' = P``: ``N(0, theta C)`` with implicitness 1/2; others have the modes of the oracle."""
    P, M = matrices()
    N = P if noise == "prior" else M
    root = np.linalg.cholesky(np.linalg.inv(P) if noise == "prior" else M)
    landscape = Quadratic(P, P, M)
    C = stationary(landscape, noise, root, k)
    np.testing.assert_allclose(C, THETA * np.linalg.inv(P), rtol=1e-9)
    lam, V = eigh(P, N)
    variance = 2.0 * THETA / (lam * (2.0 + k * lam))
    C = stationary(landscape, noise, root, k, implicitness=1.0)
    np.testing.assert_allclose(C, V @ np.diag(variance) @ V.T, rtol=1e-8, atol=1e-12)


def test_weak_order_of_the_flow() -> None:
    """``A'' = P + Q``: the variance errs by ``k``, and the slope of the error is 1."""
    P, M = matrices()
    Q = np.diag(np.linspace(1.0, 30.0, len(P))) * M
    root = np.linalg.cholesky(np.linalg.inv(P))
    exact = np.trace(M @ np.linalg.inv(P + Q)) * THETA
    landscape = Quadratic(P + Q, P, M)
    errors = [
        abs(np.trace(M @ stationary(landscape, "prior", root, k)) - exact)
        for k in (0.05, 0.025, 0.0125)
    ]
    slopes = [np.log2(a / b) for a, b in pairwise(errors)]
    np.testing.assert_allclose(slopes, 1.0, atol=0.03)


def test_weak_order_of_a_double_well() -> None:
    """``E u^2`` of the chain of the flow, by quadrature of its kernel, errs by ``k``; the flow has it."""
    well, theta, x = Well(4.0), 0.4, np.linspace(-2.6, 2.6, 401)

    def moment(k: float) -> float:
        eta = k / (1.0 + 0.5 * k)
        mean = x - eta * well.gradient(x[None])[1][0] / well.p
        variance = 2.0 * theta * k / (1.0 + 0.5 * k) ** 2 / well.p
        K = np.exp(-((x[None] - mean[:, None]) ** 2) / (2.0 * variance))
        K /= K.sum(axis=1, keepdims=True)
        for _ in range(13):  # the kernel of 2^13 steps
            K = K @ K
        return float(K[x.size // 2] @ x**2)

    exact = well.mean(lambda u: u**2, theta)
    errors = [moment(k) - exact for k in (0.1, 0.05, 0.025)]
    slopes = [np.log2(a / b) for a, b in pairwise(errors)]
    np.testing.assert_allclose(slopes, 1.0, atol=0.05)
    many, k = 10000, 0.4
    flow = AnnealedFlow(
        well, Constant(theta), step=k, U0=np.zeros((1, many)), numbers=range(many), seed=5
    )
    for _ in range(300):
        flow.advance()
    square = flow.U[0] ** 2
    error = square.std() / np.sqrt(many)
    assert abs(square.mean() - moment(k)) < 4 * error < abs(moment(k) - exact)


@pytest.mark.parametrize("theta", [0.5, 1.0])
def test_metropolis_samples_a_double_well(theta: float) -> None:
    """``exp(-A/theta)`` whatever the step."""
    well, many = Well(6.0, 0.3), 4000
    start = np.where(np.arange(many) % 2, 1.0, -1.0)[None]
    flow = AnnealedFlow(
        well, Constant(theta), step=0.8, U0=start, numbers=range(many), accept="metropolis"
    )
    for _ in range(400):
        flow.advance()
    assert 0.5 < flow.acceptance.mean() < 0.999
    for function in (lambda u: u, lambda u: u**2, lambda u: (u > 0.0).astype(float)):
        seen = function(flow.U[0])
        error = seen.std() / np.sqrt(many)
        assert abs(seen.mean() - well.mean(function, theta)) < 4 * error


@pytest.mark.parametrize(("noise", "step"), [("prior", 0.25), ("white", 0.1)])
def test_metropolis_samples_a_bridge(noise: Any, step: float) -> None:
    """Double-well bridge at the temperature 1/2: depth and potential in other units give it at 1."""
    theta, T, cells, chains, draws = 0.5, 2.0, 8, 64, 400
    target = bridge(double_well, T, cells, rule=4)
    flow = AnnealedFlow(
        TargetLandscape(target),
        Constant(theta),
        step=step,
        U0=np.zeros((target.prior.size, chains)),
        numbers=range(chains),
        accept="metropolis",
        noise=noise,
    )
    kept = np.empty((3, chains, draws))
    for i in range(-100, draws):
        flow.advance()
        x = target.path(flow.U)
        kept[:, :, i] = x[cells // 4], x[cells // 2] ** 2, (x[:-1] ** 2).mean(axis=0)
    exact = numbers(lambda x: double_well(x) / theta**2, theta * T, cells, exact=True)
    for seen, value in zip(kept, exact, strict=True):
        assert abs(seen.mean() - value) < 4 * standard_error(seen)


@pytest.mark.parametrize(("noise", "step"), [("prior", 1.0), ("white", 0.02)])
def test_metropolis_samples_a_linear_system_under_data(noise: Any, step: float) -> None:
    """Mean and variances of the normal equations, times the temperature."""
    R_f, R_m, y, theta, many = 3.0, 2.0, np.array([1.0, -0.5, 0.3]), 0.5, 2000
    h, seen = np.diff(ENDS), [0, 2, 4]
    observations = Observations(ENDS[seen], y[:, None], [0], precision=R_m)
    paths = Paths(Defects(Decay(), transcription("euler"), ENDS), observations)
    D = (np.eye(4, 5, 1) - np.eye(4, 5)) / h[:, None] + np.eye(4, 5)
    H = np.eye(5)[seen]
    precision = R_f * D.T @ np.diag(h) @ D + R_m * H.T @ H
    mean = np.linalg.solve(precision, R_m * H.T @ y)
    covariance = theta * np.linalg.inv(precision)
    flow = AnnealedFlow(
        PathsLandscape(paths, R_f),
        Constant(theta),
        step=step,
        U0=np.zeros((5, many)),
        numbers=range(many),
        accept="metropolis",
        noise=noise,
    )
    for _ in range(500):
        flow.advance()
    assert 0.3 < flow.acceptance.mean() < 0.99
    spread = np.sqrt(np.diag(covariance))
    assert (np.abs(flow.U.mean(axis=1) - mean) < 4 * spread / np.sqrt(many)).all()
    error = np.cov(flow.U) - covariance
    assert (np.abs(error) < 5 * np.outer(spread, spread) * np.sqrt(2 / many)).all()


def test_metropolis_of_any_action_is_that_of_the_target() -> None:
    """Column by column through the protocol, and as a target: the ratios are the same numbers."""
    domain = mesh.create_interval(MPI.COMM_SELF, 4, (0.0, 1.0))
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    prior = 0.5 * (x**2 + x.dx(0) ** 2)
    action = FormAction(prior + ufl.cos(2.0 * x), x, metric=prior, points=2)
    landscape = ActionLandscape(action)
    U = landscape.draw(0, 0, range(40))
    flow = AnnealedFlow(
        landscape, Constant(THETA), step=0.4, U0=U, numbers=range(40), accept="metropolis"
    )
    b = flow._noise.draw(0, 0, flow.numbers, 0)
    flow.advance()
    # By hand: densities of the proposals, N((a u - k C Phi')/c, 2 theta k C/c^2).
    k, P = 0.4, landscape.apply(np.eye(landscape.rows))
    c, a = 1.0 + k / 2.0, 1.0 - k / 2.0
    grad = lambda u: landscape.gradient(u)[1] - P @ u  # noqa: E731
    drift = lambda u: (a * u - k * np.linalg.solve(P, grad(u))) / c  # noqa: E731
    new = drift(U) + np.sqrt(2.0 * THETA * k) * b / c

    def log_density(u: Array, v: Array) -> Array:
        e = v - drift(u)
        return -np.sum(e * (P @ e), axis=0) * c**2 / (4.0 * THETA * k)

    ratio = (landscape.value(U) - landscape.value(new)) / THETA
    ratio += log_density(new, U) - log_density(U, new)
    np.testing.assert_allclose(flow.acceptance, np.exp(np.minimum(ratio, 0.0)), rtol=1e-9)
    assert flow.acceptance.min() < 0.99


def test_contour_rule() -> None:
    """What falls is accepted; what rises, with ``exp(-(A' - A)/theta)``, here to 4 standard errors."""
    well, many, theta = Well(3.0), 20000, 0.3
    start = np.full((1, many), -0.9)
    flow = AnnealedFlow(
        well, Constant(theta), step=0.5, U0=start, numbers=range(many), accept="contour"
    )
    free = AnnealedFlow(well, Constant(theta), step=0.5, U0=start, numbers=range(many))
    flow.advance()
    free.advance()
    rise = free.values - well.value(start)
    expected = np.exp(-np.maximum(rise, 0.0) / theta)
    np.testing.assert_allclose(flow.acceptance, expected)
    moved = flow.U[0] != start[0]
    assert moved[rise <= 0.0].all() and not moved.all()
    error = np.sqrt(np.sum(expected * (1.0 - expected))) / many
    assert abs(moved.mean() - expected.mean()) < 4 * error
    np.testing.assert_array_equal(flow.U[0][moved], free.U[0][moved])


def landscapes(kind: str) -> tuple[Any, int]:
    if kind == "paths":
        return PathsLandscape(oscillator("midpoint", True), 2.0), 3
    if kind == "network":
        return ActionLandscape(network_action()), 2
    batches = Minibatches(network_action(count=30), 8, 3)
    return MinibatchLandscape(batches, [4, 7]), 2


@pytest.mark.parametrize(
    ("kind", "accept"),
    [("paths", "metropolis"), ("paths", "contour"), ("network", "always"), ("batches", "always")],
)
def test_going_on_bit_for_bit(kind: str, accept: Any) -> None:
    """A state of plain arrays is all that is needed; the best iterate is never above the start."""
    landscape, many = landscapes(kind)
    schedule = ByAcceptance(1.0, 1e-3, 0.7, accepted=2, most=4)
    options: Any = {
        "step": 0.2,
        "accept": accept,
        "numbers": [4, 7, 9][:many],
        "seed": 2,
        "look": 3,
    }
    start = 3.0 * landscape.draw(1, 0, range(many), 9)
    whole = AnnealedFlow(landscape, schedule, U0=start, **options)
    lowest, at_start = whole.best.values.copy(), landscape.value(start)
    np.testing.assert_array_equal(lowest, at_start)
    for step in range(12):
        if step == 7:
            state = FlowState(*(np.array(part) for part in whole.state))
            state = state._replace(iteration=int(state.iteration))
        whole.advance()
        if kind != "batches":
            lowest = np.minimum(lowest, whole.values)
    half = AnnealedFlow(landscape, schedule, U0=state, **options)
    for _ in range(5):
        half.advance()
    for a, b in zip(whole.state, half.state, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(landscape.value(whole.best.U), whole.best.values)
    assert (whole.best.values <= at_start).all()
    if kind != "batches":
        np.testing.assert_array_equal(whole.best.values, lowest)
        np.testing.assert_array_equal(whole.gradients, 13.0)
    else:
        np.testing.assert_allclose(whole.gradients, 13.0 * 8 / 30)


def test_columns_are_their_numbers() -> None:
    """A column is what it is without the others."""
    landscape = PathsLandscape(oscillator("midpoint", False), 2.0)
    start = landscape.draw(3, 0, [5, 8, 6])

    def run(columns: list[int]) -> Array:
        flow = AnnealedFlow(
            landscape,
            Geometric(1.0, 0.1, 10),
            step=0.3,
            U0=start[:, columns],
            numbers=np.array([5, 8, 6])[columns],
            accept="metropolis",
        )
        for _ in range(10):
            flow.advance()
        return flow.U

    np.testing.assert_allclose(run([1]), run([0, 1, 2])[:, [1]], rtol=1e-12)


def test_schedules() -> None:
    """Temperatures by hand."""
    memory = Constant(2.0).start(3)
    np.testing.assert_array_equal(Constant(2.0).temperature(5, memory), 2.0)
    np.testing.assert_array_equal(Constant([1.0, 2.0, 3.0]).temperature(5, memory), [1, 2, 3])
    geometric = Geometric(8.0, 1.0, 30)
    seen = [geometric.temperature(n, memory)[0] for n in (0, 10, 20, 30, 99)]
    np.testing.assert_allclose(seen, [8.0, 4.0, 2.0, 1.0, 1.0])
    logarithmic = Logarithmic(3.0, 10)
    seen = [logarithmic.temperature(n, memory)[0] for n in (0, 20, 140)]
    np.testing.assert_allclose(seen, [3.0, 1.5, 0.75])
    adaptive = ByAcceptance(1.0, 0.3, 0.5, accepted=2, most=3)
    memory, seen = adaptive.start(2), []
    for n in range(8):
        seen.append(adaptive.temperature(n, memory))
        memory = adaptive.remember(memory, np.array([1.0, 0.0]))
    expected = [[1, 1, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3], [1, 1, 1, 0.5, 0.5, 0.5, 0.3, 0.3]]
    np.testing.assert_allclose(np.transpose(seen), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(0.0),
        lambda: Constant(np.array([1.0, -1.0])),
        lambda: Geometric(1.0, 1.0, 5),
        lambda: Geometric(1.0, 2.0, 5),
        lambda: Geometric(1.0, 0.0, 5),
        lambda: Geometric(2.0, 1.0, 0),
        lambda: Logarithmic(0.0),
        lambda: Logarithmic(1.0, 0),
        lambda: ByAcceptance(1.0, 0.5, 1.0),
        lambda: ByAcceptance(1.0, 2.0, 0.5),
        lambda: ByAcceptance(1.0, 0.5, 0.5, accepted=0),
    ],
)
def test_schedules_that_cannot_be(make: Any) -> None:
    with pytest.raises(InputError, match=r"expected (a|at)"):
        make()


def test_white_noise_is_ill_posed_in_the_plane() -> None:
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    action = FormAction(x**2 + ufl.inner(ufl.grad(x), ufl.grad(x)), x, points=1)
    landscape = ActionLandscape(action)
    start = np.zeros((landscape.rows, 1))
    AnnealedFlow(landscape, Constant(1.0), step=0.1, U0=start)
    with pytest.raises(InputError, match=r"dimension 2.*ill-posed"):
        AnnealedFlow(landscape, Constant(1.0), step=0.1, U0=start, noise="white")
    network = ActionLandscape(network_action())
    with pytest.raises(InputError, match="without a mass"):
        AnnealedFlow(
            network, Constant(1.0), step=0.1, U0=np.zeros((network.rows, 1)), noise="white"
        )
    with pytest.raises(InputError, match="without a mass"):
        AnnealedFlow(Well(), Constant(1.0), step=0.1, U0=np.zeros((1, 1)), noise="white")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"step": 0.0}, "step of the flow"),
        ({"implicitness": 1.5}, "implicitness is 1.5"),
        ({"accept": "never"}, "rule of acceptance 'never'"),
        ({"noise": "pink"}, "noise 'pink'"),
        ({"look": 0}, "once in 0"),
        ({"U0": np.zeros((2, 1))}, "shape"),
        ({"numbers": [-1]}, "samples of a noise"),
        ({"schedule": Constant([1.0, 2.0])}, r"shape \(2,\) for 1 columns"),
        ({"schedule": Constant([])}, r"shape \(0,\)"),
    ],
)
def test_flows_that_cannot_be(options: Any, words: str) -> None:
    given = {"schedule": Constant(1.0), "step": 0.1, "U0": np.zeros((1, 1))} | options
    with pytest.raises(InputError, match=words):
        AnnealedFlow(Well(), **given).advance()


def test_what_is_no_number_is_refused() -> None:
    """Too long a step of a quartic: the column stays, the count goes on; a bad start is told."""
    well = Well(1e-3)
    flow = AnnealedFlow(well, Constant(1e-9), step=1.9, U0=np.full((1, 2), 2.0), numbers=[0, 1])
    with np.errstate(all="ignore"):
        for _ in range(20):
            flow.advance()
    assert np.isfinite(flow.values).all() and np.isfinite(flow.U).all()
    np.testing.assert_array_equal(flow.acceptance, 0.0)
    with pytest.raises(NumericalFailure, match="column 1"):
        AnnealedFlow(well, Constant(1.0), step=0.1, U0=np.array([[0.0, np.nan]]), numbers=[0, 1])


@pytest.mark.parametrize("accept", ["always", "metropolis", "contour"])
def test_minus_infinity_is_refused(accept: Any) -> None:
    """An action that overflows downwards is no lowest one: the column would never leave it."""

    class Hole(Well):
        def value(self, U: Array) -> Array:
            return np.where(U[0] > 0.5, -np.inf, 0.5 * U[0] ** 2)

        def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
            return self.value(U), U

    flow = AnnealedFlow(
        Hole(), Constant(5.0), step=1.0, U0=np.zeros((1, 20)), numbers=range(20), accept=accept
    )
    refused = np.zeros(20)
    for _ in range(5):
        flow.advance()
        refused += flow.acceptance == 0.0
    assert np.isfinite(flow.values).all() and np.isfinite(flow.best.values).all()
    assert refused.sum() > 10


def test_a_refused_column_pays_for_its_next_minibatch() -> None:
    """Where it stays it takes one more gradient, that of the next batch."""

    class Walls(Well):
        fraction = 0.25

        def value(self, U: Array) -> Array:
            return np.where(np.abs(U[0]) > 1.5, np.inf, super().value(U))

    flow = AnnealedFlow(Walls(2.0), Constant(1.0), step=0.2, U0=np.zeros((1, 9)), numbers=range(9))
    refused = np.zeros(9)
    for _ in range(40):
        flow.advance()
        refused += flow.acceptance == 0.0
    assert refused.min() != refused.max()
    np.testing.assert_array_equal(flow.gradients, 0.25 * (41.0 + refused))


def test_minibatches_are_not_compared() -> None:
    landscape, _ = landscapes("batches")
    with pytest.raises(InputError, match="one number for each column"):
        landscape.gradient(np.zeros((landscape.rows, 1)), 0)
    with pytest.raises(InputError, match="not comparable"):
        AnnealedFlow(
            landscape,
            Constant(1.0),
            step=0.1,
            U0=np.zeros((landscape.rows, 2)),
            numbers=[4, 7],
            accept="metropolis",
        )
