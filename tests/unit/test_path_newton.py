"""Newton for many paths: quadratic problems in one step, bounds, damping, agreement with SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from test_defects import ENDS, Oscillator

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.observations import Observations
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import TRANSCRIPTIONS, transcription
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.solve.paths.bounds import Bounds
from fem_deepest.solve.paths.newton import NewtonPaths, _damping


def lorenz(name: str = "midpoint") -> Paths:
    defects = Defects(Lorenz96(5), transcription(name), np.linspace(0.0, 1.0, 21))
    rng = np.random.default_rng(0)
    observations = Observations(
        np.linspace(0.0, 1.0, 21), 3.0 * rng.standard_normal((21, 3)), [0, 1, 3]
    )
    return Paths(defects, observations)


class Turning:
    """``x' = (x_2, -x_1)``: linear and without parameters."""

    name, states, parameters = "turning", 2, ()

    def value(self, t, x, w):
        return np.stack([x[..., 1], -x[..., 0]], axis=-1)

    def jacobian(self, t, x, w):
        f_x = np.zeros((*x.shape, 2))
        f_x[..., 0, 1], f_x[..., 1, 0] = 1.0, -1.0
        return f_x, np.zeros((*x.shape, 0))

    def curvature(self, t, x, w, p):
        return np.zeros((*x.shape, 2)), np.zeros((*x.shape, 0)), np.zeros((*x.shape[:-1], 0, 0))


@pytest.mark.parametrize("name", TRANSCRIPTIONS)
@pytest.mark.parametrize("varying", [False, True])
def test_linear_dynamics_take_one_step(name: str, varying: bool) -> None:
    """The action is quadratic; the second step finds nothing left."""
    defects = Defects(Turning(), transcription(name), ENDS, varying)
    paths = Paths(defects, Observations(ENDS, np.cos(ENDS)[:, None], [0]))
    u = np.random.default_rng(1).standard_normal((4, paths.size))
    R_f = np.array([1e-2, 1.0, 1e2, 1e4])
    result = NewtonPaths(paths).minimise(u, R_f)
    assert result.converged.all()
    assert result.iterations.max() <= 2
    assert np.abs(paths.gradient(result.u, R_f)[1]).max() < 1e-10


def test_ends_at_stationary_points_with_quadratic_convergence() -> None:
    paths = lorenz()
    u = np.random.default_rng(2).uniform(-5.0, 5.0, (8, paths.size))
    result = NewtonPaths(paths).minimise(u, 1.0, cold=True)
    assert result.converged.all()
    parts, g = paths.gradient(result.u, 1.0)
    np.testing.assert_allclose(result.parts.action, parts.action, rtol=1e-13)
    np.testing.assert_allclose(result.parts.model, parts.model, rtol=1e-9)
    # One promised decrease below 1e-10 of the action is followed by one of about its square.
    again = NewtonPaths(paths).minimise(result.u, 1.0)
    assert again.iterations.max() <= 1
    assert np.abs(g).max() < 1e-4
    assert np.abs(paths.gradient(again.u, 1.0)[1]).max() < 1e-9
    assert (result.evaluations >= result.hessians).all()
    assert (result.hessians >= result.iterations).all()


def test_a_path_does_not_depend_on_its_company() -> None:
    paths = lorenz("simpson_hermite")
    u = np.random.default_rng(3).uniform(-5.0, 5.0, (5, paths.size))
    R_f = np.array([0.1, 1.0, 3.0, 10.0, 30.0])
    together = NewtonPaths(paths).minimise(u, R_f, cold=True)
    for k in range(5):
        alone = NewtonPaths(paths).minimise(u[k : k + 1], R_f[k], cold=True)
        assert alone.parts.action[0] == pytest.approx(together.parts.action[k], rel=1e-9)
        assert alone.converged[0]


def test_bounds_are_those_of_lbfgsb() -> None:
    """Warm starts in the same basin: both methods stop at the same active bounds."""
    paths = lorenz()
    bounds = Bounds.of(paths, (-2.0, 2.0), (0.0, 3.0))
    u = np.random.default_rng(4).uniform(-1.0, 1.0, (3, paths.size))
    result = NewtonPaths(paths, bounds).minimise(u, 0.5, cold=True)
    assert result.converged.all()
    assert (result.u >= bounds.lower).all() and (result.u <= bounds.upper).all()
    held = (result.u == bounds.lower) | (result.u == bounds.upper)
    assert held.any(axis=1).all()
    for k in range(3):

        def both(v):
            parts, g = paths.gradient(v[None], 0.5)
            return parts.action[0], g[0]

        other = minimize(
            both,
            bounds.project(result.u[k] + 1e-3),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(bounds.lower, bounds.upper, strict=True)),
            options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 5000, "maxfun": 20000},
        )
        assert result.parts.action[k] == pytest.approx(other.fun, rel=1e-9)
        np.testing.assert_allclose(result.u[k], other.x, atol=1e-4)


def test_bounds_of_components_and_parameters() -> None:
    paths = Paths(
        Defects(Oscillator(), transcription("midpoint"), ENDS, varying=True),
        Observations([0.0], [[1.0]], [0]),
    )
    bounds = Bounds.of(paths, ([-1.0, -2.0], 3.0), (0.0, [4.0]))
    x, w = paths.split(bounds.lower)
    np.testing.assert_array_equal(x, np.tile([-1.0, -2.0], (4, 1)))
    np.testing.assert_array_equal(w, 0.0)
    with pytest.raises(InputError, match="not below"):
        Bounds.of(paths, (1.0, 1.0))


def test_a_start_that_overflows_is_a_failure() -> None:
    paths = lorenz()
    u = np.full((2, paths.size), 1.0)
    u[1] = 1e200
    with pytest.raises(NumericalFailure, match="path 1"), np.errstate(all="ignore"):
        NewtonPaths(paths).minimise(u, 1.0)


def test_iterations_that_run_out_are_not_converged() -> None:
    paths = lorenz()
    u = np.random.default_rng(5).uniform(-5.0, 5.0, (2, paths.size))
    result = NewtonPaths(paths, iterations=2).minimise(u, 1.0, cold=True)
    assert not result.converged.any()
    np.testing.assert_array_equal(result.iterations, 2)
    assert (result.parts.action < paths.value(u, 1.0).action).all()


def test_a_step_lost_in_rounding_is_damped_until_it_is_given_up() -> None:
    """Decrease and promise are both zero then; with the same damping it would be tried for ever."""
    for ratio, expected in ((np.nan, 8.0), (-1.0, 8.0), (0.5, 1.0), (0.9, 0.125)):
        assert _damping(np.ones(1), np.array([ratio]))[0] == expected
    assert _damping(np.zeros(1), np.array([np.nan]))[0] > 0.0
