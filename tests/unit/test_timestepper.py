"""PETSc's TS around the schemes, and ensembles: one path, whoever steps it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import spde_problems as sp
from dolfinx import fem

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError, NotConverged, NumericalFailure
from fem_deepest.noise.finite_rank import scalar_noise
from fem_deepest.spde.ensemble import Ensemble, State
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import (
    DriftImplicitEuler,
    EulerMaruyama,
    ExponentialEuler,
    ImexTrapezoidal,
    Milstein,
    TamedEuler,
    Theta,
)
from fem_deepest.spde.timestepper import TimeStepper


def _problem(cells: int = 8) -> SemilinearSPDE:
    """Allen-Cahn with multiplicative noise."""
    V = sp.interval(cells)
    return SemilinearSPDE(
        V,
        A=sp.laplace(V),
        f=lambda u: u**3 - u,
        G=lambda u: 2.0 * u,
        noise=scalar_noise(V, 1),
        bcs=[sp.clamped(V)],
        u0=sp.sine(V),
    )


@pytest.fixture
def options():
    """Options of PETSc for one test."""
    data = PETSc.Options()
    given = []

    def give(**values):
        for key, value in values.items():
            data.setValue(key, value)
            given.append(key)

    yield give
    for key in given:
        data.delValue(key)


@pytest.mark.parametrize(
    "kind",
    [
        EulerMaruyama,
        Theta,
        ImexTrapezoidal,
        Milstein,
        ExponentialEuler,
        TamedEuler,
        DriftImplicitEuler,
    ],
)
def test_a_path_of_ts_is_a_sample_of_the_ensemble(kind) -> None:
    scheme = kind(_problem())
    ensemble = Ensemble(scheme, 0.01, (5, 2, 0))
    ensemble.advance(10)
    stepper = TimeStepper(scheme, 0.01, 0.1, sample=2)
    u = stepper.solve()
    np.testing.assert_allclose(u.x.array, ensemble.U[:, 1], rtol=0, atol=1e-11)
    assert stepper.time == 0.1 and stepper.ts.getStepNumber() == 10
    assert np.abs(ensemble.U[:, 0] - ensemble.U[:, 1]).max() > 1e-3
    stepper.destroy()


def test_a_restart_is_equal() -> None:
    scheme = EulerMaruyama(_problem())
    whole = Ensemble(scheme, 0.01, (0, 1)).advance(10)
    first = Ensemble(scheme, 0.01, (0, 1))
    first.advance(4)
    again = Ensemble(scheme, 0.01, (0, 1), start=State(*first.state))
    np.testing.assert_array_equal(again.advance(6), whole)
    half = TimeStepper(scheme, 0.01, 0.04).solve()
    rest = TimeStepper(scheme, 0.01, 0.1, u=half, step=4)
    np.testing.assert_array_equal(
        rest.solve().x.array, TimeStepper(scheme, 0.01, 0.1).solve().x.array
    )
    np.testing.assert_allclose(rest.u.x.array, whole[:, 0], rtol=0, atol=1e-14)
    with pytest.raises(InputError, match="shape"):
        Ensemble(scheme, 0.01, (0,), start=first.state)
    with pytest.raises(InputError, match="restart at step 3"):
        TimeStepper(scheme, 0.01, 0.1, step=3)


def test_options_and_monitors(options, capfd) -> None:
    scheme = EulerMaruyama(_problem())
    options(own_ts_dt=0.02, own_ts_max_steps=3, own_ts_monitor="", own_ts_view="")
    stepper = TimeStepper(scheme, 0.01, 0.1, prefix="own_")
    seen = []
    stepper.ts.setMonitor(lambda ts, n, t, x: seen.append((n, t, x.norm())))
    stepper.solve()
    assert [n for n, _, _ in seen] == [0, 1, 2, 3]
    np.testing.assert_allclose([t for _, t, _ in seen], [0.0, 0.02, 0.04, 0.06])
    assert stepper.dt == 0.02
    out = capfd.readouterr().out
    assert "3 TS dt 0.02 time 0.06" in out
    assert "scheme: euler-maruyama" in out
    expected = Ensemble(scheme, 0.02).advance(3)
    np.testing.assert_allclose(stepper.u.x.array, expected[:, 0], rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"ts_adapt_type": "basic"}, "no error estimate"),
        ({"ts_type": "theta"}, "for equations without noise"),
        ({"ts_exact_final_time": "interpolate"}, "ends at its final time"),
        ({"ts_exact_final_time": "stepover"}, "ends at its final time"),
        ({"ts_dt": -0.1}, "dt = -0.1"),
    ],
)
def test_options_that_cannot_be(options, option, words) -> None:
    options(**option)
    with pytest.raises(InputError, match=words):
        TimeStepper(EulerMaruyama(_problem()), 0.01, 0.1)


def test_a_last_step_that_is_shorter_refines_the_path() -> None:
    """T = 3.5 dt: three steps and a half, whose noise is part of the fourth."""
    scheme = EulerMaruyama(_problem())
    stepper = TimeStepper(scheme, 0.01, 0.035)
    u = stepper.solve()
    assert stepper.time == 0.035 and stepper.ts.getStepNumber() == 4
    noise = scheme.problem.noise
    start = Ensemble(scheme, 0.01).advance(3)
    whole = noise.increment(3, 0.01).modes
    Z = noise.bridge().increment(3 * 1024, 0.01 / 4).modes
    row = 0.5 * whole + Z
    expected = scheme.step(start, 0.03, 0.005, sp.Given(points=row, modes=row))
    np.testing.assert_allclose(u.x.array, expected[:, 0], rtol=0, atol=1e-13)
    fixed = TimeStepper(scheme, 0.01, 0.035, refine=False)
    with pytest.raises(InputError, match=r"multiples of dt = 0\.01 only"):
        fixed.solve()


class _Fails(EulerMaruyama):
    """Does not converge for steps longer than a limit."""

    limit = 0.003

    def step(self, U, t, dt, dW):
        if dt > self.limit:
            raise NotConverged(f"dt = {dt:g} is too long")
        return super().step(U, t, dt, dW)


def test_a_rejected_step_keeps_its_noise() -> None:
    """dt = 0.01 is halved to 0.0025; the increments of the quarters sum to that of the step.

    With ``A = 0``, ``f = 0`` and ``G = 1`` the solution is the Brownian motion itself.
    """
    V = sp.interval(4)
    noise = scalar_noise(V, 1)
    problem = SemilinearSPDE(V, A=fem.Constant(V.mesh, 0.0) * sp.laplace(V), noise=noise)
    scheme = _Fails(problem)
    stepper = TimeStepper(scheme, 0.01, 0.03, sample=3)
    times = []
    stepper.ts.setMonitor(lambda ts, n, t, x: times.append(t))
    u = stepper.solve()
    np.testing.assert_allclose(times, np.linspace(0.0, 0.03, 13), rtol=0, atol=1e-15)
    assert stepper.rejected == 9  # of three halvings in each of three steps
    beta = sum(noise.increment(n, 0.01, (3,)).modes[0, 0] for n in range(3))
    np.testing.assert_allclose(u.x.array, beta, rtol=1e-12)
    ensemble = Ensemble(scheme, 0.01, (0, 3))
    np.testing.assert_allclose(ensemble.advance(3)[:, 1], u.x.array, rtol=1e-12)
    assert ensemble.rejected == 9 and ensemble.step == 3


def test_a_rejected_path_is_the_same_for_ts_and_ensemble() -> None:
    scheme = _Fails(_problem())
    ensemble = Ensemble(scheme, 0.01, (4, 3)).advance(5)
    u = TimeStepper(scheme, 0.01, 0.05, sample=3).solve()
    np.testing.assert_allclose(u.x.array, ensemble[:, 1], rtol=0, atol=1e-14)


def test_after_the_limit_it_is_not_converged_and_the_last_state_is_there(options) -> None:
    scheme = _Fails(_problem())
    stepper = TimeStepper(scheme, 0.01, 0.1)
    stepper.ts.setMonitor(lambda ts, n, t, x: setattr(scheme, "limit", 0.0 if n >= 8 else 0.003))
    with pytest.raises(NotConverged, match="after 10 rejections"):
        stepper.solve()
    assert stepper.time == pytest.approx(0.02)
    assert stepper.ts.getConvergedReason() < 0
    scheme.limit = 0.003
    reached = Ensemble(scheme, 0.01).advance(2)
    np.testing.assert_allclose(stepper.u.x.array, reached[:, 0], rtol=0, atol=1e-15)
    scheme.limit = 0.0
    ensemble = Ensemble(scheme, 0.01, rejections=2)
    with pytest.raises(NotConverged, match="after 2 rejections"):
        ensemble.advance()
    np.testing.assert_array_equal(ensemble.U, scheme.problem.start())
    options(ts_max_reject=1)
    with pytest.raises(NotConverged, match="after 1 rejections"):
        TimeStepper(scheme, 0.01, 0.1).solve()


def test_a_path_that_is_shared_is_not_refined() -> None:
    scheme = _Fails(_problem())
    with pytest.raises(NotConverged, match="after 0 rejections"):
        Ensemble(scheme, 0.01, refine=False).advance()


def test_any_number_of_rejections(options) -> None:
    scheme = _Fails(_problem())
    scheme.limit = 0.0
    with pytest.raises(NotConverged, match="after 17 rejections"):  # 2^-17 < 1e-5 < 2^-16
        Ensemble(scheme, 0.01, rejections=-1).advance()
    options(ts_max_reject=-1)
    with pytest.raises(NotConverged, match="after 17 rejections"):
        TimeStepper(scheme, 0.01, 0.1).solve()


def test_a_path_that_cannot_be_refined_further_is_not_converged(monkeypatch) -> None:
    """After so many splits of one step there are no numbers left: no wrong input, a failed step."""
    monkeypatch.setattr("fem_deepest.spde.path._SPLITS", 3)
    scheme = _Fails(_problem())
    scheme.limit = 0.0
    ensemble = Ensemble(scheme, 0.01)
    with pytest.raises(NotConverged, match=r"after 3 rejections.*cannot be split"):
        ensemble.advance()
    assert ensemble.step == 0


def test_a_solver_that_does_not_converge_is_told(options) -> None:
    """Two iterations of Richardson's method without a preconditioner are too few at any step."""
    options(weak_ksp_type="richardson", weak_pc_type="none", weak_ksp_max_it=2)
    scheme = EulerMaruyama(_problem(), prefix="weak")
    with pytest.raises(NotConverged, match="after 10 rejections: the linear solver of 'weak'"):
        TimeStepper(scheme, 0.01, 0.1).solve()


def test_a_state_that_is_not_finite_is_a_failure() -> None:
    """Explicit cubic from 1e60: the third power overflows after a few steps."""
    V = sp.interval(4)
    u0 = fem.Function(V)
    u0.x.array[:] = 1e60
    problem = SemilinearSPDE(V, A=sp.laplace(V), f=lambda u: u**3, u0=u0)
    scheme = EulerMaruyama(problem)
    ensemble, stepper = Ensemble(scheme, 0.1), TimeStepper(scheme, 0.1, 1.0)
    with np.errstate(over="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(NumericalFailure, match="tamed-euler"):
            ensemble.advance(5)
        with pytest.raises(NumericalFailure, match="not finite"):
            stepper.solve()
    assert 0 < ensemble.step < 5 and np.isfinite(ensemble.U).all()
    assert stepper.time == pytest.approx(ensemble.time)
    assert np.isfinite(stepper.u.x.array).all()


def test_events_are_located_on_the_path() -> None:
    """The first passage of a Brownian motion through a level, found by TS on the refined path.

    Afterwards the path goes on: at the grid times it is what it is without the event.
    """
    V = sp.interval(2)
    noise = scalar_noise(V, 8)
    problem = SemilinearSPDE(V, A=fem.Constant(V.mesh, 0.0) * sp.laplace(V), noise=noise)
    scheme, dt, n = EulerMaruyama(problem), 0.1, 20
    beta = np.cumsum([noise.increment(i, dt).modes[0, 0] for i in range(n)])
    level = 0.5 * (beta.min() + beta.max())
    first = int(np.argmax((beta > level) != (level < 0.0)))
    stepper = TimeStepper(scheme, dt, n * dt)
    found = []
    stepper.events(
        [0],
        [False],
        lambda ts, t, x, out: out.__setitem__(0, x.array_r[0] - level),
        lambda ts, events, t, x, forward: found.append((t, x.array_r[0])),
    )
    u = stepper.solve()
    t, value = found[0]
    assert dt * first < t <= dt * (first + 1)
    assert abs(value - level) < 6.0 * np.sqrt(1e-6 * dt)  # six standard deviations of the bracket
    assert t < n * dt == pytest.approx(stepper.time)
    np.testing.assert_allclose(u.x.array, beta[-1], rtol=1e-12)


def test_the_solution_is_a_function_of_the_user() -> None:
    problem = _problem()
    u = fem.Function(problem.V)
    u.x.array[:] = problem.u0.x.array
    assert TimeStepper(EulerMaruyama(problem), 0.01, 0.02, u=u).solve() is u
    assert np.abs(problem.u0.x.array - sp.sine(problem.V).x.array).max() < 1e-15
