"""Covariances with given eigenvalues, against sums of sines and cosines."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from covariances import in_order, interval, p1, rectangle
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.karhunen_loeve import KarhunenLoeve, PowerLaw

Array = NDArray[np.float64]


def _loads(frequency: Array, shift: float, cells: int, length: float) -> Array:
    """``int cos(k x - shift) phi_i dx`` of the hats of a uniform mesh, (nodes, modes), by hand."""
    h = length / cells
    x = np.linspace(0.0, length, cells + 1)[:, None]
    k = np.where(frequency == 0.0, 1.0, frequency)
    full = np.cos(k * x - shift) * 2.0 * (1.0 - np.cos(k * h)) / (k**2 * h)
    # Half hats at the ends: int_0^h cos(k s + c) (1 - s/h) ds with c = -shift, and its mirror image.
    for row, c, sign in ((0, -shift, 1.0), (-1, k * length - shift, -1.0)):
        full[row] = (np.cos(c) - np.cos(k * h + sign * c)) / (k**2 * h) - sign * np.sin(c) / k
    constant = np.full((cells + 1, 1), h)
    constant[[0, -1]] = h / 2
    return np.where(frequency == 0.0, constant, full)


def _expected(cells: int, length: float, q: Array, least: int) -> tuple[Array, Array]:
    """``C`` and ``P_h e_j`` on the nodes of an interval."""
    index = np.arange(least, least + q.size)
    norm = np.sqrt(np.where(index == 0, 1.0, 2.0) / length)
    loads = _loads(math.pi * index / length, 0.5 * math.pi * least, cells, length) * norm
    functions = np.linalg.solve(p1(np.linspace(0.0, length, cells + 1))[0], loads)
    return (functions * q) @ functions.T, functions


@pytest.mark.parametrize(("basis", "least"), [("sine", 1), ("cosine", 0)])
@pytest.mark.parametrize(("cells", "modes"), [(16, 6), (40, 40), (8, 30)])
def test_covariance_is_the_projected_sum_of_the_modes(
    basis: str, least: int, cells: int, modes: int
) -> None:
    length = 1.7
    q = 1.0 / np.arange(1.0, modes + 1) ** 2
    field = KarhunenLoeve(interval(cells, length), q, basis=basis)
    C, _ = _expected(cells, length, q, least)
    np.testing.assert_allclose(
        in_order(field, field.apply), C, rtol=0, atol=1e-12 * np.abs(C).max()
    )
    M = p1(np.linspace(0.0, length, cells + 1))[0]
    assert field.trace() == pytest.approx(np.trace(M @ C), rel=1e-12)
    np.testing.assert_allclose(
        field.laplace, (math.pi * np.arange(least, least + modes) / length) ** 2, rtol=1e-14
    )


def test_coefficients_are_those_of_the_modes() -> None:
    cells, q = 20, np.array([1.0, 0.5, 0.5, 0.1])
    field = KarhunenLoeve(interval(cells), q)
    c = np.random.default_rng(0).standard_normal((4, 3))
    _, functions = _expected(cells, 1.0, q, 1)
    x = np.argsort(field.V.tabulate_dof_coordinates()[:, 0])
    np.testing.assert_allclose(
        field.apply_sqrt(field.from_coefficients(c))[x],
        functions @ (np.sqrt(q)[:, None] * c),
        rtol=0,
        atol=1e-13,
    )


@pytest.mark.parametrize(("basis", "function"), [("sine", np.sin), ("cosine", np.cos)])
def test_modes_of_a_rectangle(basis: str, function: Any) -> None:
    # lambda / pi^2 = j^2 + k^2/4 on (0, 1) x (0, 2): sorted by hand.
    indices = {
        "sine": [(1, 1), (1, 2), (1, 3), (2, 1)],
        "cosine": [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)],
    }[basis]
    q = np.linspace(1.0, 0.2, len(indices))
    V = rectangle(16, 32, (1.0, 2.0), degree=2)
    field = KarhunenLoeve(V, q, basis=basis)
    np.testing.assert_allclose(
        field.laplace, [math.pi**2 * (j**2 + k**2 / 4) for j, k in indices], rtol=1e-14
    )
    x = V.tabulate_dof_coordinates()
    exact = np.stack(
        [
            function(math.pi * j * x[:, 0])
            * function(math.pi * k * x[:, 1] / 2)
            * math.sqrt((1 + (j > 0)) * (1 + (k > 0)) / 2)
            for j, k in indices
        ],
        axis=1,
    )
    C = field.apply(np.eye(field.blocks.size)[:, :5])
    # The error of the L2 projection onto P2: (k h)^3 / 60 for the fastest wave.
    np.testing.assert_allclose(
        C, ((exact * q) @ exact.T)[:, :5], rtol=0, atol=(2 * math.pi / 16) ** 3 / 10
    )
    # tr = sum q_j |P_h e_j|^2, and the square of the error of P_h is of the order 6.
    assert field.trace() == pytest.approx(q.sum(), abs=1e-6)


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
def test_discrete_modes_have_the_eigenvalues_of_the_mesh(boundary: str) -> None:
    cells, modes = 24, 5
    field = KarhunenLoeve(
        interval(cells), PowerLaw(1.0, scale=2.0, shift=1.0), modes, basis=boundary
    )
    # 2 cos(j pi h) P1 eigenvalues; periodic ones are double, with twice the wave number.
    j = {
        "dirichlet": [1, 2, 3, 4, 5],
        "neumann": [0, 1, 2, 3, 4],
        "periodic": [0, 2, 2, 4, 4],
    }[boundary]
    t = np.pi * np.array(j) / cells
    exact = 6.0 * cells**2 * (1.0 - np.cos(t)) / (2.0 + np.cos(t))
    np.testing.assert_allclose(field.laplace, exact, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(field.eigenvalues, 2.0 / (1.0 + exact), rtol=1e-10)
    x = np.linspace(0.0, 1.0, cells + 1)[:, None]
    waves = {
        "dirichlet": [np.sin(np.pi * n * x) for n in j],
        "neumann": [np.cos(np.pi * n * x) for n in j],
        "periodic": [
            f(np.pi * n * x)
            for n, f in zip(j, (np.cos, np.cos, np.sin, np.cos, np.sin), strict=True)
        ],
    }[boundary]
    M = p1(x[:, 0])[0]
    e = np.concatenate(waves, axis=1)
    e /= np.sqrt(np.diagonal(e.T @ M @ e))  # sampled waves are the eigenvectors of uniform P1
    np.testing.assert_allclose(
        in_order(field, field.apply), (e * (2.0 / (1.0 + exact))) @ e.T, rtol=0, atol=1e-10
    )


def _triangle(cells: int) -> fem.FunctionSpace:
    """P1 on the triangle 0 < y < x < 1."""
    square = mesh.create_unit_square(MPI.COMM_SELF, cells, cells)
    everything = np.arange(square.topology.index_map(2).size_local, dtype=np.int32)
    middle = mesh.compute_midpoints(square, 2, everything)
    triangle = mesh.create_submesh(square, 2, everything[middle[:, 1] < middle[:, 0]])[0]
    return fem.functionspace(triangle, ("Lagrange", 1))


@pytest.mark.parametrize(
    ("boundary", "sums"), [("dirichlet", [5, 10, 13, 17]), ("neumann", [0, 1, 2, 4, 5])]
)
def test_modes_of_a_triangle(boundary: str, sums: list[int]) -> None:
    # Half a square: pi^2 (m^2 + n^2) with m > n >= 1 (Dirichlet) or m >= n >= 0 (Neumann).
    exact, errors = math.pi**2 * np.array(sums), []
    for cells in (24, 48):
        field = KarhunenLoeve(_triangle(cells), PowerLaw(1.0, shift=1.0), len(sums), basis=boundary)
        errors.append(field.laplace - exact)
    assert (errors[1] > -1e-9).all()  # Rayleigh quotients lie above
    positive = exact > 0.0
    np.testing.assert_allclose((errors[0] / errors[1])[positive], 4.0, rtol=0.05)
    assert errors[1].max() < 0.01 * exact.max()
    assert field.trace() == pytest.approx((1.0 / (1.0 + field.laplace)).sum(), rel=1e-10)
    # The covariance with one node, by the first eigenfunction and the others on all of the square.
    wave = np.sin if boundary == "dirichlet" else np.cos
    sign = -1.0 if boundary == "dirichlet" else 1.0
    pairs = [(m, n) for m in range(6) for n in range(m + 1) if m * m + n * n in sums]
    pairs = [(m, n) for m, n in pairs if boundary == "neumann" or m > n > 0]
    x = field.V.tabulate_dof_coordinates()
    M = field.mass(np.eye(len(x)))
    C = np.zeros((len(x), len(x)))
    for m, n in pairs:
        a, b = (wave(math.pi * m * x[:, i]) for i in (0, 1))
        c, d = (wave(math.pi * n * x[:, i]) for i in (1, 0))
        e = a * c + sign * b * d
        C += np.outer(e, e) / (e @ M @ e) / (1.0 + math.pi**2 * (m * m + n * n))
    assert len(pairs) == len(sums)
    np.testing.assert_allclose(field.apply(np.eye(len(x))), C, rtol=0, atol=0.02 * np.abs(C).max())


def test_regularity_numbers() -> None:
    # q_j = j^{-2a} has a + 1/2 in one dimension.
    for a in (0.0, 0.25, 1.0):
        law = PowerLaw(a, scale=math.pi ** (2 * a))
        field = KarhunenLoeve(interval(8), law, 5)
        assert field.beta() == pytest.approx(a + 0.5)
        np.testing.assert_allclose(field.q, np.arange(1.0, 6.0) ** (-2 * a), rtol=1e-14)
    assert KarhunenLoeve(rectangle(3, 3), PowerLaw(1.0), 4).beta() == 1.0
    assert KarhunenLoeve(interval(8), np.ones(5)).beta() == math.inf
    assert KarhunenLoeve(interval(8), np.ones(5), decay=1.0).beta() == 1.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, -0.5],), "not negative"),
        (([1.0, np.nan],), "not negative"),
        (([1.0, 0.5], 3), "expected 3 finite numbers"),
        ((PowerLaw(1.0),), "None modes"),
        ((PowerLaw(1.0), 3000), "too many to integrate"),
        (([0.0, 0.0],), "zero or not finite"),
    ],
)
def test_wrong_spectra_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        KarhunenLoeve(interval(6), *arguments)


def test_a_power_law_without_a_shift_is_refused_with_cosines() -> None:
    with pytest.raises(InputError, match="needs a shift"):
        KarhunenLoeve(interval(6), PowerLaw(1.0), 3, basis="cosine")


def test_wrong_bases_and_domains_are_refused() -> None:
    with pytest.raises(InputError, match="expected one of sine, cosine"):
        KarhunenLoeve(interval(6), [1.0], basis="fourier")
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    triangle = mesh.create_mesh(
        MPI.COMM_SELF,
        cells=np.array([[0, 1, 2]], dtype=np.int64),
        x=corners,
        e=fem.functionspace(
            mesh.create_unit_square(MPI.COMM_SELF, 1, 1), ("Lagrange", 1, (2,))
        ).ufl_element(),
    )
    with pytest.raises(InputError, match=r"fills 0\.5 of a box of 1"):
        KarhunenLoeve(fem.functionspace(triangle, ("Lagrange", 1)), [1.0])
    with pytest.raises(InputError, match="has 5 free dofs"):
        KarhunenLoeve(interval(6), np.ones(6), basis="dirichlet")
    vector = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 1, 1), ("Lagrange", 1, (2,)))
    with pytest.raises(InputError, match="expected a scalar one"):
        KarhunenLoeve(vector, [1.0])


def test_a_multiple_eigenvalue_must_not_be_split() -> None:
    # Periodic: sine and cosine of one wave number.
    with pytest.raises(InputError, match="modes 2 and 3 have one eigenvalue"):
        KarhunenLoeve(interval(12), [1.0, 0.5, 0.4], basis="periodic")
    with pytest.raises(InputError, match="is left out"):
        KarhunenLoeve(interval(12), PowerLaw(1.0, shift=1.0), 2, basis="periodic")
