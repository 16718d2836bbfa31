"""Whittle-Matern fields against dense eigen-decompositions and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import ufl
from covariances import in_order, interval, p1, rectangle
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.special import gamma, kv

from fem_deepest.errors import InputError
from fem_deepest.noise.covariance import Covariance
from fem_deepest.noise.matern import WhittleMatern, marginal_variance
from fem_deepest.noise.rescaled import Rescaled
from fem_deepest.spaces.depth import DepthMesh

Array = NDArray[np.float64]


def _powers(boundary: str, kappa: float, cells: int, alpha: float, robin: float) -> Array:
    """``A_h^{-alpha} M^{-1}`` on the nodes of (0, 1) in order, by eigenvalues."""
    M, K = p1(np.linspace(0.0, 1.0, cells + 1))
    L = kappa**2 * M + K
    Z = np.eye(cells + 1)
    if boundary == "robin":
        L[0, 0] += robin * kappa
        L[-1, -1] += robin * kappa
    if boundary == "dirichlet":
        Z = Z[:, 1:-1]
    if boundary == "periodic":
        Z = Z[:, :-1]
        Z[-1, 0] = 1.0
    values, vectors = eigh(Z.T @ L @ Z, Z.T @ M @ Z)
    return Z @ (vectors * values**-alpha) @ vectors.T @ Z.T


@pytest.mark.parametrize("boundary", ["neumann", "dirichlet", "robin", "periodic"])
@pytest.mark.parametrize("alpha", [0.3, 1.0, 1.5, 2.0, 2.7, 3.0, 4.0, 5.0])
def test_powers_are_those_of_the_eigenvalues(boundary: str, alpha: float) -> None:
    cells, kappa, tau, robin = 25, 3.0, 1.7, 0.8
    field = WhittleMatern(
        interval(cells), kappa=kappa, tau=tau, alpha=alpha, boundary=boundary, robin=robin
    )
    C = tau**2 * _powers(boundary, kappa, cells, alpha, robin)
    S = tau * _powers(boundary, kappa, cells, alpha / 2, robin)
    # Fractions err by 1e-11 (twice that in C), solves by the condition 1e3 times 1e-16.
    np.testing.assert_allclose(
        in_order(field, field.apply), C, rtol=0, atol=5e-11 * np.abs(C).max()
    )
    np.testing.assert_allclose(
        in_order(field, field.apply_sqrt), S, rtol=0, atol=2e-11 * np.abs(S).max()
    )


@pytest.mark.parametrize("cell", [mesh.CellType.triangle, mesh.CellType.quadrilateral])
def test_fractional_power_on_a_plane_mesh(cell: mesh.CellType) -> None:
    V = rectangle(6, 5, (1.0, 0.7), cell=cell, degree=2)
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    forms = (u * v * ufl.dx, ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx)
    M, K = (fem.assemble_matrix(fem.form(form)).to_dense() for form in forms)
    x = V.tabulate_dof_coordinates()
    free = (np.abs(x[:, 0] - 0.5) < 0.499) & (np.abs(x[:, 1] - 0.35) < 0.349)
    values, vectors = eigh((9.0 * M + K)[np.ix_(free, free)], M[np.ix_(free, free)])
    C = np.zeros_like(M)
    C[np.ix_(free, free)] = (vectors * values**-1.5) @ vectors.T
    field = WhittleMatern(V, kappa=3.0, alpha=1.5, boundary="dirichlet")
    np.testing.assert_allclose(field.apply(np.eye(len(x))), C, rtol=0, atol=2e-11 * np.abs(C).max())


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.5, 3.0])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-8])
@pytest.mark.parametrize("grading", [1.0, 2.0])
def test_error_of_a_fractional_power_is_the_one_stated(
    alpha: float, tolerance: float, grading: float
) -> None:
    depth, kappa = DepthMesh.graded(1.0, 60, grading), 5.0
    field = WhittleMatern(depth.space, kappa=kappa, alpha=alpha, tolerance=tolerance)
    M, K = p1(depth.nodes)
    values, vectors = eigh(kappa**2 * M + K, M)
    S = in_order(field, field.apply_sqrt)
    modal = vectors.T @ M @ S @ M @ vectors * values ** (alpha / 2)
    # Rounding, relative to the greatest entry of S.
    rounding = 1e-15 * (values[-1] / values[0]) ** (alpha / 2)
    assert np.abs(modal - np.diag(np.diagonal(modal))).max() < 1e-9 + rounding
    assert np.abs(np.diagonal(modal) - 1.0).max() <= 1.01 * tolerance + rounding
    assert field.fractions is not None and field.fractions.error <= tolerance


def test_even_powers_need_no_fractions() -> None:
    assert WhittleMatern(interval(4), kappa=1.0, alpha=4.0).fractions is None


@pytest.mark.parametrize("cells", [1, 2, 3, 16])
@pytest.mark.parametrize("grading", [1.0, 2.0])
def test_brownian_bridge_is_exact_at_the_nodes_of_any_mesh(cells: int, grading: float) -> None:
    depth = DepthMesh.graded(1.0, cells, grading)
    if cells == 1:
        with pytest.raises(InputError, match="nothing is left"):
            WhittleMatern(depth.space, kappa=0.0, alpha=1.0, boundary="dirichlet")
        return
    bridge = WhittleMatern(depth.space, kappa=0.0, alpha=1.0, boundary="dirichlet")
    t = depth.nodes
    expected = np.minimum(t[:, None], t) - t[:, None] * t
    np.testing.assert_allclose(in_order(bridge, bridge.apply), expected, rtol=0, atol=1e-14)
    S, M = in_order(bridge, bridge.apply_sqrt), p1(t)[0]
    np.testing.assert_allclose(S @ M @ S, expected, rtol=0, atol=1e-11)
    if grading == 1.0:
        # What the interpolation of t - t^2 loses of 1/6: h/6.
        assert bridge.trace() == pytest.approx((1.0 - 1.0 / cells) / 6.0, rel=1e-13)


def test_exact_traces_of_big_meshes_are_refused() -> None:
    field = WhittleMatern(interval(30_000), kappa=1.0)
    for what in (field.trace, field.variance):
        with pytest.raises(InputError, match="30001 dofs would take as many solves"):
            what()


def _exponential(x: Array, y: Array, kappa: float) -> Array:
    return np.exp(-kappa * np.abs(x - y)) / (2.0 * kappa)


def _cosh(x: Array, y: Array, kappa: float, length: float) -> Array:
    r = np.abs(x - y)
    return np.cosh(kappa * (length / 2 - r)) / (2 * kappa * np.sinh(kappa * length / 2))


def _reflected(x: Array, y: Array, kappa: float, length: float) -> Array:
    low, high = np.minimum(x, y), np.maximum(x, y)
    return (
        np.cosh(kappa * low) * np.cosh(kappa * (length - high)) / (kappa * np.sinh(kappa * length))
    )


CLOSED: dict[str, Any] = {
    "exponential": ("robin", lambda x, y: _exponential(x, y, 3.0)),
    "periodic": ("periodic", lambda x, y: _cosh(x, y, 3.0, 2.0)),
    "neumann": ("neumann", lambda x, y: _reflected(x, y, 3.0, 2.0)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_exponential_covariances_of_order_one(name: str) -> None:
    boundary, kernel = CLOSED[name]
    errors = []
    for cells in (16, 32, 64, 128):
        field = WhittleMatern(
            interval(cells, 2.0), kappa=3.0, alpha=1.0, boundary=boundary, robin=1.0
        )
        x = np.linspace(0.0, 2.0, cells + 1)
        errors.append(np.abs(in_order(field, field.apply) - kernel(x[:, None], x)).max())
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    # The Green's function of P1 has the nodal error (kappa h)^2 / 24 of its own size, to leading order.
    assert np.abs(slopes - 2.0).max() < 0.05
    assert errors[-1] < (3.0 / 64) ** 2 / 24 * 2 * kernel(np.zeros(1), np.zeros(1))[0]


def test_variance_of_the_periodic_field() -> None:
    # coth(kappa L/2)/(2 kappa) = 0.1674950 for L = 2, kappa = 3, extrapolated from two meshes.
    coarse, fine = (
        WhittleMatern(interval(n, 2.0), kappa=3.0, alpha=1.0, boundary="periodic").variance()
        for n in (100, 200)
    )
    np.testing.assert_allclose((4.0 * fine[:1] - coarse[:1]) / 3.0, 0.1674950, rtol=0, atol=6e-8)
    for variance in (coarse, fine):
        np.testing.assert_allclose(variance, variance[0], rtol=1e-11)


def _matern(r: Array, sigma: float, kappa: float, nu: float) -> Array:
    x = np.maximum(kappa * r, 1e-12)
    return sigma**2 * 2 ** (1 - nu) / gamma(nu) * x**nu * kv(nu, x)


def _column(field: Covariance, place: tuple[float, ...]) -> tuple[Array, Array]:
    """Covariance with the value at a node, and distances of all nodes."""
    x = field.V.tabulate_dof_coordinates()
    r = np.linalg.norm(x[:, : len(place)] - np.array(place), axis=1)
    unit = field.blocks.zeros()
    unit[r.argmin()] = 1.0
    return field.apply(unit)[:, 0], r


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0, 3.0])
def test_matern_covariance_far_from_the_boundary_in_one_dimension(alpha: float) -> None:
    sigma, length = 1.5, 0.5
    kappa, errors = math.sqrt(8.0 * (alpha - 0.5)) / length, []
    for cells in (160, 320):
        field = WhittleMatern.with_law(
            interval(cells, 6.0), sigma=sigma, length=length, alpha=alpha
        )
        c, r = _column(field, (3.0,))
        error = np.abs(c - _matern(r, sigma, kappa, alpha - 0.5)) / sigma**2
        # The boundary adds an image at distance 5 or more: less than 1e-5 of the variance.
        errors.append([error[(r > 0.25) & (r < 0.75)].max(), error[r.argmin()]])
    slopes = np.log2(np.array(errors[0]) / errors[1])
    assert 1.85 < slopes[0] < 2.15
    # The spectral sum of the variance converges like h^2, with a logarithm for nu = 1.
    assert 1.6 < slopes[1] < 2.15
    assert max(errors[1]) < (kappa * 6.0 / 320) ** 2 / 6


def test_matern_covariance_far_from_the_boundary_in_two_dimensions() -> None:
    sigma, length, alpha = 0.7, 0.5, 2.0
    kappa, errors = math.sqrt(8.0) / length, []
    for cells in (48, 96):
        field = WhittleMatern.with_law(
            rectangle(cells, cells, (3.0, 3.0)), sigma=sigma, length=length, alpha=alpha
        )
        c, r = _column(field, (1.5, 1.5))
        error = np.abs(c - _matern(r, sigma, kappa, 1.0)) / sigma**2
        errors.append([error[(r > 0.25) & (r < 0.75)].max(), error[r.argmin()]])
    # At r = 0 like h^2 log(1/h).
    assert 1.8 < math.log2(errors[0][0] / errors[1][0]) < 2.2
    assert errors[1][0] < 0.002 and errors[1][1] < 0.005


def test_exponential_covariance_in_two_dimensions_by_a_fractional_power() -> None:
    # nu = 1/2: sigma^2 exp(-kappa r). The point variance converges like h.
    sigma, length, errors = 1.0, 0.8, []
    for cells in (24, 48):
        field = WhittleMatern.with_law(
            rectangle(cells, cells, (4.0, 4.0)),
            sigma=sigma,
            length=length,
            alpha=1.5,
            tolerance=1e-6,
        )
        c, r = _column(field, (2.0, 2.0))
        away = (r > 0.4) & (r < 1.2)
        errors.append(np.abs(c - np.exp(-2.0 / length * r))[away].max())
    assert errors[1] < 0.01 and errors[0] / errors[1] > 2.0


def test_exponential_covariance_in_three_dimensions() -> None:
    # alpha = 2, nu = 1/2: sigma^2 exp(-kappa r), away from r = 0, where the variance converges like h.
    sigma, length, errors = 1.0, 0.45, []
    for cells in (12, 24):
        domain = mesh.create_box(
            MPI.COMM_SELF,
            ((0.0, 0.0, 0.0), (2.0, 2.0, 2.0)),
            (cells,) * 3,
            mesh.CellType.hexahedron,
        )
        V = fem.functionspace(domain, ("Lagrange", 1))
        field = WhittleMatern.with_law(V, sigma=sigma, length=length, boundary="robin")
        c, r = _column(field, (1.0, 1.0, 1.0))
        away = (r > 0.3) & (r < 0.5)
        errors.append(np.abs(c - np.exp(-2.0 / length * r))[away].max())
    assert errors[1] < 0.01 and errors[0] / errors[1] > 3.0


def test_marginal_variance_of_known_cases() -> None:
    assert marginal_variance(3.0, 1.0, 1) == pytest.approx(1.0 / 6.0)  # 1/(2 kappa)
    assert marginal_variance(3.0, 2.0, 1) == pytest.approx(1.0 / (4.0 * 27.0))  # 1/(4 kappa^3)
    assert marginal_variance(3.0, 2.0, 2) == pytest.approx(1.0 / (4.0 * math.pi * 9.0))
    assert marginal_variance(3.0, 2.0, 3) == pytest.approx(1.0 / (8.0 * math.pi * 3.0))


def test_boundaries_change_the_variance_as_images_do() -> None:
    # alpha = 2 on a half line: Neumann doubles the variance at the end, Dirichlet makes it zero.
    def at_the_end(**boundary: Any) -> float:
        field = WhittleMatern.with_law(interval(400, 4.0), sigma=1.0, length=0.5, **boundary)
        return float(field.variance()[field.V.tabulate_dof_coordinates()[:, 0].argmin()])

    h_kappa = math.sqrt(12.0) / 0.5 / 100
    assert at_the_end(boundary="neumann") == pytest.approx(2.0, abs=h_kappa**2)
    assert at_the_end(boundary="dirichlet") == 0.0
    # Robin by hand: B = d/dx - r kappa maps the half-line problem to itself; the variance at 0 is
    # int g^2 with g = (1/(1 + r) kappa) exp(-kappa y), so 1/(2 kappa^3 (1 + r)^2), against 1/(4 kappa^3).
    for r in (1.0 / 1.42, math.sqrt(2.0) - 1.0):
        assert at_the_end(boundary="robin", robin=r) == pytest.approx(
            2.0 / (1.0 + r) ** 2, abs=h_kappa**2
        )


def test_boundaries_of_a_square() -> None:
    # Images: twice the variance at an edge, four times in a corner. The Robin coefficient of Roininen,
    # Huttunen and Lasanen keeps the variance within 20 per cent.
    variance = {}
    for boundary in ("neumann", "robin"):
        field = WhittleMatern.with_law(
            rectangle(40, 40, (2.0, 2.0)), sigma=1.0, length=0.5, boundary=boundary
        )
        variance[boundary] = field.variance()
    x = field.V.tabulate_dof_coordinates()[:, :2]
    edge, corner = (np.linalg.norm(x - p, axis=1).argmin() for p in ((0.0, 1.0), (0.0, 0.0)))
    # (kappa h)^2 log(1/(kappa h)) / 8 of discretisation, as at r = 0 above.
    assert variance["neumann"][edge] == pytest.approx(2.0, abs=0.03)
    assert variance["neumann"][corner] == pytest.approx(4.0, abs=0.15)
    assert np.abs(variance["robin"] - 1.0).max() < 0.2 + 0.03
    assert np.abs(variance["robin"] - 1.0).mean() < 0.03


def test_rescaling_makes_the_variance_constant_and_keeps_the_middle() -> None:
    plain = WhittleMatern.with_law(rectangle(20, 20, (2.0, 2.0)), sigma=1.3, length=0.3)
    rescaled = Rescaled(plain, 1.3)
    np.testing.assert_allclose(rescaled.variance(), 1.3**2, rtol=1e-12)
    factor = rescaled.factor[:, 0]
    centre = np.linalg.norm(rescaled.V.tabulate_dof_coordinates()[:, :2] - 1.0, axis=1).argmin()
    corner = np.linalg.norm(rescaled.V.tabulate_dof_coordinates(), axis=1).argmin()
    # The discretisation error of the variance is below (kappa h)^2 / 2; Neumann doubles twice in a corner.
    assert factor[centre] == pytest.approx(1.0, abs=0.25)
    assert factor[corner] == pytest.approx(0.5, abs=0.1)
    x = in_order(rescaled, rescaled.apply)
    deviation = np.sqrt(np.diagonal(in_order(plain, plain.apply)))
    correlation = in_order(plain, plain.apply) / np.outer(deviation, deviation)
    np.testing.assert_allclose(x / 1.3**2, correlation, rtol=1e-10)


def test_regularity_numbers() -> None:
    assert WhittleMatern(interval(2), kappa=1.0, alpha=2.0).beta() == 2.5
    assert WhittleMatern(interval(2), kappa=1.0, alpha=2.0).beta(3) == 1.5
    assert WhittleMatern(rectangle(1, 1), kappa=1.0, alpha=1.5).beta() == 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": 1.0, "length": -0.1}, "correlation length -0.1 was given, expected a positive"),
        ({"sigma": 0.0, "length": 0.1}, "standard deviation 0 was given, expected a positive"),
        ({"sigma": 1.0, "length": math.nan}, "correlation length nan"),
        ({"sigma": 1.0, "length": 0.1, "alpha": 1.0}, "expected more than d/2 = 1"),
        ({"sigma": 1.0, "length": 0.1, "alpha": 200.0}, "too large a number"),
        ({"sigma": 1.0, "length": 0.1, "boundary": "mirror"}, "expected one of neumann"),
        ({"sigma": 1.0, "length": 0.1, "boundary": "robin", "robin": -1.0}, "Robin coefficient -1"),
    ],
)
def test_wrong_laws_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WhittleMatern.with_law(rectangle(2, 2), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kappa": -1.0}, "kappa = -1 was given"),
        ({"kappa": 0.0}, "kappa = 0 was given"),
        ({"kappa": 1.0, "tau": 0.0}, "tau = 0 was given"),
        ({"kappa": 1.0, "alpha": 0.0}, "alpha = 0 is WhiteCovariance"),
    ],
)
def test_wrong_parameters_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WhittleMatern(interval(2), **arguments)
