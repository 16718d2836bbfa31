"""Cyclic reduction in depth and the assembled matrix against dense linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from numpy.typing import NDArray
from problems import petsc_options, random_control
from weak_problems import twin

from fem_deepest._petsc import PETSc
from fem_deepest.action.paths.prior import WeightPrior
from fem_deepest.action.weak.forms import FORMS, make_form
from fem_deepest.dynamics.transcription import TRANSCRIPTIONS
from fem_deepest.errors import InputError
from fem_deepest.solve.weak.kkt import Condensed, Factor
from fem_deepest.solve.weak.newton import solve
from fem_deepest.solve.weak.reduction import CyclicReduction, Eliminated
from fem_deepest.spaces import ldl
from fem_deepest.spaces.assembly import CellMatrix
from fem_deepest.spaces.path import PathSpace

Array = NDArray[np.float64]


def _space(cells: int, duals: int, *, varying: bool = False, closed: bool = False) -> PathSpace:
    """Two states, one parameter; clamped in one component at the start of an open path."""
    free = np.ones((cells * max(duals, 1) + 1, 2), dtype=bool)
    free[0, 0] = closed
    return PathSpace(
        MPI.COMM_SELF,
        cells,
        max(duals, 1) + 1,
        2,
        1,
        varying=varying,
        free=free,
        duals=np.ones((duals, 2), dtype=bool),
        closed=closed,
    )


def _dense(space: PathSpace, cells: Array) -> Array:
    out = np.zeros((space.size, space.size))
    for numbers, matrix in zip(space.cell_numbers, cells, strict=True):
        for i, a in zip(numbers, matrix, strict=True):
            for j, value in zip(numbers, a, strict=True):
                if i >= 0 and j >= 0:
                    out[i, j] += value
    return out


def _cells(space: PathSpace, duals: int, compliance: float, known: float) -> Array:
    """Random saddle-shaped cell matrices, ``[W J^T; J -Q]``."""
    n, size = space.cell_numbers.shape
    random = np.random.default_rng(n)
    cells = np.zeros((n, size, size))
    cut = size - 2 * duals
    root = random.standard_normal((n, cut, cut))
    cells[:, :cut, :cut] = known * root @ np.swapaxes(root, 1, 2)
    if duals:
        rows = random.standard_normal((n, 2 * duals, cut))
        cells[:, cut:, :cut], cells[:, :cut, cut:] = rows, np.swapaxes(rows, 1, 2)
        i = np.arange(cut, size)
        cells[:, i, i] = -compliance
    return cells


@pytest.mark.parametrize("duals", [0, 1, 2])
@pytest.mark.parametrize("varying", [False, True], ids=["constant", "varying"])
@pytest.mark.parametrize(
    ("cells", "closed"), [(n, False) for n in (1, 2, 5, 8, 13)] + [(n, True) for n in (3, 8, 13)]
)
def test_reduction_is_the_inverse(cells: int, duals: int, varying: bool, closed: bool) -> None:
    space = _space(cells, duals, varying=varying, closed=closed)
    matrices = _cells(space, duals, 0.7, 1.0)
    dense = _dense(space, matrices)
    reduction = CyclicReduction(space)
    assert reduction.update(matrices) == np.count_nonzero(np.linalg.eigvalsh(dense) < 0.0)
    r, z = space.create(), space.create()
    r.array[...] = np.random.default_rng(3).standard_normal(space.size)
    reduction.apply(None, r, z)
    expected = np.linalg.solve(dense, r.array)
    condition = np.linalg.cond(dense)
    np.testing.assert_allclose(z.array, expected, atol=1e-13 * condition * np.abs(expected).max())


@pytest.mark.parametrize("duals", [1, 2])
def test_reduction_needs_neither_compliance_nor_knowledge(duals: int) -> None:
    """``Q = 0``, and ``W = 0`` in all cells but the first and the last."""
    space = _space(7, duals)
    matrices = _cells(space, duals, 0.0, 1.0)
    cut = matrices.shape[1] - 2 * duals
    matrices[1:-1, :cut, :cut] = 0.0
    dense = _dense(space, matrices)
    reduction = CyclicReduction(space)
    assert reduction.update(matrices) == np.count_nonzero(np.linalg.eigvalsh(dense) < 0.0)
    r, z = space.create(), space.create()
    r.array[...] = np.random.default_rng(3).standard_normal(space.size)
    reduction.apply(None, r, z)
    scale = np.abs(dense) @ np.abs(z.array)
    assert (np.abs(dense @ z.array - r.array) <= 1e-9 * scale).all()


def test_elimination_is_the_schur_complement() -> None:
    random = np.random.default_rng(0)
    matrices = random.standard_normal((4, 6, 6))
    matrices += np.swapaxes(matrices, 1, 2)
    matrices[:, :2] *= 1e6  # badly scaled rows and columns
    matrices[:, :, :2] *= 1e6
    part = Eliminated(matrices, 2)
    expected = matrices[:, 2:, 2:] - matrices[:, 2:, :2] @ np.linalg.solve(
        matrices[:, :2, :2], matrices[:, :2, 2:]
    )
    np.testing.assert_allclose(part.schur, expected, rtol=1e-9, atol=1e-9)
    rhs = random.standard_normal((4, 6))
    reduced, kept = part.forward(rhs)
    solution = part.back(np.linalg.solve(part.schur, reduced[..., None])[..., 0], kept)
    np.testing.assert_allclose((matrices @ solution[..., None])[..., 0], rhs, atol=1e-8)


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
def test_assembled_matrix_is_the_sum_of_the_cells(closed: bool) -> None:
    space = _space(6, 2, closed=closed)
    matrix = CellMatrix(space)
    for seed in (1, 2):  # refilled, not added to
        cells = seed * _cells(space, 2, 0.3, 1.0)
        matrix.assemble(cells)
        got = matrix.mat.getValues(range(space.size), range(space.size))
        np.testing.assert_allclose(got, _dense(space, cells), atol=1e-14)
    assert matrix.mat.getInfo()["nz_used"] < 0.7 * space.size**2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", TRANSCRIPTIONS)
@pytest.mark.parametrize("varying", [False, True], ids=["constant", "varying"])
def test_both_linear_solvers_make_the_same_steps(form: str, name: str, varying: bool) -> None:
    prior = WeightPrior(1.0, 8.0) if varying else None
    problem, x, w = twin(name, varying=varying, prior=prior, cells=7)
    results = []
    for linear in ("mumps", "depth"):
        action = make_form(form, problem)
        u = action.pack(x, w)
        outcome = solve(action, u, linear=linear)
        assert outcome.converged and outcome.index == 0
        results.append((outcome, action.unpack(u)))
    (one, direct), (two, krylov) = results
    assert one.iterations == two.iterations
    assert two.linear <= 2 * two.iterations  # the preconditioner is the inverse, to rounding
    assert two.action == pytest.approx(one.action, rel=1e-11)
    np.testing.assert_allclose(krylov[0], direct[0], atol=1e-7)


def test_petsc_options_are_obeyed() -> None:
    problem, x, w = twin()
    action = make_form("saddle", problem)
    with petsc_options(snes_max_it=2, ksp_type="fgmres", ksp_rtol=1e-3):
        u = action.pack(x, w)
        outcome = solve(action, u, linear="depth")
    assert (outcome.converged, outcome.iterations) == (False, 2)
    with petsc_options(snes_rtol=1e-2):
        outcome = solve(action, action.pack(x, w))
    assert (outcome.converged, outcome.reason) == (True, "converged_fnorm_relative")
    # Another factorisation, which knows no inertia.
    with petsc_options(pc_type="lu", pc_factor_mat_solver_type="superlu_dist"):
        outcome = solve(action, action.pack(x, w))
        assert outcome.converged and outcome.index is None
    with petsc_options(kkt_pc_type="lu", kkt_pc_factor_mat_solver_type="superlu_dist"):
        forcing = make_form("forcing", problem)
        other = solve(forcing, forcing.pack(x, w))
        assert other.converged and other.action == pytest.approx(outcome.action, rel=1e-10)
    # PETSc's own factorisation does not pivot: a zero on the diagonal is no success.
    with petsc_options(pc_type="lu"):
        outcome = solve(action, action.pack(x, w))
        assert (outcome.converged, outcome.reason) == (False, "diverged_linear_solve")


def test_unknown_linear_solver_is_refused() -> None:
    problem, x, w = twin()
    action = make_form("state", problem)
    with pytest.raises(InputError, match="'mumps' or 'depth'"):
        solve(action, action.pack(x, w), linear="lu")


@pytest.mark.parametrize("linear", ["mumps", "depth"])
def test_newton_systems_of_the_forcing_form(linear: str) -> None:
    """The condensed KKT solve is the inverse of the Hessian, also away from a solution."""
    precision = np.array([50.0, np.inf, 80.0, 20.0, 60.0])
    problem, x, w = twin("gauss2", R_f=precision, cells=6)
    action: Any = make_form("forcing", problem)
    u = action.pack(x, w)
    factor = Factor(action.saddle.space, PETSc.KSP().create(action.comm), linear)
    factor.update(action.elements(u))
    inverse = Condensed(action, factor)
    d, r, back = random_control(action, 1), action.create(), action.create()
    action.hessian(u, d, r)
    inverse.apply(None, r, back)
    np.testing.assert_allclose(back.array, d.array, atol=1e-8)


def test_factorisation_that_wants_more_room_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """MUMPS's own guess of the room is too small here; without a second try that is no success."""
    problem, x, w = twin(cells=60, depth=3.0)
    action = make_form("saddle", problem)
    outcomes = []
    for room in ((50, 500), (0, 500), (0,)):
        monkeypatch.setattr(ldl, "_ROOM", room)
        outcomes.append(solve(action, action.pack(x, w)))
    enough, more, short = outcomes
    assert enough.converged and more.converged
    assert more.action == pytest.approx(enough.action, rel=1e-11)
    assert (short.converged, short.reason, short.index) == (False, "diverged_linear_solve", None)
