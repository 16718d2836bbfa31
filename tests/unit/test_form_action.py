"""Actions in UFL against closed forms, Gauss methods in plain NumPy, and the action of a network."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray
from problems import PRECISION, Bare, dense, network_action, petsc_options, random_control

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.action import Ends, FormAction
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.errors import InputError, NotConverged, NumericalFailure
from fem_deepest.solve.eigenvalues import morse_index
from fem_deepest.solve.newton import polish
from fem_deepest.solve.stationary import stationary
from fem_deepest.spaces.axis import DepthAxis
from fem_deepest.spaces.constrained import Clamped

Array = NDArray[np.float64]


def function(
    degree: int = 1, *, cells: int = 8, T: float = 1.0, shape: tuple[int, ...] = (), name: str = "x"
) -> fem.Function:
    """Zero function on a uniform mesh of the depth."""
    domain = mesh.create_interval(MPI.COMM_SELF, cells, (0.0, T))
    return fem.Function(fem.functionspace(domain, ("Lagrange", degree, shape)), name=name)


def sibling(
    x: fem.Function, degree: int, shape: tuple[int, ...] = (), name: str = "w"
) -> fem.Function:
    """Zero function on the mesh of another."""
    space = fem.functionspace(x.function_space.mesh, ("Lagrange", degree, shape))
    return fem.Function(space, name=name)


def at_depth(x: fem.Function) -> tuple[Array, Array]:
    """Depths and values of the dofs of a function, in depth order."""
    t = x.function_space.tabulate_dof_coordinates()[:, 0]
    order = np.argsort(t)
    return t[order], x.x.array.reshape(t.size, -1)[order].squeeze()


def minimiser(action: FormAction) -> PETSc.Vec:
    """Stationary point from the present values of the unknowns; left in the unknowns too."""
    u = action.pack()
    stationary(action, u, tolerance=1e-11)
    action.unpack(u)
    return u


# Closed forms -------------------------------------------------------------------------------------


def _errors(degree: int, cells: int) -> tuple[float, float]:
    """L2 error, and error at the nodes, of ``x'' = c^2 x``, ``x(0) = 1``, ``x'(1) = 0``."""
    c = 3.0
    x = function(degree, cells=cells)
    x.x.array[:] = 1.0
    action = FormAction(0.5 * x.dx(0) ** 2 + 0.5 * c**2 * x**2, x, clamped=[Clamped(x, "start")])
    minimiser(action)
    t = ufl.SpatialCoordinate(x.function_space.mesh)[0]
    exact = ufl.cosh(c * (1.0 - t)) / np.cosh(c)
    square = fem.assemble_scalar(
        fem.form((x - exact) ** 2 * ufl.dx(metadata={"quadrature_degree": 12}))
    )
    depth, values = at_depth(x)
    nodes = np.isclose(depth * cells, np.rint(depth * cells))
    nodal = np.abs(values - np.cosh(c * (1.0 - depth)) / np.cosh(c))[nodes].max()
    return float(np.sqrt(square)), float(nodal)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_orders_of_the_minimiser(degree: int) -> None:
    """``r + 1`` in L2, ``2 r`` at the nodes: the order of the r-stage Gauss method."""
    coarse, fine = _errors(degree, 8), _errors(degree, 16)
    in_l2, at_nodes = np.log2(np.array(coarse) / np.array(fine))
    assert in_l2 == pytest.approx(degree + 1, abs=0.1)
    assert at_nodes == pytest.approx(2 * degree, abs=0.15)
    assert fine[0] < 3e-3 ** (0.6 * degree)


def test_end_conditions_have_their_closed_forms() -> None:
    """``x'' = 0``: straight lines, which the elements hold exactly."""
    x = function(2, cells=4)
    t, _ = at_depth(x)
    kinetic = 0.5 * x.dx(0) ** 2
    # Soft at the start, R/2 (x(0) - 2)^2, and clamped at -1: x(0) solves R (x(0) - 2) = x'.
    R = 3.0
    x.x.array[:] = -1.0
    minimiser(
        FormAction(kinetic, x, ends=(0.5 * R * (x - 2.0) ** 2, None), clamped=[Clamped(x, "end")])
    )
    start = (2.0 * R - 1.0) / (R + 1.0)
    np.testing.assert_allclose(at_depth(x)[1], start - (start + 1.0) * t, atol=1e-11)
    # Background on both sides with different precisions; the momentum -p(0) = p(1) balances.
    minimiser(FormAction(kinetic, x, ends=Ends(0.5 * R * (x - 2.0) ** 2, 0.5 * (x + 1.0) ** 2)))
    slope = -3.0 / (1.0 + 1.0 / R + 1.0)
    np.testing.assert_allclose(at_depth(x)[1], 2.0 + slope / R + slope * t, atol=1e-11)


def test_depth_times_index_has_the_order_of_its_elements() -> None:
    """``-Laplace x = 2 pi^2 sin(pi t) sin(pi s)``: reduced integration in depth loses no order."""
    errors = []
    for cells in (8, 16):
        domain = mesh.create_rectangle(
            MPI.COMM_SELF,
            [[0.0, 0.0], [1.0, 1.0]],
            [cells, cells + 1],
            mesh.CellType.quadrilateral,
        )
        x = fem.Function(fem.functionspace(domain, ("Lagrange", 1)), name="x")
        t, s = ufl.SpatialCoordinate(domain)
        exact = ufl.sin(np.pi * t) * ufl.sin(np.pi * s)
        L = 0.5 * ufl.inner(ufl.grad(x), ufl.grad(x)) - 2.0 * np.pi**2 * exact * x
        minimiser(FormAction(L, x, clamped=[Clamped(x, lambda y: np.full(y.shape[1], True))]))
        errors.append(np.sqrt(fem.assemble_scalar(fem.form((x - exact) ** 2 * ufl.dx))))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)
    assert errors[1] < 5e-3


def test_periodic_ends() -> None:
    """``-x'' + c^2 x = cos(2 pi t)``; without clamping, P1 on a uniform mesh has the exact symbol."""
    n, c = 16, 2.0
    x = function(1, cells=n)
    t = ufl.SpatialCoordinate(x.function_space.mesh)[0]
    terms = (0.5 * c**2 * x**2 - ufl.cos(2 * np.pi * t) * x) * ufl.dx(
        metadata={"quadrature_degree": 30}
    )
    action = FormAction(0.5 * x.dx(0) ** 2, x, terms=terms, periodic=True)
    assert action.create().getSize() == n
    minimiser(action)
    depth, values = at_depth(x)
    # Load, mass and stiffness of the mode cos(2 pi t) in P1, from their Fourier symbols.
    h, angle = 1.0 / n, 2 * np.pi / n
    load = h * (2.0 - 2.0 * np.cos(angle)) / angle**2
    symbol = (2.0 - 2.0 * np.cos(angle)) / h + c**2 * h * (2.0 + np.cos(angle)) / 3.0
    np.testing.assert_allclose(values, load / symbol * np.cos(2 * np.pi * depth), atol=1e-11)
    assert values[0] == values[-1]


@pytest.mark.parametrize("degree", [1, 2])
def test_unknown_constant(degree: int) -> None:
    """``x' = w`` with a rate ``w`` that is one number: ``R_f c = lambda w = R_m (1 - x(1))``."""
    R_f, R_m, strength = 4.0, 3.0, 0.5
    x = function(degree, cells=5)
    w = sibling(x, 1)
    action = FormAction(
        0.5 * R_f * (x.dx(0) - w) ** 2 + 0.5 * strength * w**2,
        (x, w),
        ends=(None, 0.5 * R_m * (x - 1.0) ** 2),
        clamped=[Clamped(x, "start")],
        constant=[w],
    )
    assert action.create().getSize() == 5 * degree + 1
    u = minimiser(action)
    # x(1) = w + c with the misfit's force q: w = q/strength, c = q/R_f, q = R_m (1 - w - c).
    q = R_m / (1.0 + R_m * (1.0 / strength + 1.0 / R_f))
    t, values = at_depth(x)
    np.testing.assert_allclose(w.x.array, q / strength, atol=1e-11)
    np.testing.assert_allclose(values, (q / strength + q / R_f) * t, atol=1e-11)
    # Its metric is that of the function: int 1 dt = 1.
    d, r = action.create(), action.create()
    d.array[-1] = 1.0
    action.metric.apply(d, r)
    assert d.dot(r) == pytest.approx(1.0, rel=1e-12)
    np.testing.assert_allclose(action.pack().array, u.array, atol=1e-14)


def test_terms_of_many_kinds() -> None:
    """A load (no second derivative), a number, and an observation at an inner node, ``x(1/2)``."""
    R, f = 5.0, 3.0
    x = function(1, cells=4)
    middle = mesh.locate_entities(x.function_space.mesh, 0, lambda s: np.isclose(s[0], 0.5))
    tags = mesh.meshtags(x.function_space.mesh, 0, middle, np.full(1, 7, np.int32))
    observed = ufl.Measure("dS", subdomain_data=tags)(7)
    terms = -f * x * ufl.dx(metadata={"quadrature_degree": 1})
    terms += fem.Constant(x.function_space.mesh, 2.0) * ufl.dx
    terms += 0.5 * R * (ufl.avg(x) - 1.0) ** 2 * observed
    ends = [Clamped(x, "start"), Clamped(x, "end")]
    action = FormAction(0.5 * x.dx(0) ** 2, x, clamped=ends, terms=terms)
    u = minimiser(action)
    # x = f t (1 - t)/2 + c * (hat of height 1/4 at 1/2), where -x'' = f - R (x(1/2) - 1) delta.
    c = R * (1.0 - f / 8.0) / (1.0 + R / 4.0)
    t, values = at_depth(x)
    np.testing.assert_allclose(
        values, f * t * (1.0 - t) / 2.0 + c * np.minimum(t, 1.0 - t) / 2.0, atol=1e-11
    )
    g, r = action.create(), action.create()
    assert action.gradient(u, g) == action.value(u)
    d = random_control(action, 3)
    action.hessian(u, d, g)
    action.second_variation(u).mult(d, r)
    np.testing.assert_allclose(g.array, r.array, atol=1e-13)


def test_rules_of_quadrature_do_not_mix() -> None:
    """``x exp(x)`` by the midpoint rule and ``x^2`` exactly: FFCx alone may take one for the other."""
    x = function(1, cells=1)
    x.interpolate(lambda s: s[0])
    action = FormAction(x * ufl.exp(x), x, terms=x**2 * ufl.dx)
    assert action.value(action.pack()) == pytest.approx(0.5 * np.exp(0.5) + 1.0 / 3.0, rel=1e-14)


def test_some_components_clamped_and_others_free() -> None:
    x = function(1, cells=4, shape=(2,))
    x.interpolate(lambda s: np.array([1.0 + s[0], 3.0 - s[0]]))
    L = 0.5 * ufl.inner(x.dx(0), x.dx(0)) + 0.5 * x[1] ** 2
    action = FormAction(L, x, clamped=[Clamped(x, "start", 0), Clamped(x, lambda s: s[0] > 0.9, 0)])
    assert action.create().getSize() == 10 - 2
    minimiser(action)
    t, values = at_depth(x)
    np.testing.assert_allclose(values[:, 0], 1.0 + t, atol=1e-11)
    np.testing.assert_allclose(values[:, 1], 0.0, atol=1e-11)


def _gauss_flow(stages: int, x: float, p: float, h: float, steps: int) -> list[tuple[float, float]]:
    """Pendulum ``x' = p``, ``p' = -sin x`` by the Gauss method, collocation at Legendre points."""
    points, weights = np.polynomial.legendre.leggauss(stages)
    c, b = 0.5 + 0.5 * points, 0.5 * weights
    vander = c[:, None] ** np.arange(stages)
    a = (c[:, None] ** np.arange(1, stages + 1) / np.arange(1, stages + 1)) @ np.linalg.inv(vander)
    path = [(x, p)]
    for _ in range(steps):
        kx, kp = np.full(stages, p), np.full(stages, -np.sin(x))
        for _ in range(60):
            kx, kp = p + h * a @ kp, -np.sin(x + h * a @ kx)
        x, p = x + h * b @ kx, p + h * b @ kp
        path.append((float(x), float(p)))
    return path


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_euler_lagrange_equations_are_the_gauss_method(degree: int) -> None:
    """Clamp both ends on a trajectory of the method: the nodes between are that trajectory."""
    cells, T = 6, 2.0
    path = np.array(_gauss_flow(degree, 0.3, 1.1, T / cells, cells))[:, 0]
    x = function(degree, cells=cells, T=T)
    x.interpolate(lambda s: path[0] + (path[-1] - path[0]) * s[0] / T)
    ends = [Clamped(x, "start"), Clamped(x, "end")]
    minimiser(FormAction(0.5 * x.dx(0) ** 2 + ufl.cos(x), x, clamped=ends))
    t, values = at_depth(x)
    nodes = np.isclose(t * cells / T, np.rint(t * cells / T))
    np.testing.assert_allclose(values[nodes], path, atol=1e-10)


# Laws of the derivatives --------------------------------------------------------------------------


def _two_unknowns(periodic: bool = False, constant: bool = False) -> FormAction:
    """Weak-constraint problem with a state in P2 and a weight in P1, nothing symmetric about it."""
    x = function(2, cells=5, shape=(2,))
    w = sibling(x, 1)
    x.interpolate(lambda s: np.array([np.cos(s[0]), np.sin(s[0])]))
    F = ufl.as_vector([ufl.tanh(w * x[0] + x[1]), ufl.sin(w) - x[0] * x[1]])
    defect = x.dx(0) - F
    return FormAction(
        2.0 * ufl.inner(defect, defect),
        (x, w),
        ends=(None, 0.5 * (x[0] - 1.0) ** 2),
        clamped=[] if periodic else [Clamped(x, "start")],
        periodic=periodic,
        constant=[w] if constant else [],
        terms=0.5 * (w**2 + w.dx(0) ** 2) * ufl.dx,
    )


def _rectangle(cell: mesh.CellType = mesh.CellType.quadrilateral) -> FormAction:
    """Depth x index, local coupling by a derivative in the index."""
    domain = mesh.create_rectangle(MPI.COMM_SELF, [[0.0, 0.0], [1.0, 2.0]], [3, 4], cell)
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 1)), name="x")
    x.interpolate(lambda s: np.cos(s[1]))
    defect = x.dx(0) - ufl.tanh(x.dx(1) + 0.5 * x)
    return FormAction(
        0.5 * defect**2, x, ends=(None, ufl.ln(1.0 + x**2)), clamped=[Clamped(x, "start")]
    )


ACTIONS = {
    "two-unknowns": _two_unknowns,
    "periodic": lambda: _two_unknowns(periodic=True),
    "rectangle": _rectangle,
    "triangles": lambda: _rectangle(mesh.CellType.triangle),
    "constant": lambda: _two_unknowns(constant=True),
}
all_actions = pytest.mark.parametrize("make", ACTIONS.values(), ids=ACTIONS.keys())


@all_actions
def test_taylor_remainders_have_slopes_two_and_three(make: Any) -> None:
    action = make()
    u, d = random_control(action, 1), random_control(action, 2)
    g, r = action.create(), action.create()
    value = action.gradient(u, g)
    assert value == action.value(u)
    action.hessian(u, d, r)
    first, second = [], []
    for eps in (1e-2, 5e-3):
        moved = u.copy()
        moved.axpy(eps, d)
        rest = action.value(moved) - value - eps * g.dot(d)
        first.append(abs(rest))
        second.append(abs(rest - 0.5 * eps**2 * d.dot(r)))
    assert np.log2(first[0] / first[1]) == pytest.approx(2.0, abs=0.05)
    assert np.log2(second[0] / second[1]) == pytest.approx(3.0, abs=0.1)


@all_actions
def test_second_variation_is_symmetric_and_its_matrix_is_the_product(make: Any) -> None:
    action = make()
    u = random_control(action, 1)
    products = dense(lambda d, r: action.hessian(u, d, r), action)
    matrix = dense(action.second_variation(u).mult, action)
    size = np.abs(matrix).max()
    np.testing.assert_allclose(products, matrix, atol=1e-14 * size)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-14 * size)


@all_actions
def test_metric_is_symmetric_positive_and_solved(make: Any) -> None:
    action = make()
    matrix = dense(action.metric.apply, action)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-15)
    low, high = np.linalg.eigvalsh(matrix)[[0, -1]]
    assert low > 0.0
    inverse = dense(action.metric.solve, action)
    np.testing.assert_allclose(matrix @ inverse, np.eye(len(matrix)), atol=1e-14 * high / low)


def test_given_metric_is_the_second_derivative_of_its_energy() -> None:
    """``3/2 x'^2 + 5/2 x^2`` on one P1 cell, clamped at the start: ``3/h + 5 h/3``."""
    x = function(1, cells=1, T=2.0)
    energy = 1.5 * x.dx(0) ** 2 + 2.5 * x**2
    action = FormAction(0.5 * x.dx(0) ** 2, x, clamped=[Clamped(x, "start")], metric=energy)
    assert dense(action.metric.apply, action)[0, 0] == pytest.approx(3.0 / 2.0 + 5.0 * 2.0 / 3.0)


def test_vectors_and_functions_are_the_same() -> None:
    action = _two_unknowns()
    before = [u.x.array.copy() for u in action.unknowns]
    u = action.pack()
    action.unpack(u)
    for unknown, values in zip(action.unknowns, before, strict=True):
        np.testing.assert_allclose(unknown.x.array, values, atol=1e-15)
    v = random_control(action, 5)
    action.unpack(v)
    w = action.pack()
    np.testing.assert_allclose(w.array, v.array, atol=1e-15)


def test_one_function_of_a_mixed_space_is_the_same_as_two_functions() -> None:
    two = _two_unknowns()
    x, w = two.unknowns
    elements = [f.function_space.ufl_element() for f in (x, w)]
    space = fem.functionspace(x.function_space.mesh, basix.ufl.mixed_element(elements))
    both = fem.Function(space, name="both")
    a, b = ufl.split(both)
    F = ufl.as_vector([ufl.tanh(b * a[0] + a[1]), ufl.sin(b) - a[0] * a[1]])
    defect = a.dx(0) - F
    both.x.array[:] = two.field.x.array
    one = FormAction(
        2.0 * ufl.inner(defect, defect),
        both,
        ends=(None, 0.5 * (a[0] - 1.0) ** 2),
        clamped=[Clamped(both, "start", c) for c in (0, 1)],
        terms=0.5 * (b**2 + b.dx(0) ** 2) * ufl.dx,
    )
    g, h = one.create(), two.create()
    u = random_control(two, 4)
    assert one.gradient(u, g) == pytest.approx(two.gradient(u, h), rel=1e-14)
    np.testing.assert_allclose(g.array, h.array, atol=1e-13)
    with pytest.raises(InputError, match=r"component 1 of unknown 'both' does not appear"):
        FormAction(a[0] ** 2 + a.dx(0)[0] ** 2 + b**2, both)


def test_gauss_points_in_depth() -> None:
    """``r`` points take ``t^(2r - 1)`` exactly and ``t^(2r)`` not, on lines and on quadrilaterals."""
    line = mesh.create_interval(MPI.COMM_SELF, 1, (0.0, 1.0))
    rectangle = mesh.create_rectangle(
        MPI.COMM_SELF, [[0.0, 0.0], [1.0, 1.0]], [1, 1], mesh.CellType.quadrilateral
    )
    for domain in (line, rectangle):
        axis, X = DepthAxis(domain), ufl.SpatialCoordinate(domain)
        assert axis.is_product
        for r in (1, 2, 3):
            powers = [
                fem.assemble_scalar(fem.form(X[0] ** k * axis.gauss(r))) for k in range(2 * r + 1)
            ]
            exact = 1.0 / np.arange(1, 2 * r + 2)
            np.testing.assert_allclose(powers[:-1], exact[:-1], rtol=1e-13)
            points, weights = np.polynomial.legendre.leggauss(r)
            assert powers[-1] == pytest.approx(0.5 * weights @ (0.5 + 0.5 * points) ** (2 * r))
            assert abs(powers[-1] - exact[-1]) > 1e-4
    X, measure = ufl.SpatialCoordinate(rectangle), DepthAxis(rectangle).gauss(1)
    assert fem.assemble_scalar(fem.form(X[1] ** 3 * measure)) == pytest.approx(0.25, rel=1e-13)
    triangles = mesh.create_rectangle(MPI.COMM_SELF, [[0.0, 0.0], [1.0, 1.0]], [1, 1])
    assert not DepthAxis(triangles).is_product


# The action of a network --------------------------------------------------------------------------


class _StateForm:
    """The action of a small network with the midpoint rule, in the state form and in UFL.

    The unknowns of the network are ``(theta, xi)``, those of the form ``(x_k, W, b)``; with the input
    clamped, ``xi_i = (x_{i+1} - x_i)/h_i - F((x_i + x_{i+1})/2, theta_{i+1/2})`` maps the second to the
    first. Plain NumPy, complex-safe; its transposed derivative is written out.
    """

    def __init__(self, net: NetworkAction, z: Array, targets: Array, strength: float, kappa: float):
        self.net, self.z = net, z
        depth, self.a = net.network.depth, net.network.leak
        self.h, self.n, self.N, self.K = depth.steps, depth.cells, net.network.index.neurons, len(z)
        domain, N, K = depth.domain, self.N, self.K
        edges = np.cumsum([0, *net.space.tiles])
        self.columns = [slice(a, b) for a, b in pairwise(edges)]
        self.x = [
            fem.Function(fem.functionspace(domain, ("Lagrange", 1, (N,))), name=f"x{k}")
            for k in range(K)
        ]
        self.theta = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (N, N + 1))), name="w")
        for x, start in zip(self.x, z, strict=True):
            x.x.array.reshape(-1, N)[:, : start.size] = start
        W, b = (
            ufl.as_matrix([[self.theta[i, j] for j in range(N)] for i in range(N)]),
            self.theta[:, N],
        )
        L, misfit = 0.0, 0.0
        for x, y in zip(self.x, targets, strict=True):
            inner = ufl.dot(W, x) + b
            F = ufl.as_vector([ufl.tanh(inner[i]) for i in range(N)]) - self.a * x
            L += 0.5 * net.model_precision / K * ufl.inner(x.dx(0) - F, x.dx(0) - F)
            if np.ndim(y):
                misfit += sum(0.5 * PRECISION / K * (x[i] - y[i]) ** 2 for i in range(y.size))
            else:  # cross-entropy of a softmax with two classes
                misfit += (ufl.ln(ufl.exp(x[0]) + ufl.exp(x[1])) - x[int(y)]) / K
        w = self.theta
        prior = 0.5 * strength * (kappa**2 * ufl.inner(w, w) + ufl.inner(w.dx(0), w.dx(0))) * ufl.dx
        self.action = FormAction(
            L,
            (*self.x, w),
            ends=(None, misfit),
            clamped=[Clamped(x, "start") for x in self.x],
            terms=prior,
            points=1,
        )
        self.order = np.argsort(self.x[0].function_space.tabulate_dof_coordinates()[:, 0])

    def get(self, functions: list[Array]) -> tuple[Array, Array]:
        """States (n + 1, N, K) and weights (n + 1, N, N + 1) in depth order, from dof arrays."""
        x = np.stack([f.reshape(-1, self.N)[self.order] for f in functions[:-1]], axis=2)
        return x, functions[-1].reshape(-1, self.N, self.N + 1)[self.order]

    def set(self, x: Array, theta: Array) -> PETSc.Vec:
        """Vector of the form; the start of ``x`` is ignored, it is clamped."""
        for k, f in enumerate(self.x):
            f.x.array.reshape(-1, self.N)[self.order] = x[:, :, k]
        self.theta.x.array.reshape(-1, self.N, self.N + 1)[self.order] = theta
        return self.action.pack()

    def parts(self, x: Array, theta: Array) -> tuple[Array, Array, Array]:
        """``[X; 1]``, ``theta`` and ``tanh`` at the middle of the cells."""
        middle = 0.5 * (x[1:] + x[:-1])
        full = np.concatenate([middle, np.ones_like(middle[:, :1])], axis=1)
        weights = 0.5 * (theta[1:] + theta[:-1])
        return full, weights, np.tanh(weights @ full)

    def forcing(self, x: Array, theta: Array) -> Array:
        """``xi``, shape (n, N, K)."""
        full, _, value = self.parts(x, theta)
        return (x[1:] - x[:-1]) / self.h[:, None, None] - value + self.a * full[:, :-1]

    def pull(self, x: Array, theta: Array, g_theta: Array, g_xi: Array) -> tuple[Array, Array]:
        """Transposed derivative of ``(x, theta) -> (theta, xi)`` applied to a dual vector."""
        full, weights, value = self.parts(x, theta)
        v = (1.0 - value**2) * g_xi
        over = g_xi / self.h[:, None, None]
        middle = 0.5 * (self.a * g_xi - np.swapaxes(weights[:, :, :-1], 1, 2) @ v)
        dx, dtheta = np.zeros_like(x), g_theta.astype(x.dtype, copy=True)
        dx[1:] += over + middle
        dx[:-1] += middle - over
        half = -0.5 * v @ np.swapaxes(full, 1, 2)
        dtheta[1:] += half
        dtheta[:-1] += half
        dx[0] = 0.0  # clamped
        return dx, dtheta

    def control(self, theta: Array, xi: Array) -> PETSc.Vec:
        """Vector of the network."""
        u = self.net.create()
        self.net.space.parameters(u.array_w).theta[...] = theta
        for tile, column in enumerate(self.columns):
            self.net.space.forcing(u.array_w, tile)[1][...] = xi[:, :, column]
        return u

    def split(self, u: PETSc.Vec) -> tuple[Array, Array]:
        """Weights and forcings of a vector of the network."""
        flat, space = u.array_r, self.net.space
        xi = [space.forcing(flat, tile)[1] for tile in range(len(space.tiles))]
        return space.parameters(flat).theta.copy(), np.concatenate(xi, axis=2)


@pytest.mark.parametrize(
    ("leak", "R_f", "loss"),
    [(0.0, 0.5, "least_squares"), (0.3, 20.0, "least_squares"), (0.3, 2.0, "cross_entropy")],
)
def test_agrees_with_the_action_of_a_network(leak: float, R_f: float, loss: str) -> None:
    """Value, gradient and Hessian action to 1e-11, two samples, graded depth, N = 3."""
    random = np.random.default_rng(11)
    z, targets = random.standard_normal((2, 2)), random.standard_normal((2, 2))
    if loss == "cross_entropy":
        targets = np.array([1, 0])
    strength, kappa = 1e-1, 0.7
    net = network_action(
        loss=loss,
        data=(z, targets),
        strength=strength,
        kappa=kappa,
        R_f=R_f,
        scheme_name="midpoint",
        leak=leak,
        lift="pad",
        readout="observed",
        neurons=3,
        inputs=2,
        outputs=2,
    )
    form = _StateForm(net, z, targets, strength, kappa)
    x = 0.7 * random.standard_normal((form.n + 1, 3, 2))
    x[0] = np.concatenate([z.T, np.zeros((1, 2))])
    theta = random.standard_normal((form.n + 1, 3, 4))
    u, g, r = form.set(x, theta), form.action.create(), form.action.create()
    v = form.control(theta, form.forcing(x, theta))
    g_net, r_net = net.create(), net.create()
    value = net.gradient(v, g_net)
    assert form.action.gradient(u, g) == pytest.approx(value, rel=1e-12)
    scale = np.abs(g.array).max()
    g_theta, g_xi = form.split(g_net)
    expected = form.set(*form.pull(x, theta, g_theta, g_xi))
    # `set` writes unknowns, and the clamped start of a dual vector is no part of the vector.
    np.testing.assert_allclose(g.array, expected.array, atol=1e-11 * scale)
    # Hessian: J^T A'' J d + (d/de J(u + e d))^T g, both derivatives by a complex step.
    dx, dtheta = random.standard_normal(x.shape), random.standard_normal(theta.shape)
    dx[0] = 0.0
    d, eps = form.set(dx, dtheta), 1e-30
    moved = x + 1j * eps * dx, theta + 1j * eps * dtheta
    net.hessian(v, form.control(dtheta, form.forcing(*moved).imag / eps), r_net)
    bent = [a.imag / eps for a in form.pull(*moved, g_theta, g_xi)]
    straight = form.pull(x, theta, *form.split(r_net))
    expected = form.set(straight[0] + bent[0], straight[1] + bent[1])
    form.action.hessian(u, d, r)
    scale = np.abs(r.array).max()
    np.testing.assert_allclose(r.array, expected.array, atol=1e-11 * scale)


# Refusals -----------------------------------------------------------------------------------------


def _refusals() -> dict[str, tuple[Any, str]]:
    x = function(1, shape=(2,))
    w = sibling(x, 1)
    norm = ufl.inner(x, x) + ufl.inner(x.dx(0), x.dx(0))
    test = ufl.TestFunction(x.function_space)
    start = [Clamped(x, "start")]
    gap = lambda: FormAction(0.5 * x.dx(0)[0] ** 2 + 0.5 * ufl.inner(x.dx(0), x.dx(0)) - x[0], x)  # noqa: E731
    return {
        "vector": (lambda: FormAction(x, x), r"shape \(2,\), expected a scalar"),
        "free-index": (lambda: FormAction(x[ufl.i], x), "expected a scalar"),
        "end-vector": (
            lambda: FormAction(norm, x, ends=(x, None)),
            "term at the start has the shape",
        ),
        "form": (lambda: FormAction(norm * ufl.dx, x), "without a measure"),
        "text": (lambda: FormAction("x^2", x), "expected UFL"),
        "residual": (lambda: FormAction(ufl.inner(x, test), x), "test or trial function"),
        "absent": (lambda: FormAction(norm, (x, w)), r"unknown 1 \('w'\) does not appear"),
        "absent-component": (
            lambda: FormAction(x[0] ** 2, x),
            "component 1 of unknown 'x' does not appear",
        ),
        "none": (lambda: FormAction(norm, ()), "no unknowns"),
        "twice": (lambda: FormAction(norm, (x, x)), "given twice"),
        "no-ends": (
            lambda: FormAction(0.5 * ufl.inner(x.dx(0), x.dx(0)) + 0.5 * x[0] ** 2, x),
            "no end condition fixes component 1 of unknown 'x'.*singular",
        ),
        "no-ends-with-a-load": (gap, "no end condition fixes component 0"),
        "no-ends-periodic": (
            lambda: FormAction(0.5 * ufl.inner(x.dx(0), x.dx(0)), x, periodic=True),
            "no end condition fixes",
        ),
        "foreign": (
            lambda: FormAction(norm, x, clamped=[Clamped(w, "end")]),
            "not among the unknowns",
        ),
        "where": (lambda: FormAction(norm, x, clamped=[Clamped(x, "left")]), "'left', expected"),
        "nowhere": (
            lambda: FormAction(norm, x, clamped=[Clamped(x, lambda s: s[0] > 5.0)]),
            "no boundary facet",
        ),
        "component": (lambda: FormAction(norm, x, clamped=[Clamped(x, "end", 2)]), "2 components"),
        "constant-foreign": (lambda: FormAction(norm, x, constant=[w]), "add it to them"),
        "constant-clamped": (
            lambda: FormAction(norm, x, clamped=start, constant=[x]),
            "constant and clamped",
        ),
        "metric-cubic": (lambda: FormAction(norm, x, metric=x[0] ** 3), "not quadratic"),
        "metric-linear": (lambda: FormAction(norm, x, metric=x[0]), "no quadratic part"),
        "metric-singular": (
            lambda: FormAction(norm, x, metric=ufl.inner(x.dx(0), x.dx(0))),
            "metric has 0 negative and 2 zero",
        ),
        "metric-negative": (
            lambda: FormAction(norm, x, clamped=start, metric=x[0] ** 2 - x[1] ** 2),
            "metric has 8 negative and 0 zero",
        ),
        "all-clamped": (
            _all_clamped,
            "nothing is left to vary",
        ),
    }


def _all_clamped() -> FormAction:
    x = function(1, cells=1)
    return FormAction(x**2, x, clamped=[Clamped(x, "start"), Clamped(x, "end")])


@pytest.mark.parametrize("name", _refusals())
def test_refused_with_the_reason(name: str) -> None:
    make, reason = _refusals()[name]
    with pytest.raises(InputError, match=reason):
        make()


def test_a_mesh_whose_ends_do_not_match_is_not_periodic() -> None:
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    right = domain.geometry.x[:, 0] > 0.9
    domain.geometry.x[right, 1] **= 2
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    with pytest.raises(InputError, match="does not match"):
        FormAction(x**2, x, periodic=True)


# Newton's method ----------------------------------------------------------------------------------


def test_newton_finds_a_saddle_where_the_action_is_not_bounded_below() -> None:
    """``1/2 x'^2 - 1/2 omega^2 x^2``, ``omega > pi``: one stationary point, a saddle."""
    omega = 4.0
    x = function(3, cells=8)
    x.interpolate(lambda s: s[0])
    L = 0.5 * x.dx(0) ** 2 - 0.5 * omega**2 * x**2
    minimiser(FormAction(L, x, clamped=[Clamped(x, "start"), Clamped(x, "end")]))
    t, values = at_depth(x)
    # The nodes of the cells converge like h^6; those inside like h^4.
    np.testing.assert_allclose(values, np.sin(omega * t) / np.sin(omega), atol=3e-4)


def _bridge(cells: int) -> FormAction:
    """Double well held at zero on both sides, ``mu = 20``: zero is a saddle, two minima."""
    x = function(2, cells=cells)
    ends = [Clamped(x, "start"), Clamped(x, "end")]
    return FormAction(0.5 * x.dx(0) ** 2 + 5.0 * (1.0 - x**2) ** 2, x, clamped=ends)


def _small(action: FormAction, height: float) -> PETSc.Vec:
    x = action.unknowns[0]
    x.interpolate(lambda s: height * np.sin(np.pi * s[0]))
    u = action.pack()
    x.x.array[:] = 0.0
    return u


def test_stationary_takes_the_saddle_and_polish_the_minimum() -> None:
    action = _bridge(16)
    u = _small(action, 0.05)
    stationary(action, u, tolerance=1e-10)
    assert u.norm() < 1e-9
    for seen in (action, Bare(action)):
        u = _small(action, 0.05)
        outcome = polish(seen, u, tolerance=1e-9, iterations=50)
        assert outcome.converged
        assert outcome.iterations <= 15
        assert u.max()[1] > 0.7
        assert action.value(u) < action.value(action.create()) - 0.1


def test_newton_for_minima_follows_a_ladder_of_model_precisions() -> None:
    """State and weight of a small network, R_f = 1, 10, ..., 1e6: one compilation, few steps each.

    The action rises with R_f, and the model error falls like 1/R_f^2 at the end.
    """
    x = function(1, cells=32, shape=(2,))
    w = sibling(x, 1)
    x.interpolate(lambda s: np.array([np.ones_like(s[0]), np.zeros_like(s[0])]))
    w.x.array[:] = 0.3
    R_f = fem.Constant(x.function_space.mesh, 1.0)
    defect = x.dx(0) - ufl.as_vector([ufl.tanh(w * x[1]), ufl.tanh(x[0] - w)])
    action = FormAction(
        0.5 * R_f * ufl.inner(defect, defect),
        (x, w),
        ends=(None, 5.0 * (x[0] - 1.6) ** 2),
        clamped=[Clamped(x, "start")],
        terms=0.05 * (w**2 + w.dx(0) ** 2) * ufl.dx,
    )
    error = fem.form(ufl.inner(defect, defect) * ufl.dx(metadata={"quadrature_degree": 1}))
    u, actions, errors = action.pack(), [], []
    for rung in range(7):
        R_f.value = 10.0**rung
        outcome = polish(action, u, tolerance=1e-7, iterations=40)
        assert outcome.converged
        assert outcome.iterations <= 15
        index = morse_index(action, u)
        assert (index.index, index.certain) == (0, True)
        action.unpack(u)
        actions.append(action.value(u))
        errors.append(fem.assemble_scalar(error))
    assert np.all(np.diff(actions) > 0.0)
    assert errors[-2] / errors[-1] == pytest.approx(100.0, rel=0.05)


def test_newton_without_a_matrix_makes_the_same_steps() -> None:
    """MINRES in the metric against ``L D L^T``."""
    points, steps = [], []
    for free in (False, True):
        action = _bridge(16)
        u = _small(action, 0.8)
        seen = action if not free else Bare(action)
        outcome = stationary(seen, u, tolerance=1e-10)
        assert outcome.converged
        points.append(u.array.copy())
        steps.append(outcome.iterations)
    np.testing.assert_allclose(points[0], points[1], atol=1e-8)
    assert abs(steps[0] - steps[1]) <= 2


def test_newton_steps_do_not_depend_on_the_mesh() -> None:
    steps = []
    for cells in (8, 32, 128, 512):
        action = _bridge(cells)
        u = _small(action, 0.8)
        steps.append(stationary(action, u, tolerance=1e-9).iterations)
    assert max(steps) - min(steps) <= 1


def test_options_of_petsc_are_obeyed_and_none_left_behind() -> None:
    action = _bridge(8)
    u = _small(action, 0.8)
    with petsc_options(snes_linesearch_type="bt", snes_linesearch_max_it=3):
        assert stationary(action, u, tolerance=1e-9).converged
        assert PETSc.Options()["snes_linesearch_type"] == "bt"
    names = PETSc.Options().getAll()
    assert [name for name in names if name.startswith(("snes", "ksp"))] == []


def test_singular_second_variation_is_reported_and_the_iterate_kept() -> None:
    """A shift of both components together is fixed by nothing; it cannot be seen componentwise."""
    x = function(1, shape=(2,))
    x.interpolate(lambda s: np.array([s[0], s[0] ** 2]))
    L = 0.5 * ufl.inner(x.dx(0), x.dx(0)) + 0.5 * (x[0] - x[1]) ** 2
    action = FormAction(L, x)
    u = action.pack()
    start = u.array.copy()
    with pytest.raises(NotConverged, match="singular: 1 of its 18") as error:
        stationary(action, u, tolerance=1e-10)
    assert error.value.exit_code == 3
    np.testing.assert_array_equal(u.array, start)


def test_newton_that_does_not_converge_keeps_the_last_iterate() -> None:
    x = function(1)
    action = FormAction(
        0.5 * x.dx(0) ** 2 - 4.0 * ufl.exp(x), x, clamped=[Clamped(x, e) for e in ("start", "end")]
    )
    u, g = action.pack(), action.create()
    seen = []
    with pytest.raises(NotConverged) as error:  # beyond the fold of the Bratu problem
        stationary(action, u, tolerance=1e-9, monitor=lambda i: seen.append(i.u.array.copy()))
    assert error.value.exit_code == 3
    assert len(seen) > 2
    np.testing.assert_array_equal(u.array, seen[-1])
    assert np.isfinite(action.gradient(u, g))


def test_an_action_that_is_no_number_is_a_failure() -> None:
    x = function(1)
    action = FormAction(0.5 * x.dx(0) ** 2 + ufl.ln(x), x, clamped=[Clamped(x, "start")])
    with pytest.raises(NumericalFailure, match="not finite"):
        stationary(action, action.create(), tolerance=1e-9)
