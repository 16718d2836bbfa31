"""Lowest eigenvalues, Morse index and conjugate points against closed forms and dense algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from problems import Bare, Quadratic, dense, network_action, random_control
from scipy.integrate import solve_ivp

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.action import FormAction
from fem_deepest.action.form.factorisation import Factorisation
from fem_deepest.action.protocol import AssembledAction
from fem_deepest.errors import InputError, NotConverged, NumericalFailure
from fem_deepest.solve.conjugate import conjugate_points
from fem_deepest.solve.eigenvalues import lowest_eigenvalues, morse_index
from fem_deepest.solve.shifted import ShiftedNewton
from fem_deepest.solve.stationary import stationary
from fem_deepest.spaces.constrained import Clamped


def oscillator(
    omega: Any = 8.0, *, degree: int = 1, cells: int = 16, T: float = 1.0
) -> tuple[FormAction, PETSc.Vec]:
    """``1/2 |x'|^2 - 1/2 sum_c omega_c^2 x_c^2`` with clamped ends, at rest; metric ``|x'|^2``."""
    omegas = np.atleast_1d(omega)
    domain = mesh.create_interval(MPI.COMM_SELF, cells, (0.0, T))
    x = fem.Function(fem.functionspace(domain, ("Lagrange", degree, (omegas.size,))), name="x")
    kinetic = 0.5 * ufl.inner(x.dx(0), x.dx(0))
    L = kinetic - sum(0.5 * o**2 * x[c] ** 2 for c, o in enumerate(omegas.tolist()))
    ends = [Clamped(x, "start"), Clamped(x, "end")]
    action = FormAction(L, x, clamped=ends, metric=kinetic)
    return action, action.create()


# Eigenvalues --------------------------------------------------------------------------------------


def test_eigenvalues_of_the_oscillator_in_p1() -> None:
    """``1 - omega^2 m_k/k_k`` with the symbols of the midpoint mass and the stiffness matrix."""
    omega, n = 8.0, 16
    action, u = oscillator(omega, cells=n)
    spectrum = lowest_eigenvalues(action, u, 6)
    c, h = np.cos(np.arange(1, 7) * np.pi / n), 1.0 / n
    exact = 1.0 - omega**2 * h**2 * (1.0 + c) / (4.0 * (1.0 - c))
    np.testing.assert_allclose(spectrum.values, exact, atol=1e-8)
    for value, vector in zip(spectrum.values, spectrum.vectors, strict=True):
        r = action.create()
        action.metric.apply(vector, r)
        assert vector.dot(r) == pytest.approx(1.0, rel=1e-12)
        action.hessian(u, vector, r)
        assert vector.dot(r) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("R_f", [np.inf, 5.0])
def test_eigenvalues_of_a_network_are_those_of_dense_algebra(R_f: float) -> None:
    action = network_action(loss="least_squares", R_f=R_f, neurons=3, cells=2, count=6)
    u = random_control(action, 3)
    hessian, metric = (
        dense(lambda d, r: action.hessian(u, d, r), action),
        dense(action.metric.apply, action),
    )
    exact = scipy.linalg.eigh(0.5 * (hessian + hessian.T), metric, eigvals_only=True)
    spectrum = lowest_eigenvalues(action, u, 5)
    np.testing.assert_allclose(spectrum.values, exact[:5], rtol=1e-8, atol=1e-8)
    for value, error in zip(spectrum.values, spectrum.errors, strict=True):
        # The Hessian products carry rounding beside what the residual sees.
        assert np.abs(exact - value).min() <= error + 1e-13 * np.abs(exact).max()
        assert error < 1e-6 * np.abs(exact).max()


def test_error_bounds_hold_when_the_tolerance_is_loose() -> None:
    action, u = oscillator(3.0, cells=400)
    loose = lowest_eigenvalues(action, u, 1, tolerance=1e-2)
    exact = lowest_eigenvalues(action, u, 3, tolerance=1e-12).values
    assert np.abs(exact - loose.values[0]).min() <= loose.errors[0]
    assert loose.errors[0] > 0.0


def test_eigenvalues_that_are_not_found_are_no_success() -> None:
    random = np.random.default_rng(0)
    action = Quadratic(np.ones(400), random.uniform(1.0, 1e6, 400))
    with pytest.raises(NotConverged, match="allow more"):
        lowest_eigenvalues(action, action.create(), 20, tolerance=1e-13, iterations=1)


@pytest.mark.parametrize("k", range(4))
def test_morse_index_of_the_oscillator(k: int) -> None:
    """``k`` eigenvalues ``1 - omega^2/(j pi)^2`` are negative for ``k pi < omega < (k + 1) pi``."""
    action, u = oscillator((k + 0.5) * np.pi, degree=2, cells=20)
    counted = morse_index(action, u)
    assert isinstance(action, AssembledAction)
    assert counted.certain
    assert (counted.index, counted.undecided) == (k, 0)
    assert counted.lowest == pytest.approx(1.0 - (k + 0.5) ** 2, abs=1e-3)
    assert "Sylvester" in str(counted)
    bare = Bare(action)
    assert not isinstance(bare, AssembledAction)
    seen = morse_index(bare, u, first=1)
    assert not seen.certain
    assert (seen.index, seen.undecided) == (k, 0)
    assert "at least" in str(seen)


def test_sylvester_counts_multiple_eigenvalues() -> None:
    action, u = oscillator([8.0] * 3)
    assert morse_index(action, u).index == 6


def test_a_zero_eigenvalue_is_undecided() -> None:
    """At the resonance of the discrete oscillator."""
    n = 8
    c = np.cos(np.pi / n)
    omega = np.sqrt(4.0 * (1.0 - c) / (1.0 + c)) * n
    action, u = oscillator(omega, cells=n)
    index = morse_index(action, u)
    assert (index.index, index.undecided) == (0, 1)
    assert abs(index.lowest) < 1e-9


def test_ritz_values_never_count_too_many() -> None:
    """Also where a Krylov space cannot see all copies of an eigenvalue."""
    c = np.concatenate([[-2.0] * 5, [-1.0] * 3, np.linspace(1.0, 2.0, 30)])
    action = Quadratic(np.arange(1.0, c.size + 1.0), c)
    index = morse_index(action, action.create(), first=2)
    assert 2 <= index.index <= 8
    assert not index.certain
    assert index.lowest == pytest.approx(-2.0, abs=1e-8)


# Conjugate points ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("degree", "order"), [(1, 2), (2, 4)])
def test_jacobi_fields_and_conjugate_points_of_the_oscillator(degree: int, order: int) -> None:
    """``dx(t)/dp(0) = sin(omega t)/omega``: conjugate at ``k pi/omega``, with the order of the method."""
    omega, errors = 8.0, []
    for cells in (20, 40):
        found = conjugate_points(*oscillator(omega, degree=degree, cells=cells))
        field = np.abs(found.determinants - np.sin(omega * found.depths) / omega).max()
        assert found.points.size == 2
        errors.append([field, np.abs(found.points - np.arange(1, 3) * np.pi / omega).max()])
    orders = np.log2(np.array(errors[0]) / np.array(errors[1]))
    np.testing.assert_allclose(orders, order, atol=0.4)
    assert errors[1][1] < {1: 5e-3, 2: 1e-5}[degree]


@pytest.mark.parametrize("T", [0.3, 0.5, 0.9, 1.3, 2.0])
def test_morse_index_theorem(T: float) -> None:
    """As many conjugate points in (0, T) as negative eigenvalues; two components, one double."""
    omegas = [8.0, 8.0, 5.0]
    action, u = oscillator(omegas, degree=2, cells=30, T=T)
    expected = sum(int(o * T / np.pi) for o in omegas)
    found = conjugate_points(action, u)
    assert found.index == morse_index(action, u).index == expected
    exact = np.sort(
        np.concatenate([np.pi / o * np.arange(1, int(o * T / np.pi) + 1) for o in omegas])
    )
    np.testing.assert_allclose(found.points, exact, atol=(T / 30) ** 2 * 4.0)


def test_conjugate_point_of_a_pendulum_is_that_of_the_initial_value_problem() -> None:
    """An extremal that is no equilibrium; the variational equation by another integrator."""
    p0, T = 1.9, 9.0
    flow = solve_ivp(
        lambda _, y: [y[1], -np.sin(y[0]), y[3], -np.cos(y[0]) * y[2]],
        (0.0, T),
        [0.0, p0, 0.0, 1.0],
        rtol=1e-11,
        atol=1e-12,
        dense_output=True,
        events=lambda _, y: y[2],
    )
    exact = [t for t in flow.t_events[0] if t > 1e-3]
    assert len(exact) == 1  # later than pi: a large swing takes longer than a small one
    domain = mesh.create_interval(MPI.COMM_SELF, 60, (0.0, T))
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 2)), name="x")
    x.interpolate(lambda s: flow.sol(s[0])[0])
    ends = [Clamped(x, "start"), Clamped(x, "end")]
    action = FormAction(0.5 * x.dx(0) ** 2 + ufl.cos(x), x, clamped=ends)
    u = action.pack()
    stationary(action, u, tolerance=1e-10)
    found = conjugate_points(action, u)
    # Fourth order: (T/60)^4 = 5e-4, times the sensitivity of a swing near the separatrix.
    np.testing.assert_allclose(found.points, exact, rtol=1e-3)
    assert found.points[0] > np.pi
    field = flow.sol(found.depths)[2]
    np.testing.assert_allclose(found.determinants, field, atol=2e-3 * np.abs(field).max())
    assert morse_index(action, u).index == found.index == 1


def test_conjugate_points_are_refused_or_fail_where_they_are_not_defined() -> None:
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 1)), name="x")
    action = FormAction(x**2, x)
    with pytest.raises(InputError, match="interval"):
        conjugate_points(action, action.create())
    domain = mesh.create_interval(MPI.COMM_SELF, 4, (0.0, 1.0))
    x = fem.Function(fem.functionspace(domain, ("DG", 1)), name="x")
    action = FormAction(x**2, x)
    with pytest.raises(InputError, match="continuous"):
        conjugate_points(action, action.create())
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 1)), name="x")
    action = FormAction(x**2, x, constant=[x])
    with pytest.raises(InputError, match="constants"):
        conjugate_points(action, action.create())
    with pytest.raises(NumericalFailure, match="take more cells"):
        conjugate_points(*oscillator(30.0, degree=2, cells=3))


def test_a_factorisation_that_fails_counts_nothing() -> None:
    """With a megabyte for MUMPS: its inertia would call the indefinite matrix positive."""
    size = 3000
    random = scipy.sparse.random(size, size, 0.003, random_state=0)
    diagonal = np.random.default_rng(0).standard_normal(size)
    whole = (random + random.T + scipy.sparse.diags(diagonal)).tocsr()
    rows = (whole.indptr.astype(np.int32), whole.indices.astype(np.int32), whole.data)
    matrix = PETSc.Mat().createAIJ(whole.shape, csr=rows, comm=PETSc.COMM_SELF)
    options = PETSc.Options()
    options["mat_mumps_icntl_23"] = 1
    try:
        with pytest.raises(NumericalFailure, match="MUMPS"):
            Factorisation(matrix)
    finally:
        options.delValue("mat_mumps_icntl_23")
        matrix.destroy()


def test_a_shift_that_fails_frees_the_factors() -> None:
    """A second variation that no shift makes positive: the factors do not outlive the failure."""

    class Riesz:
        matrix = PETSc.Mat().createAIJ((2, 2), comm=PETSc.COMM_SELF)

    class Saddle:
        metric = Riesz()

        def second_variation(self, u: PETSc.Vec) -> PETSc.Mat:
            return matrix

    matrix = PETSc.Mat().createAIJ((2, 2), comm=PETSc.COMM_SELF)
    for target, values in ((matrix, (1.0, -1.0)), (Riesz.matrix, (0.0, 0.0))):
        for i, value in enumerate(values):
            target[i, i] = value
        target.assemble()
    u = PETSc.Vec().createSeq(2, comm=PETSc.COMM_SELF)
    shifted = ShiftedNewton(Saddle())
    destroyed = []
    free = Factorisation.destroy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Factorisation, "destroy", lambda self: (destroyed.append(self), free(self)))
        with pytest.raises(NumericalFailure, match="start elsewhere"):
            shifted.linearise(u)
    assert len(destroyed) == 1
    shifted.release()  # nothing is left to free
    for thing in (matrix, Riesz.matrix, u):
        thing.destroy()
