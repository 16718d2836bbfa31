"""The tensor-product H1 precision against matrices assembled in three dimensions, and dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray
from problems import p1
from scipy import sparse

from fem_deepest import _compat
from fem_deepest.spaces import NeuronSpace
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.separable import SeparablePrecision
from fem_deepest.spaces.sparse_precision import SparsePrecision

Array = NDArray[np.float64]

LAMBDA, KAPPA, ELL = 0.3, 1.7, 0.4
DEPTH = np.array([0.0, 0.1, 0.35, 0.9, 1.5])
ONE, OTHER = np.array([0.0, 0.2, 0.5, 0.7, 1.0]), np.array([0.0, 0.3, 0.45, 0.6, 1.1, 1.3])
EPS = np.finfo(np.float64).eps


def _factor(nodes: Array, lumped: bool = False) -> Factor:
    mass, stiffness = (sparse.csr_matrix(m) for m in p1(nodes))
    return Factor(np.asarray(mass.sum(axis=1)).ravel(), lambda: stiffness, None if lumped else mass)


def _precision(
    rows: Factor,
    columns: Factor,
    ell: float = ELL,
    kind: type[SeparablePrecision] = SeparablePrecision,
) -> SeparablePrecision:
    mass, stiffness = p1(DEPTH)
    A, B = LAMBDA * (KAPPA**2 * mass + stiffness), LAMBDA * ell**2 * mass
    bands = [(np.diag(m).copy(), np.diag(m, 1).copy()) for m in (A, B)]
    return kind(bands[0], bands[1] if ell else None, rows, columns)


def _box(*axes: Array) -> tuple[fem.FunctionSpace, NDArray[np.int64]]:
    """Q1 on a box with these nodes along its axes, and the dofs as an array over the nodes."""
    cells = [axis.size - 1 for axis in axes]
    domain = mesh.create_box(
        MPI.COMM_SELF, [np.zeros(3), np.array(cells, float)], cells, mesh.CellType.hexahedron
    )
    V = fem.functionspace(domain, ("Lagrange", 1))
    places = np.rint(V.tabulate_dof_coordinates()).astype(np.int64)
    order = np.empty([axis.size for axis in axes], dtype=np.int64)
    order[tuple(places.T)] = np.arange(len(places))
    grid = np.rint(domain.geometry.x).astype(np.int64)
    for direction, axis in enumerate(axes):
        domain.geometry.x[:, direction] = axis[grid[:, direction]]
    return V, order.ravel()


def _assembled(*axes: Array) -> Array:
    """``lambda int kappa^2 u v + u_t v_t + ell^2 grad_s u . grad_s v`` in the order of the arrays."""
    V, order = _box(*axes)
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    along = sum(u.dx(i) * v.dx(i) for i in (1, 2))
    form = LAMBDA * (KAPPA**2 * u * v + u.dx(0) * v.dx(0) + ELL**2 * along) * ufl.dx
    return _compat.assembled(form)[np.ix_(order, order)]


def _matrix(operation: object, shape: tuple[int, ...]) -> Array:
    size, out = int(np.prod(shape)), np.empty(shape)
    columns = []
    for unit in np.eye(size):
        operation(unit.reshape(shape), out)  # type: ignore[operator]
        columns.append(out.ravel().copy())
    return np.stack(columns, axis=1)


def _check(precision: SeparablePrecision, P: Array) -> None:
    shape = DEPTH.size, precision.rows.size, precision.columns.size
    got = _matrix(precision.apply, shape)
    np.testing.assert_allclose(got, P, rtol=1e-12, atol=1e-13 * np.abs(P).max())
    inverse = np.linalg.inv(P)
    # The dense inverse itself errs by eps cond(P).
    tolerance = max(1e-12, 10.0 * EPS * np.linalg.cond(P)) * np.abs(inverse).max()
    assert tolerance < 1e-11 * np.abs(inverse).max()
    np.testing.assert_allclose(_matrix(precision.solve, shape), inverse, rtol=0.0, atol=tolerance)
    root = _matrix(precision.inverse_root, shape)
    np.testing.assert_allclose(root @ root.T, inverse, rtol=0.0, atol=tolerance)


def test_kernel_is_the_matrix_assembled_over_depth_and_two_indices() -> None:
    _check(_precision(_factor(ONE), _factor(OTHER)), _assembled(DEPTH, ONE, OTHER))


def test_local_field_is_the_matrix_assembled_over_depth_and_a_rectangle() -> None:
    M, K = (np.asarray(m) for m in p1(ONE))
    N, L = p1(OTHER)
    mass = sparse.csr_matrix(np.kron(M, N))
    stiffness = sparse.csr_matrix(np.kron(K, N) + np.kron(M, L))
    rows = Factor(np.asarray(mass.sum(axis=1)).ravel(), lambda: stiffness, mass)
    expected = _assembled(DEPTH, ONE, OTHER)
    for kind in (SeparablePrecision, SparsePrecision):
        _check(_precision(rows, Factor.plain(1), kind=kind), expected)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("lumped", [False, True])
@pytest.mark.parametrize("ell", [0.0, ELL])
def test_sparse_solves_are_those_in_modes(ell: float, lumped: bool, swap: bool) -> None:
    """One factor with a stiffness, the other of unequal weights; several fields side by side."""
    factors = [_factor(ONE, lumped) + Factor.plain(1), Factor(np.array([0.5, 2.0, 3.0]))]
    rows, columns = factors[::-1] if swap else factors
    sparse, modal = (
        _precision(rows, columns, ell, kind) for kind in (SparsePrecision, SeparablePrecision)
    )
    many = np.random.default_rng(6).standard_normal((DEPTH.size, 2, rows.size, columns.size))
    got, expected = np.empty_like(many), np.empty_like(many)
    sparse.solve(many, got)
    modal.solve(many, expected)
    np.testing.assert_allclose(got, expected, rtol=0.0, atol=1e-12 * np.abs(expected).max())
    shape = DEPTH.size, rows.size, columns.size
    root, inverse = (_matrix(f, shape) for f in (sparse.inverse_root, modal.solve))
    np.testing.assert_allclose(root @ root.T, inverse, rtol=0.0, atol=1e-12 * inverse.max())


def test_factors_of_a_neuron_index_are_those_of_the_box() -> None:
    index = NeuronSpace.interval(4, "P1", "consistent", 1.3)
    s = np.linspace(0.0, 1.3, 4)
    _check(_precision(index.factor, index.factor), _assembled(DEPTH, s, s))
    image = NeuronSpace.rectangle((4, 6), "P1", "consistent", (1.3, 1.0))
    expected = _assembled(DEPTH, s, np.linspace(0.0, 1.0, 6))
    _check(_precision(image.factor, Factor.plain(1)), expected)


@pytest.mark.parametrize("lumped", [True, False])
@pytest.mark.parametrize("ell", [0.0, ELL])
def test_kernel_with_bias_is_the_kronecker_product(ell: float, lumped: bool) -> None:
    rows, columns = _factor(ONE, lumped), _factor(OTHER, lumped) + Factor.plain(1)
    M_t, K_t = p1(DEPTH)

    def pair(nodes: Array, point: bool) -> tuple[Array, Array]:
        M, K = p1(nodes)
        M = np.diag(M.sum(axis=1)) if lumped else M
        if point:
            M, K = (np.pad(m, (0, 1)) for m in (M, K))
            M[-1, -1] = 1.0
        return M, K

    (M_r, K_r), (M_c, K_c) = pair(ONE, False), pair(OTHER, True)
    along = np.kron(K_r, M_c) + np.kron(M_r, K_c)
    P = LAMBDA * np.kron(KAPPA**2 * M_t + K_t, np.kron(M_r, M_c))
    P += LAMBDA * ell**2 * np.kron(M_t, along)
    precision = _precision(rows, columns, ell)
    _check(precision, P)
    Z = np.random.default_rng(1).standard_normal((DEPTH.size, 2))
    wide = np.kron(Z, np.eye(M_r.shape[0] * M_c.shape[0]))
    np.testing.assert_allclose(precision.galerkin(Z), wide.T @ P @ wide, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ell", [0.0, ELL])
@pytest.mark.parametrize("lumped", [True, False])
def test_white_coordinates_of_the_factors(ell: float, lumped: bool) -> None:
    """``Q_r^T r Q_c`` eliminated in depth gives the energy ``<r, P^{-1} r>`` of ``r = v (x) a (x) b``."""
    precision = _precision(_factor(ONE, lumped), _factor(OTHER, lumped) + Factor.plain(1), ell)
    random = np.random.default_rng(2)
    v, a, b = (random.standard_normal(m) for m in (DEPTH.size, ONE.size, OTHER.size + 1))
    r = np.einsum("i,r,c->irc", v, a, b)
    solution = np.empty_like(r)
    precision.solve(r, solution)
    white = np.multiply.outer(precision.half(a, -2), precision.half(b, -1))
    pivots, below = precision.depth_factor
    row, energy = v[0] * white, np.sum((v[0] * white) ** 2 / pivots[0])
    for i in range(1, DEPTH.size):
        row = v[i] * white - below[i - 1] * row
        energy += np.sum(row**2 / pivots[i])
    assert energy == pytest.approx(np.vdot(r, solution), rel=1e-12)


@pytest.mark.parametrize("ell", [0.0, ELL])
def test_fields_side_by_side(ell: float) -> None:
    precision = _precision(_factor(ONE), _factor(OTHER, lumped=True) + Factor.plain(1), ell)
    many = np.random.default_rng(3).standard_normal((DEPTH.size, 3, ONE.size, OTHER.size + 1))
    for operation in (precision.apply, precision.solve, precision.inverse_root):
        together, alone = np.empty_like(many), np.empty_like(many[:, 0])
        operation(many, together)
        for b in range(3):
            operation(np.ascontiguousarray(many[:, b]), alone)
            np.testing.assert_allclose(together[:, b], alone, rtol=0, atol=1e-12)


def test_one_depth_node_is_a_precision_of_the_factors_alone() -> None:
    rows, columns = Factor.plain(2), _factor(ONE) + Factor.plain(1)
    one = np.array([LAMBDA]), np.zeros(0)
    precision = SeparablePrecision(one, (one[0] * ELL**2, one[1]), rows, columns)
    M, K = (np.pad(m, (0, 1)) for m in p1(ONE))
    M[-1, -1] = 1.0
    P = LAMBDA * np.kron(np.eye(2), M + ELL**2 * K)
    shape = 1, 2, ONE.size + 1
    np.testing.assert_allclose(_matrix(precision.apply, shape), P, rtol=1e-13, atol=1e-15)
    inverse = np.linalg.inv(P)
    np.testing.assert_allclose(
        _matrix(precision.solve, shape), inverse, rtol=0.0, atol=1e-12 * np.abs(inverse).max()
    )


@pytest.mark.parametrize("ell", [0.0, ELL])
def test_covariance_of_draws_is_the_inverse(ell: float) -> None:
    """An entry of the second moments of ``S`` draws has the variance ``(C_ii C_jj + C_ij^2) / S``."""
    precision = _precision(_factor(ONE[:3]), _factor(OTHER[:3]), ell)
    shape, draws = (DEPTH.size, 3, 3), 4000
    z = np.random.default_rng(4).standard_normal((shape[0], draws, *shape[1:]))
    x = np.empty_like(z)
    precision.inverse_root(z, x)
    x = np.moveaxis(x, 1, 0).reshape(draws, -1)
    C = np.linalg.inv(_matrix(precision.apply, shape))
    deviation = np.sqrt((np.multiply.outer(np.diag(C), np.diag(C)) + C**2) / draws)
    # 1035 different entries: the largest of so many normals is below 5 in all but one of 10^3 seeds.
    assert np.max(np.abs(x.T @ x / draws - C) / deviation) < 5.0
