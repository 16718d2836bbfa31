"""Wiener processes of finite rank: loads, law, one path on all meshes and time grids."""

from __future__ import annotations

import numpy as np
import pytest
import spde_problems as sp
import ufl
from dolfinx import fem

from fem_deepest.errors import InputError
from fem_deepest.noise.finite_rank import FiniteRank, scalar_noise
from fem_deepest.spaces.quadrature import Quadrature


def test_an_increment_is_a_combination_of_the_functions() -> None:
    V = sp.interval(6, 2)
    modes = [sp.sine(V, 1), sp.sine(V, 3)]
    dW = FiniteRank(V, modes, 7).increment(3, 0.25, (2, 9))
    v = ufl.TestFunction(V)
    for s in range(2):
        e = fem.Function(V)
        e.x.array[:] = sum(m.x.array * b for m, b in zip(modes, dW.modes[:, s], strict=True))
        np.testing.assert_allclose(dW.field[:, s], e.x.array, rtol=0, atol=1e-15)
        load = fem.assemble_vector(fem.form(e * v * ufl.dx)).array
        np.testing.assert_allclose(dW.load[:, s], load, rtol=0, atol=1e-15)
        at = Quadrature(V).evaluate(e.x.array[:, None])[:, 0]
        np.testing.assert_allclose(dW.points[:, s], at, rtol=0, atol=1e-14)


def test_the_law_of_the_modes() -> None:
    """Means and covariances within four standard errors; the sizes of these are known."""
    V, dt, samples = sp.interval(2), 0.3, 20000
    one = fem.Function(V)
    b = FiniteRank(V, [one, one], 7).increment(0, dt, range(samples)).modes
    assert np.abs(b.mean(axis=1)).max() < 4.0 * np.sqrt(dt / samples)
    covariance = b @ b.T / samples
    assert np.abs(np.diag(covariance) - dt).max() < 4.0 * dt * np.sqrt(2.0 / samples)
    assert abs(covariance[0, 1]) < 4.0 * dt / np.sqrt(samples)


def test_paths_do_not_depend_on_the_mesh_and_a_coarse_step_is_the_sum_of_its_fine_ones() -> None:
    fine, coarse = scalar_noise(sp.interval(8), 3), scalar_noise(sp.interval(2), 3, substeps=4)
    parts = [fine.increment(8 + i, 0.1, (0, 5)).modes for i in range(4)]
    np.testing.assert_allclose(
        coarse.increment(2, 0.4, (0, 5)).modes, sum(parts), rtol=0, atol=1e-15
    )
    assert not np.allclose(fine.bridge().increment(8, 0.1, (0, 5)).modes, parts[0])


def test_covariance_trace_and_density() -> None:
    """``e_1``: trace ``|e_1|^2``, density ``e_1^2``, covariance ``e_1 (e_1, .)``."""
    V = sp.interval(6)
    e = sp.sine(V)
    noise = FiniteRank(V, [e], 0)
    assert noise.trace() == pytest.approx(fem.assemble_scalar(fem.form(e * e * ufl.dx)), rel=1e-13)
    points = Quadrature(V, 3)
    np.testing.assert_allclose(
        noise.density(points)[:, 0], points.evaluate(e.x.array[:, None])[:, 0] ** 2
    )
    r = np.random.default_rng(0).standard_normal((7, 2))
    np.testing.assert_allclose(
        noise.covariance.apply(r), np.outer(e.x.array, e.x.array) @ r, rtol=0, atol=1e-14
    )
    assert noise.covariance.beta(2) == np.inf


def test_bad_input() -> None:
    V = sp.interval(2)
    with pytest.raises(InputError, match="one or more"):
        FiniteRank(V, [], 0)
    with pytest.raises(InputError, match="all of the space V"):
        FiniteRank(V, [sp.sine(sp.interval(2))], 0)
    with pytest.raises(InputError, match="substeps = 0"):
        scalar_noise(V, 0, substeps=0)
    with pytest.raises(InputError, match="dt = -1"):
        scalar_noise(V, 0).increment(0, -1.0)
    with pytest.raises(InputError, match="seed"):
        scalar_noise(V, -3)
