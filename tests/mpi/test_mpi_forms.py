"""The forms of the weak-constraint problem on slabs of cells against the same on one rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from problems import random_control
from weak_problems import twin

from fem_deepest._petsc import PETSc
from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.paths.prior import WeightPrior
from fem_deepest.action.weak.ends import EndConditions, background, clamped
from fem_deepest.action.weak.forms import FORMS, make_form
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.errors import InputError
from fem_deepest.solve.weak.newton import solve

WORLD = MPI.COMM_WORLD

OPTIONS: dict[str, dict[str, Any]] = {
    "midpoint": {},
    "gauss2-varying": {"name": "gauss2", "varying": True, "prior": WeightPrior(1.0, 8.0)},
    "background": {
        "name": "simpson_hermite",
        "conditions": EndConditions(background(np.ones(5), np.eye(5) + 0.1)),
    },
}
CLOSED = EndConditions(periodic=True)
CLAMPED = EndConditions(clamped([np.nan, 1.0, 2.0, np.nan, 0.0]), clamped(np.zeros(5)))
all_forms = pytest.mark.parametrize("form", FORMS)
all_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def _gathered(v: PETSc.Vec) -> np.ndarray:
    return np.concatenate(v.getComm().tompi4py().allgather(v.array_r.copy()))


def _products(form: str, problem: WeakProblem, comm: MPI.Intracomm) -> list[Any]:
    action = make_form(form, problem, comm)
    u, d = random_control(action, 1), random_control(action, 2)
    g, h, r, s = (action.create() for _ in range(4))
    value = action.gradient(u, g)
    assert action.value(u) == pytest.approx(value, rel=1e-14)
    action.hessian(u, d, h)
    action.metric.apply(d, r)
    action.metric.solve(r, s)
    return [np.array(value), *(_gathered(v) for v in (u, g, h, r, s))]


def _compare(form: str, problem: WeakProblem) -> None:
    for mine, alone in zip(
        _products(form, problem, WORLD), _products(form, problem, MPI.COMM_SELF), strict=True
    ):
        np.testing.assert_allclose(mine, alone, rtol=1e-9, atol=1e-12 * np.abs(alone).max())


@all_forms
@all_options
def test_values_and_derivatives_are_those_of_one_rank(form: str, options: dict[str, Any]) -> None:
    _compare(form, twin(cells=7, depth=0.3, **options)[0])


@pytest.mark.parametrize("form", ["state", "saddle"])
@pytest.mark.parametrize("conditions", [CLOSED, CLAMPED], ids=["closed", "clamped"])
def test_ends_on_different_ranks(form: str, conditions: EndConditions) -> None:
    _compare(form, twin(cells=7, depth=0.3, conditions=conditions)[0])


@all_forms
@pytest.mark.parametrize(
    ("key", "linear"), [("midpoint", "mumps"), ("gauss2-varying", "depth"), ("background", "depth")]
)
def test_solves_make_the_same_steps(form: str, key: str, linear: str) -> None:
    problem, x, w = twin(cells=8, **OPTIONS[key])
    results = []
    for comm in (WORLD, MPI.COMM_SELF):
        action = make_form(form, problem, comm)
        u = action.pack(x, w)
        outcome = solve(action, u, linear=linear)
        assert outcome.converged and outcome.index == 0
        assert len(set(WORLD.allgather((outcome.iterations, outcome.action)))) == 1
        results.append((outcome, action.unpack(u)))
    (one, mine), (two, alone) = results
    assert (one.iterations, one.linear) == (two.iterations, two.linear)
    assert one.action == pytest.approx(two.action, rel=1e-12)
    for a, b in zip(mine[:2], alone[:2], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


@pytest.mark.parametrize("linear", ["mumps", "depth"])
def test_closed_and_clamped_paths_are_solved_alike(linear: str) -> None:
    for conditions in (CLOSED, CLAMPED):
        problem, x, w = twin(cells=10, R_f=1.0, conditions=conditions)
        found = []
        for comm in (WORLD, MPI.COMM_SELF):
            action = make_form("saddle", problem, comm)
            u = action.pack(x, w)
            assert solve(action, u, linear=linear).converged
            found.append(action.unpack(u)[0])
        np.testing.assert_allclose(*found, atol=1e-8)


@all_forms
def test_refusals_come_on_all_ranks(form: str) -> None:
    problem, x, w = twin(cells=6)
    blind = WeakProblem(problem.dynamics, problem.transcription, problem.mesh, None, 1.0)
    action = make_form(form, blind)
    with pytest.raises(InputError, match="singular"):
        solve(action, action.pack(x, w))
    WORLD.Barrier()
    outside = Observations(np.array([9.0]), np.ones((1, 5)))
    with pytest.raises(InputError, match="observe inside"):
        make_form(
            form, WeakProblem(problem.dynamics, problem.transcription, problem.mesh, outside, 1.0)
        )
    WORLD.Barrier()


def test_more_ranks_than_cells_are_refused() -> None:
    problem, *_ = twin(cells=1)
    if WORLD.size == 1:
        make_form("state", problem)
    else:
        with pytest.raises(InputError, match="at most 1 ranks"):
            make_form("state", problem)
