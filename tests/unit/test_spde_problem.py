"""The terms of a semilinear SPDE on blocks are the assembled forms; wrong equations are refused."""

from __future__ import annotations

import numpy as np
import pytest
import spde_problems as sp
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.noise.finite_rank import FiniteRank, scalar_noise
from fem_deepest.spde.problem import SemilinearSPDE

CELLS = {
    "interval": lambda: mesh.create_unit_interval(MPI.COMM_SELF, 5),
    "triangle": lambda: mesh.create_unit_square(MPI.COMM_SELF, 3, 2),
    "quadrilateral": lambda: mesh.create_unit_square(
        MPI.COMM_SELF, 2, 3, mesh.CellType.quadrilateral
    ),
    "tetrahedron": lambda: mesh.create_unit_cube(MPI.COMM_SELF, 1, 2, 1),
}


def _block(V, samples=3):
    return np.random.default_rng(1).standard_normal((V.dofmap.index_map.size_local, samples))


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("cell", list(CELLS))
def test_terms_are_the_assembled_forms(cell: str, degree: int) -> None:
    domain = CELLS[cell]()
    V = fem.functionspace(domain, ("Lagrange", degree))
    x = ufl.SpatialCoordinate(domain)
    c = fem.Constant(domain, 0.7)
    other = fem.Function(V)
    other.interpolate(lambda x: 1.0 + x[0])

    def f(u):
        return c * u**3 + ufl.grad(u)[0] * u * x[0] + other * u

    problem = SemilinearSPDE(V, A=sp.laplace(V), f=f)
    U, w, v = _block(V), fem.Function(V), ufl.TestFunction(V)
    found = problem.reaction(U)
    c.value = 1.4  # read at every evaluation
    doubled = problem.reaction(U)
    for s in range(U.shape[1]):
        w.x.array[:] = U[:, s]
        expected = []
        for value in (0.7, 1.4):
            c.value = value
            form = fem.form(f(w) * v * ufl.dx(metadata={"quadrature_degree": 4 * degree}))
            expected.append(fem.assemble_vector(form).array)
        np.testing.assert_allclose(found[:, s], expected[0], rtol=0, atol=1e-13)
        np.testing.assert_allclose(doubled[:, s], expected[1], rtol=0, atol=1e-13)
        linear = fem.assemble_vector(fem.form(ufl.inner(ufl.grad(w), ufl.grad(v)) * ufl.dx)).array
        np.testing.assert_allclose(problem.linear(U)[:, s], linear, rtol=0, atol=1e-11)


def test_integrals_of_different_rules_are_not_mixed_up() -> None:
    """One point suffices for ``c grad u . grad v`` of P1, not for ``c u v``; FFCx 0.9 may mix them up."""
    domain = mesh.create_unit_square(MPI.COMM_SELF, 3, 3)
    V = fem.functionspace(domain, ("Lagrange", 1))
    u, v, c = ufl.TrialFunction(V), ufl.TestFunction(V), fem.Function(V)
    c.interpolate(lambda x: 1.0 + 3.0 * x[0] + x[1] ** 2)
    one = ufl.exp(c) * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx(degree=0)
    other = ufl.exp(c) * u * v * ufl.dx(degree=4)
    edge = 2.0 * c * u * v * ufl.ds
    problem = SemilinearSPDE(V, A=one + other + edge)
    expected = sum(fem.assemble_matrix(fem.form(a)).to_dense() for a in (one, other, edge))
    n = len(expected)
    np.testing.assert_allclose(problem.linear(np.eye(n)), expected, rtol=0, atol=1e-12)
    mass = fem.assemble_matrix(fem.form(u * v * ufl.dx)).to_dense()
    matrix = problem.matrix(2.0, 0.5)  # kept while its array is read
    matrix.convert("dense")
    np.testing.assert_allclose(
        matrix.getDenseArray(), 2.0 * mass + 0.5 * expected, rtol=0, atol=1e-12
    )


def test_a_product_with_a_function_is_the_derivative_of_the_reaction() -> None:
    V = sp.interval(5)
    problem = SemilinearSPDE(V, A=sp.laplace(V), f=lambda u: u**3 - ufl.sin(u))
    U, p = _block(V), _block(V)[:, ::-1]
    first = problem.multiply(problem.slope(U), p)
    errors = []
    for eps in (1e-2, 5e-3, 2.5e-3):
        remainder = problem.reaction(U + eps * p) - problem.reaction(U) - eps * first
        errors.append(np.abs(remainder).max())
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    np.testing.assert_allclose(slopes, 2.0, rtol=0, atol=0.05)


def test_the_load_of_multiplicative_noise() -> None:
    """``int G(u) e phi dbeta`` by DOLFINx, for two samples with different increments."""
    V = sp.interval(6)
    e = sp.sine(V)
    noise = FiniteRank(V, [e], 3)
    problem = SemilinearSPDE(V, A=sp.laplace(V), G=lambda u: 1.0 + 0.5 * u, noise=noise)
    U, dW = _block(V, 2), noise.increment(4, 0.1, (0, 7))
    found = problem.diffusion(U, dW)
    w, v = fem.Function(V), ufl.TestFunction(V)
    for s in range(2):
        w.x.array[:] = U[:, s]
        dx = ufl.dx(metadata={"quadrature_degree": 2})
        form = fem.form((1.0 + 0.5 * w) * e * v * dx)
        expected = fem.assemble_vector(form).array * dW.modes[0, s]
        np.testing.assert_allclose(found[:, s], expected, rtol=0, atol=1e-14)


def test_the_stratonovich_correction_is_half_g_times_its_derivative() -> None:
    """``G = sin(2u) e``: ``1/2 G'G q = sin(2u) cos(2u) e^2``, typed by hand here only."""
    V = sp.interval(6)
    e = sp.sine(V)
    problem = SemilinearSPDE(
        V,
        A=sp.laplace(V),
        G=lambda u: ufl.sin(2.0 * u),
        noise=FiniteRank(V, [e], 3),
        interpretation="stratonovich",
    )
    U, w, v = _block(V, 1), fem.Function(V), ufl.TestFunction(V)
    w.x.array[:] = U[:, 0]
    dx = ufl.dx(metadata={"quadrature_degree": 2})
    form = fem.form(ufl.sin(2.0 * w) * ufl.cos(2.0 * w) * e**2 * v * dx)
    expected = fem.assemble_vector(form).array
    np.testing.assert_allclose(problem.correction(U)[:, 0], expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(problem.drift(U), -problem.correction(U))


def test_coefficients_by_modes_are_the_same_as_one_for_all() -> None:
    V = sp.interval(6)
    modes = [sp.sine(V, 1), sp.sine(V, 2)]
    noise = FiniteRank(V, modes, 3)
    more = {"A": sp.laplace(V), "noise": noise, "interpretation": "stratonovich"}
    one = SemilinearSPDE(V, G=lambda u: ufl.exp(u), **more)
    each = SemilinearSPDE(V, G=[lambda u: ufl.exp(u)] * 2, **more)
    U, dW = _block(V, 2), noise.increment(0, 0.1, (0, 1))
    np.testing.assert_allclose(each.diffusion(U, dW), one.diffusion(U, dW), rtol=0, atol=1e-14)
    np.testing.assert_allclose(each.correction(U), one.correction(U), rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        each.iterated(U, dW, 0.1), one.iterated(U, dW, 0.1), rtol=0, atol=1e-13
    )


def test_dirichlet_rows_are_zero_and_symmetry_is_seen() -> None:
    V = sp.interval(6)
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    problem = SemilinearSPDE(V, A=sp.laplace(V), f=lambda u: u, bcs=[sp.clamped(V, 2.0)])
    U = _block(V)
    for dual in (problem.mass(U), problem.linear(U), problem.reaction(U)):
        assert np.abs(dual[problem.fixed]).max() == 0.0
        assert np.abs(dual).max() > 0.0
    assert problem.symmetric and problem.lifted
    assert set(problem.start()[problem.fixed].ravel()) == {2.0}
    assert not SemilinearSPDE(V, A=sp.laplace(V) + u.dx(0) * v * ufl.dx).symmetric


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"interpretation": "backward"}, "expected 'ito' or 'stratonovich'"),
        ({"G": lambda u: u, "noise": None}, "without noise"),
        ({"G": lambda u: ufl.grad(u)[0]}, "derivative of u"),
        ({"G": lambda u: ufl.grad(u)}, "expected a scalar"),
        ({"f": lambda u: ufl.grad(u)}, "expected a scalar"),
        ({"f": lambda u: ufl.bessel_J(0, u)}, "has no value at the points"),
        ({"G": [lambda u: u, lambda u: u]}, "2 coefficients G were given for noise of 1 modes"),
    ],
)
def test_wrong_equations_are_refused(change, words) -> None:
    V = sp.interval(4)
    arguments = {"A": sp.laplace(V), "noise": scalar_noise(V, 1), **change}
    with pytest.raises(InputError, match=words):
        SemilinearSPDE(V, **arguments)


def test_a_form_of_another_space_is_refused() -> None:
    V, other = sp.interval(4), sp.interval(4)
    with pytest.raises(InputError, match="not a bilinear form on V"):
        SemilinearSPDE(V, A=sp.laplace(other))
    with pytest.raises(InputError, match="not a bilinear form on V"):
        SemilinearSPDE(V, A=ufl.TestFunction(V) * ufl.dx)
