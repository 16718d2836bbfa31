"""Sweeps through the depth against plain NumPy steps, differences, and the laws of a transpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import ACTIVATIONS, SCHEMES, SHARPNESS

from fem_deepest.errors import NumericalFailure
from fem_deepest.network.activation import activation
from fem_deepest.network.flow import Flow
from fem_deepest.network.scheme import scheme
from fem_deepest.spaces import DepthMesh

Array = NDArray[np.float64]

N, K, CELLS = 4, 5, 6
SIGMA = {
    "tanh": np.tanh,
    "sigmoid": lambda z: 1.0 / (1.0 + np.exp(-z)),
    "softplus": lambda z: np.log(1.0 + np.exp(SHARPNESS * z)) / SHARPNESS,
}
SLOPE = {
    "tanh": lambda z: 1.0 / np.cosh(z) ** 2,
    "sigmoid": lambda z: 0.25 / np.cosh(z / 2) ** 2,
    "softplus": lambda z: 1.0 / (1.0 + np.exp(-SHARPNESS * z)),
}


@dataclass
class Point:
    """A point or a direction: weight field at the nodes, input, forcing, costate at the end."""

    w: Array
    x: Array
    xi: Array
    q: Array

    def moved(self, e: float, other: Point) -> Point:
        return Point(
            *(a + e * b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )


class Problem:
    """A flow on a graded mesh with a random point and a random direction."""

    def __init__(
        self,
        scheme_name: str,
        activation_name: str = "tanh",
        leak: float = 0.0,
        depth: float = 1.5,
        size: float = 1.0,
    ) -> None:
        self.scheme, self.leak, self.name = scheme(scheme_name), leak, activation_name
        self.mesh = DepthMesh.graded(depth, CELLS, 1.3)
        self.flow = Flow(
            self.mesh.steps, N, K, self.scheme, activation(activation_name, SHARPNESS), leak
        )
        random = np.random.default_rng(9)

        def draw(scale: float) -> Point:
            return Point(
                scale * random.standard_normal((CELLS + 1, N, N + 1)),
                random.standard_normal((N, K)),
                random.standard_normal((CELLS, N, K)),
                random.standard_normal((N, K)),
            )

        self.point, self.direction, self.other = draw(size), draw(1.0), draw(1.0)

    def theta(self, w: Array) -> Array:
        return self.mesh.at_stages(self.scheme.abscissae, w)

    def forward(self, p: Point, forced: bool = True) -> Array:
        """States at the nodes."""
        nodes, x = np.empty((CELLS + 1, N, K)), p.x.copy()
        self.flow.forward(self.theta(p.w), x, p.xi if forced else None, nodes)
        np.testing.assert_array_equal(nodes[-1], x)
        return nodes

    def adjoint(self, p: Point, keep: bool = False) -> tuple[Array, Array, Array, Array]:
        """Derivatives in weight field, input and forcing, and the costates at the nodes."""
        q, nodes = p.q.copy(), np.empty((CELLS + 1, N, K))
        stages, xi = np.zeros_like(self.theta(p.w)), np.empty_like(p.xi)
        self.flow.adjoint(self.theta(p.w), q, stages, xi, keep, nodes)
        w = np.zeros_like(p.w)
        self.mesh.at_stages_transposed(self.scheme.abscissae, stages, w)
        return w, q, xi, nodes

    def tangent(self, p: Point, d: Point) -> Array:
        """Tangents at the nodes."""
        dx, nodes = d.x.copy(), np.empty((CELLS + 1, N, K))
        self.flow.tangent(self.theta(p.w), self.theta(d.w), dx, d.xi, nodes)
        np.testing.assert_array_equal(nodes[-1], dx)
        return nodes

    def second_adjoint(
        self, p: Point, d: Point, exact: bool = True
    ) -> tuple[Array, Array, Array, Array]:
        """Like :meth:`adjoint`; tangent and, if exact, adjoint must have run before."""
        dq, nodes = d.q.copy(), np.empty((CELLS + 1, N, K))
        stages, xi = np.zeros_like(self.theta(p.w)), np.empty_like(p.xi)
        self.flow.second_adjoint(self.theta(p.w), self.theta(d.w), dq, stages, xi, exact, nodes)
        w = np.zeros_like(p.w)
        self.mesh.at_stages_transposed(self.scheme.abscissae, stages, w)
        return w, dq, xi, nodes

    def rate(self, p: Point, t: float, x: Array) -> Array:
        """``F(x, w; t)``, without the forcing."""
        w = self.weights(p, t)
        return -self.leak * x + SIGMA[self.name](w[:, :N] @ x + w[:, N:])

    def jacobian(self, p: Point, t: float, x: Array) -> Array:
        """``F_x`` of every sample, (K, N, N)."""
        w = self.weights(p, t)
        slope = SLOPE[self.name](w[:, :N] @ x + w[:, N:])
        return slope.T[:, :, None] * w[:, :N] - self.leak * np.eye(N)

    def weights(self, p: Point, t: float) -> Array:
        i = min(int(np.searchsorted(self.mesh.nodes, t, side="right")) - 1, CELLS - 1)
        c = (t - self.mesh.nodes[i]) / self.mesh.steps[i]
        return (1 - c) * p.w[i] + c * p.w[i + 1]


schemes = pytest.mark.parametrize("scheme_name", SCHEMES)
leaks = pytest.mark.parametrize("leak", [0.0, 0.3], ids=["no-leak", "leak"])
# Steps of length up to 2: the fixed point of the midpoint rule does not contract.
LONG = {"depth": 9.0, "size": 3.0}
lengths = pytest.mark.parametrize("options", [{}, LONG], ids=["short-steps", "long-steps"])


@leaks
@pytest.mark.parametrize("activation_name", ACTIVATIONS)
@pytest.mark.parametrize("scheme_name", ["euler", "rk2", "rk4"])
def test_explicit_steps(scheme_name: str, activation_name: str, leak: float) -> None:
    problem = Problem(scheme_name, activation_name, leak)
    p, x = problem.point, problem.point.x
    nodes = problem.forward(p)
    for i, h in enumerate(problem.mesh.steps):

        def f(c: float, y: Array, i: int = i, h: float = h) -> Array:
            w = (1 - c) * p.w[i] + c * p.w[i + 1]
            return -leak * y + SIGMA[activation_name](w[:, :N] @ y + w[:, N:]) + p.xi[i]

        k1 = f(0.0, x)
        k2 = f(0.5, x + h / 2 * k1)
        k3 = f(0.5, x + h / 2 * k2)
        k4 = f(1.0, x + h * k3)
        step = {"euler": k1, "rk2": k2, "rk4": (k1 + 2 * k2 + 2 * k3 + k4) / 6}
        x = x + h * step[scheme_name]
        np.testing.assert_allclose(nodes[i + 1], x, atol=1e-13)


@leaks
@pytest.mark.parametrize(
    ("activation_name", "options"),
    [
        pytest.param("tanh", {}, id="tanh-short-steps"),
        pytest.param("softplus", {}, id="softplus-short-steps"),
        pytest.param("tanh", LONG, id="tanh-long-steps"),
        pytest.param("sigmoid", {"depth": 12.0, "size": 6.0}, id="sigmoid-long-steps"),
    ],
)
def test_midpoint_steps_to_rounding(activation_name: str, leak: float, options: dict) -> None:
    problem = Problem("midpoint", activation_name, leak, **options)
    p = problem.point
    x = problem.forward(p)
    contraction = []
    for i, (t, h) in enumerate(zip(problem.mesh.nodes, problem.mesh.steps, strict=False)):
        middle = (x[i] + x[i + 1]) / 2
        rate = problem.rate(p, t + h / 2, middle) + p.xi[i]
        residual = x[i + 1] - x[i] - h * rate
        # The stage is solved to 4 eps of its size; its Jacobian I - h/2 F_x and h magnify that.
        jacobian = problem.jacobian(p, t + h / 2, middle)
        scale = (1 + h * np.abs(jacobian).sum(axis=2).max()) * max(1.0, np.abs(x).max())
        assert np.abs(residual).max() < 1e-14 * scale
        contraction.append(np.abs(np.linalg.eigvals(h / 2 * jacobian)).max())
    if options:
        assert max(contraction) > 1.0  # so the fixed-point iteration cannot have done it


def test_a_stage_without_a_solution_is_a_numerical_failure() -> None:
    """``X = 1 + 2 softplus(X) > X`` for every ``X``."""
    flow = Flow(np.array([4.0]), 1, 1, scheme("midpoint"), activation("softplus", SHARPNESS), 0.0)
    with pytest.raises(NumericalFailure, match="too long for these weights: take more cells"):
        flow.forward(np.array([[[[1.0, 0.0]]]]), np.array([[1.0]]))


def test_a_singular_stage_is_a_numerical_failure() -> None:
    """``X = 2 softplus(X)`` has no solution either, and ``1 - 2 sigma'`` vanishes at the start."""
    flow = Flow(np.array([4.0]), 1, 1, scheme("midpoint"), activation("softplus", SHARPNESS), 0.0)
    with pytest.raises(NumericalFailure):
        flow.forward(np.array([[[[1.0, 0.0]]]]), np.array([[0.0]]))


def test_weights_that_are_not_numbers_are_a_numerical_failure() -> None:
    problem = Problem("midpoint")
    problem.point.w[2, 0, 0] = np.nan
    with np.errstate(invalid="ignore"), pytest.raises(NumericalFailure):
        problem.forward(problem.point)


@schemes
def test_no_forcing_is_a_forcing_of_zero(scheme_name: str) -> None:
    problem = Problem(scheme_name)
    free = problem.forward(problem.point, forced=False)
    problem.point.xi[...] = 0.0
    np.testing.assert_array_equal(problem.forward(problem.point), free)


@leaks
@lengths
@schemes
def test_tangent_is_the_difference_of_flows(scheme_name: str, leak: float, options: dict) -> None:
    problem = Problem(scheme_name, leak=leak, **options)
    p, d = problem.point, problem.direction
    problem.forward(p)
    got = problem.tangent(p, d)
    # Central difference: e^2 times a third derivative, and eps/e from rounding. Long steps stretch
    # differences by some hundreds, so that their third derivatives are large.
    e, tolerance = (1e-6, 1e-6) if options else (1e-5, 1e-8)
    difference = (problem.forward(p.moved(e, d)) - problem.forward(p.moved(-e, d))) / (2 * e)
    assert np.abs(got - difference).max() < tolerance * np.abs(got).max()


@leaks
@pytest.mark.parametrize(
    ("scheme_name", "activation_name", "options"),
    [
        pytest.param(s, a, options, id=f"{s}-{a}-{length}-steps")
        for s in SCHEMES
        for a in ACTIVATIONS
        for length, options in (("short", {}), ("long", LONG))
        # An unbounded activation: such long implicit steps have no solution.
        if (s, a, length) != ("midpoint", "softplus", "long")
    ],
)
def test_adjoint_is_the_transpose_of_the_tangent(
    scheme_name: str, activation_name: str, leak: float, options: dict
) -> None:
    problem = Problem(scheme_name, activation_name, leak, **options)
    p, d = problem.point, problem.direction
    problem.forward(p)
    end = problem.tangent(p, d)[-1]
    w, q, xi, _ = problem.adjoint(p)
    terms = np.array([np.vdot(w, d.w), np.vdot(q, d.x), np.vdot(xi, d.xi)])
    assert np.all(np.abs(terms) > 0.0)  # every direction takes part
    # Relative to the terms before they cancel: rounding errors are as large as those.
    scale = max(
        np.linalg.norm(end) * np.linalg.norm(p.q),
        np.linalg.norm(w) * np.linalg.norm(d.w)
        + np.linalg.norm(q) * np.linalg.norm(d.x)
        + np.linalg.norm(xi) * np.linalg.norm(d.xi),
    )
    assert abs(np.vdot(end, p.q) - terms.sum()) < 1e-13 * scale


@schemes
def test_gradients_are_added_and_forcings_overwritten(scheme_name: str) -> None:
    problem = Problem(scheme_name)
    p = problem.point
    problem.forward(p)
    once, twice = np.zeros((2, *problem.theta(p.w).shape))
    xi, again = np.empty((2, *p.xi.shape))
    problem.flow.adjoint(problem.theta(p.w), p.q.copy(), once, xi)
    for _ in range(2):
        problem.flow.adjoint(problem.theta(p.w), p.q.copy(), twice, again)
    np.testing.assert_allclose(twice, 2.0 * once, rtol=1e-14, atol=1e-14 * np.abs(once).max())
    np.testing.assert_array_equal(xi, again)


@leaks
@pytest.mark.parametrize("activation_name", ACTIVATIONS)
@schemes
def test_second_adjoint_is_the_difference_of_adjoints(
    scheme_name: str, activation_name: str, leak: float
) -> None:
    problem = Problem(scheme_name, activation_name, leak)
    p, d = problem.point, problem.direction
    problem.forward(p)
    problem.adjoint(p, keep=True)
    problem.tangent(p, d)
    got = problem.second_adjoint(p, d)
    e, sides = 1e-5, []
    for sign in (1, -1):
        moved = p.moved(sign * e, d)
        problem.forward(moved)
        sides.append(problem.adjoint(moved))
    for g, plus, minus in zip(got, *sides, strict=True):
        # e^2 times a third derivative with beta^3 in it, and eps/e: some 1e-9 each.
        assert np.abs(g - (plus - minus) / (2 * e)).max() < 3e-8 * np.abs(g).max()


@schemes
def test_second_adjoint_without_the_costate_is_an_adjoint(scheme_name: str) -> None:
    """The Gauss-Newton product is J^T of dq: an adjoint sweep that starts from dq."""
    problem = Problem(scheme_name, leak=0.3)
    p, d = problem.point, problem.direction
    problem.forward(p)
    problem.tangent(p, d)
    got = problem.second_adjoint(p, d, exact=False)
    expected = problem.adjoint(Point(p.w, p.x, p.xi, d.q))
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, atol=1e-13 * np.abs(e).max())


@lengths
@schemes
def test_dx_dot_q_is_constant_in_depth(scheme_name: str, options: dict) -> None:
    """``dx.q`` of a tangent without source and an adjoint is the same at every node."""
    problem = Problem(scheme_name, leak=0.3, **options)
    p, d = problem.point, problem.direction
    problem.forward(p)
    free = Point(np.zeros_like(d.w), d.x, np.zeros_like(d.xi), d.q)
    dx, q = problem.tangent(p, free), problem.adjoint(p)[3]
    product = np.einsum("iak,iak->i", dx, q)
    scale = (np.linalg.norm(dx, axis=(1, 2)) * np.linalg.norm(q, axis=(1, 2))).max()
    assert np.ptp(product) < 1e-13 * scale


@lengths
@schemes
def test_two_form_is_conserved(scheme_name: str, options: dict) -> None:
    """``dx1.dq2 - dx2.dq1`` of two linearised solutions is the same at all nodes, in every scheme.

    ``(x_i, q_i) -> (x_{i+1}, q_{i+1})`` with ``q_i = (dx_{i+1}/dx_i)^T q_{i+1}`` is a cotangent
    lift, thus symplectic; what is particular to the midpoint rule is tested below.
    """
    problem = Problem(scheme_name, leak=0.3, **options)
    p = problem.point
    problem.forward(p)
    problem.adjoint(p, keep=True)
    pairs = []
    for d in (problem.direction, problem.other):
        free = Point(np.zeros_like(d.w), d.x, np.zeros_like(d.xi), d.q)
        dx = problem.tangent(p, free)
        pairs.append((dx, problem.second_adjoint(p, free)[3]))
    (x1, q1), (x2, q2) = pairs
    form = np.einsum("iak,iak->i", x1, q2) - np.einsum("iak,iak->i", x2, q1)
    norm = np.linalg.norm
    scale = max(norm(x1[i]) * norm(q2[i]) + norm(x2[i]) * norm(q1[i]) for i in range(CELLS + 1))
    assert abs(form[0]) > 1e-5 * scale
    assert np.ptp(form) < 1e-12 * scale


def _costate_residual(problem: Problem, weight: float) -> float:
    """Of ``q_i = q_{i+1} + h F_x^T ((1 - c) q_{i+1} + c q_i)`` at ``t_i + c h``, ``c = weight``."""
    p = problem.point
    x, q = problem.forward(p), problem.adjoint(p)[3]
    worst = 0.0
    for i, (t, h) in enumerate(zip(problem.mesh.nodes, problem.mesh.steps, strict=False)):
        state = (1 - weight) * x[i] + weight * x[i + 1]
        jacobian = problem.jacobian(p, t + weight * h, state)
        costate = (1 - weight) * q[i + 1] + weight * q[i]
        turn = h * np.einsum("kab,ak->bk", jacobian, costate)
        worst = max(worst, np.abs(q[i] - q[i + 1] - turn).max() / np.abs(q).max())
    return worst


@leaks
def test_midpoint_costate_obeys_the_midpoint_rule(leak: float) -> None:
    """State and costate by the same rule: that is what makes the midpoint rule symplectic."""
    assert _costate_residual(Problem("midpoint", leak=leak), 0.5) < 1e-13
    assert _costate_residual(Problem("euler", leak=leak), 0.5) > 1e-3


@leaks
def test_euler_costate_is_the_other_half_of_symplectic_euler(leak: float) -> None:
    """The state is taken at the left node and the costate at the right one."""
    assert _costate_residual(Problem("euler", leak=leak), 0.0) < 1e-13


@pytest.mark.parametrize(("scheme_name", "order"), [("euler", 1), ("midpoint", 2)])
def test_drift_of_the_hamiltonian(scheme_name: str, order: int) -> None:
    """``H = q.F(x)`` is constant along an autonomous problem; its drift falls like ``h^order``."""
    random = np.random.default_rng(10)
    w, x0, q1 = random.standard_normal((N, N + 1)), *random.standard_normal((2, N, 1))
    drifts = []
    for cells in (20, 40, 80):
        flow = Flow(np.full(cells, 2.0 / cells), N, 1, scheme(scheme_name), activation("tanh"), 0.0)
        theta = np.broadcast_to(w, (cells, 1, N, N + 1)).copy()
        x, q = np.empty((2, cells + 1, N, 1))
        flow.forward(theta, x0.copy(), nodes=x)
        flow.adjoint(theta, q1.copy(), nodes=q)
        energy = np.sum(q * np.tanh(w[:, :N] @ x + w[:, N:]), axis=(1, 2))
        drifts.append(np.abs(energy - energy[-1]).max() / abs(energy[-1]))
    slopes = np.log2(np.divide(drifts[:-1], drifts[1:]))
    np.testing.assert_allclose(slopes[-1], order, atol=0.15)
    assert drifts[-1] < {1: 0.1, 2: 1e-3}[order]
