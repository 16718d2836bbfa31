"""Square roots of covariances: identities of the factors, and that draws are named, not counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray
from problems import dense, network_action
from test_paths import oscillator
from weak_problems import twin

from fem_deepest.action.form.action import FormAction
from fem_deepest.action.form.cells import FormLoads
from fem_deepest.action.network.states import StateAction
from fem_deepest.action.paths.single import PathAction
from fem_deepest.action.weak.ends import Clamped as Fixed
from fem_deepest.action.weak.ends import EndConditions
from fem_deepest.action.weak.forms import make_form
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.mass import FormMass
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.annealed.root import root_of
from fem_deepest.errors import InputError
from fem_deepest.spaces.constrained import Clamped
from fem_deepest.spaces.semidefinite import factors
from fem_deepest.spaces.tridiagonal import Tridiagonal

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)


def interval(element: Any, cells: int = 5) -> fem.Function:
    domain = mesh.create_interval(MPI.COMM_SELF, cells, (0.0, 1.5))
    domain.geometry.x[:, 0] **= 1.2
    return fem.Function(fem.functionspace(domain, element))


def scalar() -> FormAction:
    x = interval(("Lagrange", 1))
    return FormAction(x**2 + x.dx(0) ** 2, x)


def bridge() -> FormAction:
    """Stiffness alone: every cell matrix is singular."""
    x = interval(("Lagrange", 2, (2,)))
    L = ufl.inner(x.dx(0), x.dx(0))
    ends = [Clamped(x, "start"), Clamped(x, "end", 1)]
    return FormAction(L, x, clamped=ends, metric=0.5 * L)


def periodic() -> FormAction:
    x = interval(("Lagrange", 2))
    return FormAction(x**2 + x.dx(0) ** 2, x, periodic=True)


def mixed() -> FormAction:
    """A vector, a P1 field and a parameter; the end has a term of its own."""
    x = interval(("Lagrange", 2, (2,)))
    domain = x.function_space.mesh
    w, b = (fem.Function(fem.functionspace(domain, ("Lagrange", 1))) for _ in range(2))
    L = ufl.inner(x, x) + ufl.inner(x.dx(0), x.dx(0)) + w**2 + w.dx(0) ** 2 + (b - x[0]) ** 2
    metric = (L + w * b) * ufl.dx + (x[0] + 2 * x[1]) ** 2 * ufl.ds
    return FormAction(L, [x, w, b], constant=[b], metric=metric)


def plane(cell: mesh.CellType, degree: int) -> FormAction:
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 3, cell)
    domain.geometry.x[:, 1] += 0.3 * domain.geometry.x[:, 0] ** 2
    x = fem.Function(fem.functionspace(domain, ("Lagrange", degree)))
    return FormAction(x**2 + ufl.inner(ufl.grad(x), ufl.grad(x)), x, points=degree)


FORMS: dict[str, Callable[[], FormAction]] = {
    "scalar": scalar,
    "bridge": bridge,
    "periodic": periodic,
    "mixed": mixed,
    "triangle": lambda: plane(mesh.CellType.triangle, 2),
    "triangle cubic": lambda: plane(mesh.CellType.triangle, 3),
    "quadrilateral": lambda: plane(mesh.CellType.quadrilateral, 1),
}
PATHS: dict[str, Callable[[], Any]] = {
    "state": lambda: make_form("state", twin(R_f=10.0)[0]),
    "state simpson": lambda: make_form("state", twin("simpson_hermite")[0]),
    "state clamped": lambda: make_form(
        "state", twin(conditions=EndConditions(start=Fixed(np.ones(5))))[0]
    ),
    "state closed": lambda: make_form("state", twin(conditions=EndConditions(periodic=True))[0]),
    "forcing": lambda: make_form("forcing", twin()[0]),
}
OTHERS: dict[str, Callable[[], Any]] = {
    "network": lambda: network_action(lift="linear", scheme_name="rk2"),
    "network soft": lambda: network_action(R_f=3.0, R_0=5.0, index="interval"),
    "states": lambda: StateAction(network_action(R_f=3.0, lift="linear", scheme_name="midpoint")),
    "states one cell": lambda: StateAction(network_action(R_f=3.0, cells=1)),
    "states soft": lambda: StateAction(network_action(R_f=3.0, R_0=5.0, index="interval")),
    "path": lambda: PathAction(oscillator("midpoint", False), 2.0),
    "path varying": lambda: PathAction(oscillator("midpoint", True), 2.0),
}
ALL = FORMS | PATHS | OTHERS


@pytest.mark.parametrize("name", ALL)
def test_root_of_every_metric(name: str) -> None:
    """``R R^T P = 1``."""
    action = ALL[name]()
    root, P = root_of(action, action.create()), dense(action.metric.apply, action)
    R = root(np.eye(root.keys.size * root.width))
    condition = np.linalg.cond(P)
    assert root.keys.size == np.unique(root.keys).size
    np.testing.assert_allclose(R @ R.T @ P, np.eye(len(P)), atol=20 * EPS * condition * len(P))
    assert np.abs(R @ R.T @ P - np.eye(len(P))).max() < 1e-7  # else the condition says it all


@pytest.mark.parametrize("name", FORMS | PATHS)
def test_loads_have_the_precision(name: str) -> None:
    """``B B^T = P`` to rounding, singular cells or not."""
    action = ALL[name]()
    loads, P = action.metric.root.loads, dense(action.metric.apply, action)
    B = loads(np.eye(loads.keys.size * loads.width))
    np.testing.assert_allclose(B @ B.T, P, atol=100 * EPS * np.abs(P).max())


@pytest.mark.parametrize("name", FORMS)
def test_white_noise_has_the_mass(name: str) -> None:
    """``B B^T = M``, and ``M + a P`` is solved."""
    action = FORMS[name]()
    mass = FormMass(action)
    P = dense(action.metric.apply, action)
    M = dense(lambda d, r: mass.matrix.mult(d, r), action)
    loads = FormLoads(
        0.5 * ufl.inner(action.field, action.field) * ufl.dx, action.field, action.space
    )
    B = loads(np.eye(loads.keys.size * loads.width))
    np.testing.assert_allclose(B @ B.T, M, atol=100 * EPS * np.abs(M).max())
    r = np.random.default_rng(0).standard_normal((len(P), 2))
    np.testing.assert_allclose(mass.solve(r), np.linalg.solve(M, r), rtol=1e-9)
    shifted = np.linalg.solve(M + 0.3 * P, r)
    np.testing.assert_allclose(mass.shifted(0.3)(r), shifted, rtol=1e-8)


@pytest.mark.parametrize("varying", [False, True], ids=["constant", "varying"])
def test_paths_in_one_block(varying: bool) -> None:
    """Products, solutions, roots and mass of all columns at once."""
    paths = oscillator("midpoint", varying)
    landscape, single = PathsLandscape(paths, 2.0), PathAction(paths, 2.0)
    P, n = dense(single.metric.apply, single), paths.size
    np.testing.assert_allclose(landscape.apply(np.eye(n)), P, rtol=1e-14)
    np.testing.assert_allclose(landscape.solve(P), np.eye(n), atol=1e-11)
    mass, I = landscape.metric.with_mass(0.0), np.eye(n)
    L, M = mass.load(I), mass.product(I)
    np.testing.assert_allclose(L @ L.T, M, atol=1e-15)
    np.testing.assert_allclose(landscape.metric.with_mass(0.7).product(I), M + 0.7 * P, rtol=1e-13)
    np.testing.assert_allclose(landscape.mass().solve(M), I, atol=1e-11)
    bad = P.copy()
    bad[:, 1] = np.nan  # has no say in the other columns
    np.testing.assert_array_equal(
        np.delete(landscape.solve(bad), 1, axis=1), np.delete(landscape.solve(P), 1, axis=1)
    )
    x = M[: paths.shapes[0][0] * paths.shapes[0][1]].sum()
    T = paths.defects.nodes[-1] - paths.defects.nodes[0]
    np.testing.assert_allclose(x, T * paths.shapes[0][1])


def test_a_draw_is_a_function_of_its_names() -> None:
    """Column, step, stream and seed; not the other columns."""
    landscape = ActionLandscape(mixed())
    both = landscape.draw(3, 7, [2, 9], 1)
    for column, number in enumerate([2, 9]):
        np.testing.assert_array_equal(landscape.draw(3, 7, [number], 1)[:, 0], both[:, column])
    for other in ((4, 7, [2], 1), (3, 8, [2], 1), (3, 7, [3], 1), (3, 7, [2], 0)):
        assert np.abs(landscape.draw(*other)[:, 0] - both[:, 0]).min() > 0.0


@pytest.mark.parametrize("name", ["mixed", "network soft", "state"])
def test_covariance_of_draws(name: str) -> None:
    """Of ``<c, u>``: ``S`` times its mean square is chi squared, here within 5 standard deviations."""
    action = ALL[name]()
    landscape, many = ActionLandscape(action), 400
    u = landscape.draw(0, 0, range(many))
    c = np.random.default_rng(1).standard_normal((landscape.rows, 1))
    exact = landscape.inner(c, landscape.solve(c))[0]
    seen = float(np.mean((c.T @ u) ** 2))
    assert abs(seen / exact - 1.0) < 5 * np.sqrt(2 / many)
    assert abs((c.T @ u).mean()) < 5 * np.sqrt(exact / many)


def test_facets_inside_need_one_rank() -> None:
    """A metric that couples cells has a banded root instead."""
    x = interval(("Lagrange", 1))
    L = x**2 + x.dx(0) ** 2
    action = FormAction(L, x, metric=L * ufl.dx + ufl.avg(x) ** 2 * ufl.dS)
    assert action.metric.root is None
    P = dense(action.metric.apply, action)
    R = root_of(action, action.create())(np.eye(len(P)))
    np.testing.assert_allclose(R @ R.T @ P, np.eye(len(P)), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_tridiagonal_matrices(n: int) -> None:
    """``L L^T = A``, ``R R^T = A^{-1}``, also of a single entry; an indefinite one is refused."""
    diagonal, off = np.linspace(2.0, 3.0, n), np.linspace(-1.0, 0.5, n)[: n - 1]
    A = Tridiagonal(diagonal, off)
    dense = np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
    one = np.eye(n)
    L, R = A.root(one), A.inverse_root(one)
    for got, exact in (
        (A.apply(one), dense),
        (A.solve(one), np.linalg.inv(dense)),
        (L @ L.T, dense),
        (R @ R.T, np.linalg.inv(dense)),
    ):
        np.testing.assert_allclose(got, exact, atol=20 * EPS * np.linalg.cond(dense))
    with pytest.raises(InputError, match="positive definite"):
        Tridiagonal(diagonal - 4.0, off)


def test_semidefinite_factors() -> None:
    """Of any rank; what is indefinite is refused."""
    random = np.random.default_rng(0)
    for rank in range(5):
        half = random.standard_normal((3, 4, rank))
        A = half @ np.swapaxes(half, 1, 2)
        L = factors(A)
        np.testing.assert_array_equal(L, np.tril(L))
        np.testing.assert_allclose(L @ np.swapaxes(L, 1, 2), A, atol=1e-13)
    with pytest.raises(InputError, match="sum of squares"):
        factors(np.diag([1.0, 1.0, -0.1])[None])


def test_saddle_form_is_refused() -> None:
    with pytest.raises(InputError, match="forcing form"):
        ActionLandscape(make_form("saddle", twin()[0]))
