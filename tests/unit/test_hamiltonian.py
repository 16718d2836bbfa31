"""Hamiltonian picture: the pendulum hidden in ``x' = sin x``, conserved forms, back-propagation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import network
from scipy.integrate import solve_ivp
from weak_problems import Pendulum, Sine, twin

from fem_deepest.action.weak.ends import EndConditions, clamped, soft
from fem_deepest.action.weak.forms import make_form
from fem_deepest.action.weak.hamiltonian import PhaseFlow, hamiltonian, node_momenta, two_form
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import TRANSCRIPTIONS, transcription
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.weak.newton import solve

Array = NDArray[np.float64]

names = pytest.mark.parametrize("name", TRANSCRIPTIONS)


R_F = 2.0
START = np.array([[np.pi / 2 + 0.3], [0.2]])  # a libration and a rotation
SLOPE = np.array([[0.4], [1.5]])  # x'(0)
MOMENTUM = R_F * (SLOPE - np.sin(START))


def _flow(name: str, steps: int, depth: float = 8.0) -> tuple[Array, Array, Array]:
    flow = PhaseFlow(Sine(), transcription(name), R_F, np.linspace(0.0, depth, steps + 1))
    x, p, _ = flow.trajectories(START, MOMENTUM)
    return x, p, flow.energy(flow.mesh[:, None], x, p)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("midpoint", 2), ("gauss2", 4)])
def test_flow_is_the_pendulum_and_the_energy_drifts_at_the_order(name: str, order: int) -> None:
    def pendulum(_: float, y: Array) -> Array:
        return np.array([y[1], np.sin(y[0])])

    errors, drifts = [], []
    for steps in (100, 200):
        x, p, energy = _flow(name, steps)
        error = []
        for k in range(2):
            y = [2 * START[k, 0], 2 * SLOPE[k, 0]]
            exact = solve_ivp(pendulum, (0.0, 8.0), y, rtol=1e-12, atol=1e-13).y[:, -1]
            slope = np.sin(x[-1, k]) + p[-1, k] / R_F
            error.append(abs(2 * x[-1, k, 0] - exact[0]) + abs(2 * slope[0] - exact[1]))
        errors.append(error)
        # H = R_f/2 (x'^2 - sin^2 x), known from the start.
        known = R_F / 2 * (SLOPE**2 - np.sin(START) ** 2)[:, 0]
        np.testing.assert_allclose(energy[0], known, rtol=1e-14)
        drifts.append(np.abs(energy - known).max(axis=0))
    np.testing.assert_allclose(np.log2(np.divide(*errors)), order, atol=0.15)
    np.testing.assert_allclose(np.log2(np.divide(*drifts)), order, atol=0.15)


def test_the_drift_is_bounded_in_depth() -> None:
    """Symplectic: over eight times the depth the energy comes back, it does not run away."""
    drift = [np.abs(energy - energy[0]).max() for energy in (
        _flow("midpoint", 60, 12.0)[2][:, :1], _flow("midpoint", 480, 96.0)[2][:, :1])]  # fmt: skip
    assert drift[1] < 1.05 * drift[0]


@names
@pytest.mark.parametrize("R_f", [3.0, np.inf])
def test_two_form_is_constant(name: str, R_f: float) -> None:
    system = Lorenz96(5)
    random = np.random.default_rng(2)
    x, p = random.standard_normal((2, 3, 5))
    mesh = np.linspace(0.0, 0.5, 21)
    flow = PhaseFlow(system, transcription(name), R_f, mesh, np.array([8.17]))
    _, _, maps = flow.trajectories(x, p)
    expected = two_form(np.eye(10))
    rounding = 30 * np.finfo(float).eps * np.abs(maps).max(axis=(2, 3), keepdims=True) ** 2
    assert (np.abs(two_form(maps) - expected) <= rounding).all()
    assert np.abs(maps[-1] - np.eye(10)).max() > 0.5  # far from the identity


@names
def test_tangents_are_the_derivative_of_the_flow(name: str) -> None:
    flow = PhaseFlow(Pendulum(), transcription(name), 2.0, np.linspace(0, 1, 6), np.array([1.3]))
    random = np.random.default_rng(3)
    x, p, dx, dp = random.standard_normal((4, 2, 2))
    _, _, maps = flow.trajectories(x, p)
    e = 1e-5
    plus, minus = (flow.trajectories(x + s * dx, p + s * dp) for s in (e, -e))
    step = np.concatenate([(plus[i][-1] - minus[i][-1]) / (2 * e) for i in (0, 1)], axis=1)
    direction = np.concatenate([dx, dp], axis=1)
    np.testing.assert_allclose((maps[-1] @ direction[..., None])[..., 0], step, atol=1e-7)


@names
@pytest.mark.parametrize("R_f", [50.0, np.inf])
def test_a_solution_is_carried_by_the_phase_flow(name: str, R_f: float) -> None:
    """From observation to observation the saddle form's solution follows the map, kicks included."""
    problem, x, w = twin(name, cells=8, depth=0.4, R_f=R_f)
    action = make_form("saddle", problem)
    u = action.pack(x, w)
    assert solve(action, u, tolerance=1e-11).converged
    x, w, p = action.unpack(u)
    momenta = node_momenta(problem, x, w, p)
    flow = PhaseFlow(problem.dynamics, problem.transcription, R_f, problem.mesh, w)
    span = (len(x) - 1) // problem.cells
    kick = np.zeros((problem.cells + 1, 5))
    kick[:, :3] = (x[::span, :3] - problem.observations.values) / 0.3**2
    np.testing.assert_allclose(momenta[0], kick[0], atol=1e-9 * np.abs(kick).max())
    np.testing.assert_allclose(momenta[-1], -kick[-1], atol=1e-9 * np.abs(kick).max())
    for i in range(problem.cells):
        new_x, new_p, _ = flow.step(i, x[span * i][None], momenta[i][None])
        np.testing.assert_allclose(new_x[0], x[span * (i + 1)], atol=1e-9)
        if i + 1 < problem.cells:
            new_p = new_p + kick[i + 1]
        np.testing.assert_allclose(new_p[0], momenta[i + 1], atol=1e-8 * np.abs(momenta).max())


def test_energy_is_constant_between_observations() -> None:
    """Two observations far apart: ``H`` jumps there and is constant in between, to the order."""
    drifts = []
    for cells in (20, 40):
        problem = WeakProblem(
            Sine(), transcription("gauss2"), np.linspace(0.0, 4.0, cells + 1), None, R_F,
            EndConditions(clamped([0.3]), clamped([4.0])),
        )  # fmt: skip
        action = make_form("saddle", problem)
        nodes = problem.defects().nodes
        u = action.pack(0.3 + 3.7 * nodes[:, None] / 4.0, np.zeros(0))
        assert solve(action, u).converged
        x, w, p = action.unpack(u)
        momenta = node_momenta(problem, x, w, p)
        energy = hamiltonian(problem.dynamics, R_F, problem.mesh, x[::2], momenta, w)
        drifts.append(np.ptp(energy))
    assert np.log2(drifts[0] / drifts[1]) == pytest.approx(4.0, abs=0.2)


class NetworkDynamics:
    """``x' = -a x + tanh(W(t) x + b(t))`` with given weights, P1 in depth; ``theta = [W | b]``."""

    name, parameters = "network", ()

    def __init__(self, nodes: Array, theta: Array, leak: float) -> None:
        self.nodes, self.theta, self.leak, self.states = nodes, theta, leak, theta.shape[1]

    def _at(self, t: Array) -> tuple[Array, Array]:
        cell = np.clip(np.searchsorted(self.nodes, t, side="right") - 1, 0, len(self.nodes) - 2)
        c = (t - self.nodes[cell]) / (self.nodes[cell + 1] - self.nodes[cell])
        theta = (1 - c)[..., None, None] * self.theta[cell] + c[..., None, None] * self.theta[
            cell + 1
        ]
        return theta[..., :-1], theta[..., -1]

    def value(self, t: Array, x: Array, w: Array) -> Array:
        weights, bias = self._at(t)
        return np.tanh((weights @ x[..., None])[..., 0] + bias) - self.leak * x

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        weights, bias = self._at(t)
        slope = 1 - np.tanh((weights @ x[..., None])[..., 0] + bias) ** 2
        return slope[..., None] * weights - self.leak * np.eye(self.states), np.zeros((*x.shape, 0))

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        weights, bias = self._at(t)
        y = np.tanh((weights @ x[..., None])[..., 0] + bias)
        bend = -2 * y * (1 - y**2) * p
        lead = x.shape[:-1]
        f_xx = np.swapaxes(weights, -1, -2) @ (bend[..., None] * weights)
        return f_xx, np.zeros((*lead, self.states, 0)), np.zeros((*lead, 0, 0))


@pytest.mark.parametrize("name", ["euler", "midpoint"])
def test_strong_constraint_is_back_propagation(name: str) -> None:
    """At ``1/R_f = 0`` the momenta are minus the adjoint of the network's flow, sample by sample."""
    net = network(scheme_name=name, leak=0.2, neurons=4, cells=6)
    random = np.random.default_rng(8)
    samples = 3
    theta = random.standard_normal(net.shapes.theta)
    start, target = random.standard_normal((2, 4, samples))
    stages, flow = net.stage_parameters(theta), net.flow(samples)
    x, nodes, adjoint = start.copy(), np.empty((7, 4, samples)), np.empty((7, 4, samples))
    flow.forward(stages, x, nodes=nodes)
    q = 1.7 * (x - target)
    flow.adjoint(stages, q, nodes=adjoint)
    dynamics = NetworkDynamics(net.depth.nodes, theta, 0.2)
    for k in range(samples):
        conditions = EndConditions(clamped(start[:, k]), soft(target[:, k], 1.7))
        problem = WeakProblem(
            dynamics, transcription(name), net.depth.nodes, None, np.inf, conditions
        )
        for form in ("saddle", "forcing"):
            action = make_form(form, problem)
            u = action.pack(np.tile(start[:, k], (7, 1)), np.zeros(0))
            assert solve(action, u, tolerance=1e-12).converged
            path, w, p = action.unpack(u)
            np.testing.assert_allclose(path, nodes[:, :, k], atol=1e-12)
            momenta = node_momenta(problem, path, w, p)
            np.testing.assert_allclose(momenta, -adjoint[:, :, k], atol=1e-12)


def test_a_step_that_is_too_long_fails() -> None:
    flow = PhaseFlow(Pendulum(), transcription("midpoint"), 1.0, np.array([0.0, 60.0]), np.ones(1))
    with pytest.raises(NumericalFailure, match="shorter cells"):
        flow.trajectories(np.full((1, 2), 1.0), np.full((1, 2), 300.0))
