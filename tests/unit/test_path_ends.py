"""End conditions of many paths at once, against the weak-constraint problem of one path."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from test_defects import Oscillator
from test_paths import ENDS, dense, names, oscillator, start
from weak_problems import true_path

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.normalisation import normalisation
from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.paths.prior import WeightPrior
from fem_deepest.action.paths.single import PathAction
from fem_deepest.action.paths.weak import WeakPaths
from fem_deepest.action.weak.ends import EndConditions, background, clamped, soft
from fem_deepest.action.weak.forms import make_form
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.errors import InputError, Interrupted
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.annealing.search import Batch
from fem_deepest.solve.paths.annealing import Annealing, random_starts
from fem_deepest.solve.paths.bounds import Bounds
from fem_deepest.solve.paths.forms import FormAnnealing
from fem_deepest.solve.paths.newton import NewtonPaths
from fem_deepest.solve.paths.tridiagonal import Arrow, Layout

Array = NDArray[np.float64]

SOFT = soft([1.0, -0.5], 3.0)
BACKGROUND = background([0.2, 1.0], [[2.0, 0.5], [0.5, 1.0]])
ENDED = {
    "soft": EndConditions(SOFT, BACKGROUND),
    "clamped": EndConditions(clamped([0.3, np.nan]), clamped([0.1, 0.2])),
    "periodic": EndConditions(periodic=True),
    "periodic-soft": EndConditions(SOFT, periodic=True),
}
ends = pytest.mark.parametrize("ended", ENDED)
varies = pytest.mark.parametrize("varying", [False, True], ids=["constant", "varying"])


@names
@varies
@ends
def test_value_is_that_of_the_weak_problem(name: str, varying: bool, ended: str) -> None:
    paths = oscillator(name, varying, conditions=ENDED[ended])
    weak = WeakProblem(
        Oscillator(),
        transcription(name),
        ENDS,
        paths.observations,
        7.0,
        ENDED[ended],
        WeightPrior(0.7, 0.4, 1.5),
        varying,
    )
    form = make_form("state", weak)
    u, _ = start(paths)
    u = Bounds.of(paths).project(u)  # puts clamped values where they belong
    point = form.pack(*(part[0] for part in paths.path(u)))
    value = form.value(point)
    parts = paths.value(u, 7.0)
    assert parts.action[0] == pytest.approx(value, rel=1e-12)
    assert parts.measurement[0] == pytest.approx(form.parts["measurement"], rel=1e-12)
    assert parts.model[0] == pytest.approx(form.parts["model"], rel=1e-12)
    # Gradients agree where the unknowns are the same; a clamped one is none in the weak problem.
    g = form.create()
    form.gradient(point, g)
    free = np.isnan(paths.join(paths.fixed, np.full(paths.shapes[1], np.nan)))
    got = paths.gradient(u, 7.0)[1][0]
    assert np.linalg.norm(got[free]) == pytest.approx(g.norm(), rel=1e-11)


@names
@varies
@ends
def test_taylor(name: str, varying: bool, ended: str) -> None:
    paths = oscillator(name, varying, conditions=ENDED[ended])
    u, d = start(paths)
    parts, g, curvature = paths.curvature(u, 2.0)
    np.testing.assert_allclose(paths.gradient(u, 2.0)[1], g, rtol=1e-12, atol=1e-12)
    slope, curved = np.sum(g * d, axis=1), np.sum(curvature.apply(paths, d) * d, axis=1)
    steps = 2.0 ** -np.arange(7, 11)[:, None]
    change = np.stack([paths.value(u + e * d, 2.0).action - parts.action for e in steps[:, 0]])
    for remainder, order in (
        (change - steps * slope, 2),
        (change - steps * slope - 0.5 * steps**2 * curved, 3),
    ):
        observed = np.log2(np.abs(remainder[:-1] / remainder[1:]))
        np.testing.assert_allclose(observed[-1], order, atol=0.15)


@names
@varies
def test_arrow_of_a_periodic_path(name: str, varying: bool) -> None:
    paths = oscillator(name, varying, conditions=ENDED["periodic"])
    u, r = start(paths)
    local = np.random.default_rng(3).standard_normal(paths.gather(u).shape)
    np.testing.assert_allclose(
        np.sum(local * paths.gather(u)), np.sum(paths.scatter(local) * u), atol=1e-12
    )
    matrix = paths.curvature(u, 2.0)[2].gauss_newton
    arrow = Arrow(Layout(paths), matrix)
    assert arrow.positive.all()
    d = arrow.solve(r)
    for k in range(3):
        full = dense(paths, matrix[k])
        expected = np.linalg.solve(full, r[k])
        size = np.linalg.cond(full) * np.finfo(float).eps
        assert np.linalg.norm(d[k] - expected) <= 10.0 * size * np.linalg.norm(expected)


# The twin: Lorenz 96, five states, two of them seen between the nodes.

DEPTH, CELLS, STATES = 1.0, 12, 5
TIMES = np.linspace(0.02, 0.97, 23)
TRUTH = true_path(np.concatenate([[0.0], TIMES, [DEPTH]]), STATES)
HELD = np.where(np.arange(STATES) < 2, TRUTH[0], np.nan)
CONDITIONS = {
    "natural": EndConditions(),
    "soft": EndConditions(soft(TRUTH[0], 0.5), background(TRUTH[-1], 0.2 * np.eye(STATES))),
    "clamped start": EndConditions(clamped(HELD)),
    "clamped": EndConditions(clamped(HELD), clamped(TRUTH[-1])),
    "periodic": EndConditions(periodic=True),
}
FORMS = {
    "natural": ("saddle", "forcing"),
    "soft": ("saddle", "forcing"),
    "clamped start": ("saddle", "forcing"),
    "clamped": ("saddle",),
    "periodic": ("saddle",),
}


def twin(conditions: EndConditions, **more: object) -> NewtonPaths:
    rng = np.random.default_rng(5)
    y = TRUTH[1:-1, [0, 2]] + 0.3 * rng.standard_normal((TIMES.size, 2))
    paths = Paths(
        Defects(Lorenz96(STATES), transcription("gauss2"), np.linspace(0.0, DEPTH, CELLS + 1)),
        Observations(TIMES, y, [0, 2], precision=[11.0, 5.0]),
        conditions=conditions,
        **more,
    )
    return NewtonPaths(paths, Bounds.of(paths, (-30.0, 30.0), (0.0, 20.0)))


def climbed(newton: NewtonPaths, climb: Annealing | FormAnnealing, many: int = 3) -> Batch:
    numbers = np.arange(many)
    batch = Batch(numbers, random_starts(newton.bounds, numbers, 1))
    for _ in climb.climb(batch):
        pass
    return batch


@pytest.mark.parametrize("ended", CONDITIONS)
def test_all_forms_reach_the_same_levels(ended: str) -> None:
    newton, ladder = twin(CONDITIONS[ended]), Ladder(0.1, 10.0, 4)
    state = climbed(newton, Annealing(newton, ladder))
    assert np.array(state.converged).all()
    fixed = newton.paths.join(newton.paths.fixed, np.full(1, np.nan))
    held = np.isfinite(fixed)
    np.testing.assert_array_equal(state.u[:, held], np.broadcast_to(fixed[held], (3, held.sum())))
    for name in FORMS[ended]:
        other = climbed(newton, FormAnnealing(newton, ladder, name))
        assert np.array(other.converged).all()
        np.testing.assert_allclose(
            np.array(other.record)[..., 0], np.array(state.record)[..., 0], rtol=1e-8
        )
        # The terms are first order in the point, which is exact to about 1e-9.
        np.testing.assert_allclose(np.array(other.record), np.array(state.record), rtol=1e-5)


def test_published_normalisation_in_the_saddle_form() -> None:
    ladder = Ladder(0.1, 10.0, 3)
    newton = twin(CONDITIONS["soft"], normalisation=normalisation("minaone"), prior=0.1)
    state = climbed(newton, Annealing(newton, ladder))
    other = climbed(newton, FormAnnealing(newton, ladder, "saddle"))
    assert np.array(other.converged).all()
    np.testing.assert_allclose(other.record[-1][:, 0], state.record[-1][:, 0], rtol=1e-8)


def test_last_rung_of_the_exact_model() -> None:
    """Both forms end at the same path, which solves the discrete equations to rounding."""
    newton = twin(EndConditions())
    ladder = Ladder(1.0, 10.0, 5, exact=True)
    assert np.isinf(ladder.precisions[-1])
    ends = [climbed(newton, FormAnnealing(newton, ladder, name)) for name in ("saddle", "forcing")]
    for batch in ends:
        assert batch.rung == 6
        assert batch.converged[-1].all()
        x, w = newton.paths.path(batch.u)
        defects = newton.paths.defects.value(x, w)
        assert np.abs(defects).max() < 1e-9 * np.abs(x).max() / newton.paths.defects.steps.min()
        # The momenta have a limit, so the level is first order in 1/R_f.
        last, near, far = (batch.record[-1 - i][:, 0] for i in range(3))
        assert (last > near).all()
        np.testing.assert_allclose((last - near) / (last - far), 0.1, rtol=0.2)
    np.testing.assert_allclose(ends[0].record[-1][:, 0], ends[1].record[-1][:, 0], rtol=1e-8)


def test_what_a_form_cannot_say_is_refused() -> None:
    newton, ladder = twin(CONDITIONS["periodic"]), Ladder(0.1, 10.0, 2)
    with pytest.raises(InputError, match="cannot prescribe"):
        FormAnnealing(newton, ladder, "forcing")
    with pytest.raises(InputError, match="adaptive"):
        FormAnnealing(newton, Ladder(0.1, 10.0, 2, adaptive=True), "saddle")
    with pytest.raises(InputError, match="needs a finite R_f"):
        Annealing(newton, Ladder(0.1, 10.0, 2, exact=True))
    with pytest.raises(InputError, match="natural or Gaussian ends"):
        PathAction(newton.paths, 1.0)
    uneven = oscillator("midpoint", False, normalisation=normalisation("minaone"))
    with pytest.raises(InputError, match="unequal cells"):
        WeakPaths(uneven)


@pytest.mark.parametrize("form", ["state", "saddle"])
def test_leaving_between_two_steps(form: str) -> None:
    """It leaves within a rung; what has been finished stays, and going on ends at the same bits."""
    newton, ladder = twin(EndConditions()), Ladder(0.1, 10.0, 3)
    climb = Annealing(newton, ladder) if form == "state" else FormAnnealing(newton, ladder, form)
    whole = climbed(newton, climb)
    numbers, calls = np.arange(3), [0]
    batch = Batch(numbers, random_starts(newton.bounds, numbers, 1))

    def asked() -> bool:
        calls[0] += batch.rung == 1
        return calls[0] > 3

    with pytest.raises(Interrupted):
        for _ in climb.climb(batch, asked):
            pass
    assert batch.rung == len(batch.record) == len(batch.lowest) == 1
    for _ in climb.climb(batch):
        pass
    np.testing.assert_array_equal(batch.u, whole.u)
    np.testing.assert_array_equal(np.array(batch.record), np.array(whole.record))
