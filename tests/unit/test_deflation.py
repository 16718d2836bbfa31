"""Deflated Newton: its algebra, and the number of solutions that theory gives."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from problems import dense, network_action, random_control
from scipy.optimize import brentq

from fem_deepest.action.form.action import FormAction
from fem_deepest.errors import NotConverged
from fem_deepest.solve.deflation import Deflation
from fem_deepest.solve.memory import dual_norm
from fem_deepest.solve.solutions import stationary_points
from fem_deepest.solve.stationary import stationary
from fem_deepest.spaces.constrained import Clamped


def dirichlet(L: object, x: fem.Function) -> FormAction:
    """Action with both ends clamped at zero."""
    return FormAction(L, x, clamped=[Clamped(x, "start"), Clamped(x, "end")])


def unknown(cells: int = 48) -> fem.Function:
    """Zero function in P2 on (0, 1)."""
    domain = mesh.create_interval(MPI.COMM_SELF, cells, (0.0, 1.0))
    return fem.Function(fem.functionspace(domain, ("Lagrange", 2)), name="x")


def sines(action: FormAction, most: int, heights: tuple[float, ...] = (0.1, 1.0)) -> list:
    """Starts ``a sin(k pi t)``."""
    x, starts = action.unknowns[0], []
    for k in range(1, most + 1):
        for a in heights:
            x.interpolate(lambda s, k=k, a=a: a * np.sin(k * np.pi * s[0]))
            starts.append(action.pack())
    x.x.array[:] = 0.0
    return starts


@pytest.mark.parametrize(("power", "shift"), [(2.0, 1.0), (1.0, 0.0), (3.0, 0.5)])
def test_deflated_step_is_newtons_step_of_the_deflated_equations(
    power: float, shift: float
) -> None:
    """Against the dense Jacobian ``M A'' + A' (M')^T``, with ``M'`` by a complex step."""
    x = unknown(4)
    action = dirichlet(0.5 * x.dx(0) ** 2 - 2.0 * ufl.exp(x), x)
    u, g = random_control(action, 1), action.create()
    action.gradient(u, g)
    deflation = Deflation(action.metric, power=power, shift=shift)
    roots = [random_control(action, seed, 2.0) for seed in (2, 3)]
    for root in roots:
        deflation.add(root)
    P = dense(action.metric.apply, action)
    H = dense(lambda d, r: action.hessian(u, d, r), action)

    def m(v: np.ndarray) -> complex:
        gaps = [v - root.array_r for root in roots]
        return np.prod([(gap @ P @ gap) ** (-power / 2.0) + shift for gap in gaps])

    n, eps = u.getSize(), 1e-30
    slope = np.array([m(u.array_r + 1j * eps * row).imag / eps for row in np.eye(n)])
    assert deflation.value(u) == pytest.approx(m(u.array_r), rel=1e-13)
    plain, d = np.linalg.solve(H, -g.array_r), action.create()
    d.array[...] = plain
    assert deflation.slope(u, d) == pytest.approx(slope @ plain / m(u.array_r), rel=1e-12)
    jacobian = m(u.array_r) * H + np.outer(g.array_r, slope)
    deflated = np.linalg.solve(jacobian, -m(u.array_r) * g.array_r)
    np.testing.assert_allclose(deflation.step(u, d) * plain, deflated, rtol=1e-9)


def test_deflation_at_a_known_point() -> None:
    x = unknown(4)
    action = dirichlet(0.5 * x.dx(0) ** 2, x)
    deflation = Deflation(action.metric)
    u = random_control(action, 1)
    assert deflation.value(u) == 1.0
    deflation.add(u)
    assert deflation.value(u) == np.inf
    assert deflation.distance(u, deflation.roots[0]) == 0.0


# Bratu: x'' + lambda exp(x) = 0, x(0) = x(1) = 0 ---------------------------------------------------


def bratu_maxima(strength: float) -> list[float]:
    """``2 log cosh c`` for the roots of ``sqrt(8) c / cosh(c) = sqrt(lambda)``, smaller one first."""
    fold = brentq(lambda c: c * np.tanh(c) - 1.0, 1.0, 2.0)

    def gap(c: float) -> float:
        return float(np.sqrt(8.0) * c / np.cosh(c) - np.sqrt(strength))

    if gap(fold) < 0.0:
        return []
    return [
        float(2.0 * np.log(np.cosh(brentq(gap, *ends)))) for ends in ((0.0, fold), (fold, 20.0))
    ]


@pytest.mark.parametrize(("strength", "count"), [(0.5, 2), (2.0, 2), (3.5, 2), (3.53, 0), (4.0, 0)])
def test_bratu_has_two_solutions_below_the_fold_and_none_above(strength: float, count: int) -> None:
    x = unknown()
    action = dirichlet(0.5 * x.dx(0) ** 2 - strength * ufl.exp(x), x)
    starts = sines(action, 1, (0.0, 1.0, 4.0, 8.0))
    found = stationary_points(action, starts, tolerance=1e-9)
    exact = bratu_maxima(strength)
    assert len(found) == len(exact) == count
    maxima = sorted(solution.u.max()[1] for solution in found)
    # P2 on 48 cells: h^4 = 2e-7, and the large solution at 0.5 is steep.
    np.testing.assert_allclose(maxima, exact, rtol=2e-5)
    by_height = sorted(found, key=lambda solution: solution.u.max()[1])
    assert [solution.morse.index for solution in by_height] == [0, 1][:count]
    assert all(solution.morse.certain for solution in found)


# Chafee, Infante: x'' + mu (x - x^3) = 0, x(0) = x(1) = 0 -------------------------------------------


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_double_well_bridge_has_as_many_solutions_as_the_time_map_says(k: int) -> None:
    """``2 k + 1`` for ``(k pi)^2 < mu < ((k+1) pi)^2``: zero, of index k, and pairs of index 0..k-1."""
    mu = ((k + 0.4) * np.pi) ** 2
    x = unknown()
    action = dirichlet(0.5 * x.dx(0) ** 2 + 0.25 * mu * (1.0 - x**2) ** 2, x)
    found = stationary_points(action, sines(action, k + 2), tolerance=1e-9)
    assert len(found) == 2 * k + 1
    indices = sorted(solution.morse.index for solution in found)
    assert indices == sorted([*range(k), *range(k), k])
    # They come in pairs +-x, and the action grows with the index.
    heights = np.array([solution.u.norm(2) for solution in found])
    np.testing.assert_allclose(heights[:-1:2], heights[1::2], rtol=1e-6)
    assert [solution.morse.index for solution in found] == indices
    g = action.create()
    for solution in found:
        action.gradient(solution.u, g)
        assert dual_norm(action.metric, g) <= 1e-9
    for i, one in enumerate(found):
        for other in found[:i]:
            difference = one.u.copy()
            difference.axpy(-1.0, other.u)
            assert difference.norm() > 1e-2


def test_a_convex_action_has_one_stationary_point() -> None:
    x = unknown(8)
    action = dirichlet(0.5 * x.dx(0) ** 2 + ufl.cosh(x) - x, x)
    found = stationary_points(action, sines(action, 3), tolerance=1e-9, iterations=30)
    assert len(found) == 1
    assert found[0].morse.index == 0


def test_no_more_than_asked_for() -> None:
    x = unknown(16)
    action = dirichlet(0.5 * x.dx(0) ** 2 + 5.0 * (1.0 - x**2) ** 2, x)
    assert len(stationary_points(action, sines(action, 2), tolerance=1e-9, most=2)) == 2


# Networks: matrix-free ----------------------------------------------------------------------------


def test_deflation_finds_the_mirror_image_of_a_network() -> None:
    """``tanh`` is odd: (lift, b, readout) to minus them changes nothing, so minima come in pairs."""
    z = np.linspace(-1.0, 1.0, 8)[:, None]
    action = network_action(
        loss="least_squares",
        data=(z, np.sin(2.0 * z)),
        strength=0.05,
        lift="linear",
        neurons=2,
        inputs=1,
        outputs=1,
        cells=2,
    )
    u = random_control(action, 2)
    stationary(action, u, tolerance=1e-9, iterations=100)
    mirror = u.copy()
    p = action.space.parameters(mirror.array)
    p.theta[:, :, -1] *= -1.0
    p.lift[...] *= -1.0
    p.readout[:, :-1] *= -1.0
    assert action.value(mirror) == pytest.approx(action.value(u), rel=1e-12)
    start = mirror.copy()
    start.axpy(0.05, random_control(action, 4))
    deflation = Deflation(action.metric)
    deflation.add(u)
    assert deflation.distance(u, mirror) > 1e-2
    stationary(action, start, tolerance=1e-9, iterations=100, deflation=deflation)
    assert deflation.distance(start, mirror) < 1e-5
    # Both known: Newton goes to neither of them again.
    deflation.add(mirror)
    start.axpy(0.05, random_control(action, 4))
    try:
        stationary(action, start, tolerance=1e-9, iterations=100, deflation=deflation)
    except NotConverged:
        return
    assert min(deflation.distance(start, root) for root in deflation.roots) > 1e-3
