"""The metric of an action squared: its inverse, its root, and that it is trace class in the plane."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from fem_deepest.action.form import FormAction
from fem_deepest.action.form.squared import SquaredAction
from fem_deepest.sample.matrices import precision
from fem_deepest.spaces.columns import Columns
from fem_deepest.spaces.domain import create_domain
from fem_deepest.spaces.lumped import Lumped

C = 2.0  # curvature of the wells


def actions(cells: int):
    domain = create_domain(MPI.COMM_SELF, [1.0, 1.0], [cells, cells])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    slope = 0.5 * ufl.inner(ufl.grad(u), ufl.grad(u))
    action = FormAction(slope + 0.25 * (u**2 - 1.0) ** 2, u, metric=slope + 0.5 * C * u**2)
    return action, SquaredAction(action, C)


def dense(action):
    """``K`` and the lumped mass, by NumPy."""
    K = precision(action.metric, action.create()).toarray()
    return K, Lumped(action.unknowns[0].function_space).weights


def test_it_is_the_matrix_squared() -> None:
    action, squared = actions(4)
    K, m = dense(action)
    n, columns = m.size, Columns(action.create)
    P = K @ np.diag(1.0 / m) @ K / C
    assert columns(squared.metric.apply, np.eye(n)) == pytest.approx(P, rel=1e-11, abs=1e-11)
    assert columns(squared.metric.solve, P) == pytest.approx(np.eye(n), abs=1e-9)
    R = squared.metric.root(np.eye(n))
    np.testing.assert_allclose(R @ R.T, np.linalg.inv(P), rtol=1e-9, atol=1e-12)
    # On constants, where K is c M, nothing changes.
    one = np.ones(n)
    assert one @ P @ one == pytest.approx(one @ K @ one, rel=1e-11)


def test_its_noise_has_a_mean_square_and_that_of_the_metric_has_none() -> None:
    """``E |u|^2 = tr(C M)``: sum over ``k`` of ``c/(pi^2 |k|^2 + c)^2``, and of ``1/(pi^2 |k|^2 + c)``.

    The first converges, with differences that fall by four as the mesh is halved; the second grows by
    up to ``log 2/(2 pi)`` each time.
    """
    traces = []
    for cells in (8, 16, 32):
        K, m = dense(actions(cells)[0])
        inverse = np.linalg.inv(K)
        traces.append([C * m @ inverse**2 @ m, np.diag(inverse) @ m])
    smooth, rough = np.diff(np.array(traces), axis=0).T
    assert abs(smooth[1] / smooth[0]) < 0.35
    assert rough[1] > rough[0]
    assert rough[1] == pytest.approx(np.log(2.0) / (2.0 * np.pi), rel=0.1)
    k = np.arange(2000)
    s = np.pi**2 * (k[:, None] ** 2 + k[None] ** 2) + C
    assert traces[-1][0] == pytest.approx(np.sum(C / s**2), rel=1e-2)


def test_the_action_is_the_same() -> None:
    action, squared = actions(4)
    random = np.random.default_rng(1)
    u, d, g, h = (action.create() for _ in range(4))
    for vec in (u, d):
        vec.array[...] = random.standard_normal(vec.getLocalSize())
    assert squared.value(u) == action.value(u) == squared.gradient(u, g)
    action.gradient(u, h)
    assert np.array_equal(g.array_r, h.array_r)
    squared.hessian(u, d, g)
    action.hessian(u, d, h)
    assert np.array_equal(g.array_r, h.array_r)
