"""The linear weak-constraint problem: its closed form against others' solvers, and the orders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_bvp
from scipy.optimize import minimize

from fem_deepest.dynamics.transcription import EULER, GAUSS2, MIDPOINT
from fem_deepest.studies.finite_element import finite_element
from fem_deepest.studies.linear import LinearProblem

NUMBERS = {"rate": 1.3, "R_f": 0.7, "R_m": 5.0, "depth": 1.7, "frequency": 2.4}
ENDS = {
    "natural": (None, None),
    "input": (0.8, None),
    "output": (None, -0.4),
    "clamped": (0.8, 0.1),
}
ends = pytest.mark.parametrize("name", ENDS)


def problem(name: str, **changes: float) -> LinearProblem:
    left, right = ENDS[name]
    return LinearProblem(**(NUMBERS | {"left": left, "right": right} | changes))


def size(p: LinearProblem, order: int) -> float:
    """Largest derivative of that order of the solution, of a Chebyshev series through it."""
    t = np.linspace(0.0, p.depth, 200)
    series = np.polynomial.Chebyshev.fit(t, p.exact(t), 25)
    return float(np.abs(series.deriv(order)(t)).max())


@ends
@pytest.mark.parametrize("rate", [1.3, -1.3, 0.0])
def test_closed_form_is_that_of_a_collocation_solver(name, rate) -> None:
    """SciPy's solver on ``R_f (x'' - lambda^2 x) = R_m (x - y)`` and ``x' + lambda x = 0``."""
    p = problem(name, rate=rate)

    def slope(t, u):
        y = np.cos(p.frequency * t)
        return np.stack([u[1], rate**2 * u[0] + p.R_m / p.R_f * (u[0] - y)])

    def conditions(a, b):
        left = a[1] + rate * a[0] if p.left is None else a[0] - p.left
        right = b[1] + rate * b[0] if p.right is None else b[0] - p.right
        return np.array([left, right])

    t = np.linspace(0.0, p.depth, 400)
    solution = solve_bvp(slope, conditions, t, np.zeros((2, t.size)), tol=1e-7)
    assert solution.success
    np.testing.assert_allclose(p.exact(t), solution.sol(t)[0], atol=1e-7)
    np.testing.assert_allclose(p.exact_derivative(t), solution.sol(t)[1], atol=1e-6)


@ends
def test_derivative_is_that_of_the_closed_form(name) -> None:
    p, t, step = problem(name), np.linspace(0.1, 1.6, 9), 1e-20
    imaginary = p.exact(t + 1j * step).imag / step
    np.testing.assert_allclose(p.exact_derivative(t), imaginary, rtol=1e-13, atol=1e-14)


@ends
def test_p1_with_the_gauss_rule_is_the_midpoint_rule(name) -> None:
    """Two programs for one discretisation: they agree to rounding, and so for P2 and gauss2."""
    p = problem(name)
    for degree, transcription in ((1, MIDPOINT), (2, GAUSS2)):
        nodes, values = finite_element(p, degree, 7)
        np.testing.assert_allclose(nodes, np.linspace(0.0, p.depth, 7 * degree + 1), atol=1e-14)
        np.testing.assert_allclose(values, p.transcribed(transcription, 7), atol=1e-12)


@ends
def test_euler_minimises_the_action_of_discrete_layers(name) -> None:
    """A general minimiser on the sum written out."""
    p, n = problem(name), 6
    t, h = np.linspace(0.0, p.depth, n + 1), p.depth / n

    def full(free):
        x = free.copy()
        if p.left is not None:
            x[0] = p.left
        if p.right is not None:
            x[-1] = p.right
        return x

    def action(free):
        x = full(free)
        d = (x[1:] - x[:-1]) / h + p.rate * x[:-1]
        return h * np.sum(p.R_f / 2 * d**2 + p.R_m / 2 * (x - np.cos(p.frequency * t))[:-1] ** 2)

    found = minimize(action, np.zeros(n + 1), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(p.transcribed(EULER, n), full(found.x), atol=1e-6)


@ends
@pytest.mark.parametrize("degree", [1, 2, 3])
def test_finite_elements_have_their_orders(name, degree) -> None:
    p, found = problem(name), []
    for cells in (16, 32, 64):
        errors = p.errors(*finite_element(p, degree, cells), degree)
        found.append([errors["L2"], errors["H1"]])
    orders = np.log2(np.divide(found[:-1], found[1:]))
    # Measured at most 0.013 off; the next power of h is there.
    np.testing.assert_allclose(orders, np.tile([degree + 1.0, degree], (2, 1)), atol=0.03)
    # The interpolation error has a constant below one.
    cap = (p.depth / 64) ** (degree + 1) * size(p, degree + 1)
    assert found[-1][0] < cap


@ends
@pytest.mark.parametrize(
    ("transcription", "tolerance"),
    [(EULER, 0.1), (MIDPOINT, 0.05), (GAUSS2, 0.02)],
    ids=lambda v: getattr(v, "name", ""),
)
def test_transcriptions_have_their_orders(name, transcription, tolerance) -> None:
    p, degree, order = problem(name), transcription.nodes.size - 1, transcription.order
    found = []
    for cells in (64, 128):
        nodes = np.linspace(0.0, p.depth, degree * cells + 1)
        found.append(p.errors(nodes, p.transcribed(transcription, cells), degree)["ends"])
    assert abs(np.log2(found[0] / found[1]) - order) < tolerance
    # Local errors h^(q+1) |x^(q+1)|, added up.
    assert found[1] < p.depth * (p.depth / 128) ** order * size(p, order + 1)


def test_errors_are_integrals_and_maxima() -> None:
    """Of a straight line and a parabola against a cosine, by dense sums of another rule."""
    p = problem("natural")
    t = np.linspace(0.0, p.depth, 200001)
    for degree in (1, 2, 3):
        nodes = np.sort(np.concatenate([[0.0, p.depth], np.linspace(0.2, 1.5, 3 * degree - 1)]))
        values = np.sin(nodes)
        span = degree * np.arange(3)[:, None] + np.arange(degree + 1)
        curve, slope = np.empty_like(t), np.empty_like(t)
        for cell in span:
            inside = (t >= nodes[cell[0]]) & (t <= nodes[cell[-1]])
            c = np.polyfit(nodes[cell], values[cell], degree)
            curve[inside], slope[inside] = (
                np.polyval(c, t[inside]),
                np.polyval(np.polyder(c), t[inside]),
            )
        errors = p.errors(nodes, values, degree)
        for name, difference in (
            ("L2", curve - p.exact(t)),
            ("H1", slope - p.exact_derivative(t)),
        ):
            # The slope jumps at two nodes: the trapezoidal rule is off by one step there.
            expected = np.sqrt(np.trapezoid(difference**2, t))
            assert errors[name] == pytest.approx(expected, rel=1e-4)
        at_ends = np.abs(values - p.exact(nodes))[[0, degree, 2 * degree, 3 * degree]]
        assert errors["ends"] == at_ends.max()
