"""White noise on finite element spaces."""

from __future__ import annotations

from typing import Any

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.noise.white import WhiteNoise

COMM = MPI.COMM_SELF
CELLS = mesh.CellType


def _domain(name: str) -> mesh.Mesh:
    kind, _, bent = name.partition("-")
    match kind:
        case "interval":
            domain = mesh.create_interval(COMM, 7, (0.0, 2.0))
        case "triangle" | "quadrilateral":
            domain = mesh.create_rectangle(COMM, [[0, 0], [1, 2]], [3, 4], getattr(CELLS, kind))
        case _:
            domain = mesh.create_box(COMM, [[0, 0, 0], [1, 2, 1]], [2, 1, 2], getattr(CELLS, kind))
    if bent:  # quadrilaterals and hexahedra that are not affine, simplices of all sizes
        x = domain.geometry.x
        x[:, 0] += 0.2 * x[:, 0] * (1.0 + x[:, 1]) * (0.5 + x[:, 2])
    return domain


def _mass(V: Any, degree: int) -> np.ndarray:
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    dx = ufl.dx(metadata={"quadrature_degree": 2 * degree + 3})
    return fem.assemble_matrix(fem.form(ufl.inner(u, v) * dx)).to_dense()


ELEMENTS: list[Any] = [
    ("Lagrange", 1),
    ("Lagrange", 2),
    ("Lagrange", 3),
    ("DG", 0),
    ("DG", 1),
    ("Lagrange", 2, (2,)),
]


@pytest.mark.parametrize("element", ELEMENTS, ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "interval",
        "interval-bent",
        "triangle-bent",
        "quadrilateral",
        "quadrilateral-bent",
        "tetrahedron-bent",
        "hexahedron",
        "hexahedron-bent",
    ],
)
def test_the_factor_reproduces_the_mass_matrix(name: str, element: Any) -> None:
    V = fem.functionspace(_domain(name), element)
    white = WhiteNoise(V, 0)
    B = np.kron(white.factor.toarray(), np.eye(white.blocks.bs))
    M = _mass(V, element[1])
    assert np.abs(B @ B.T - M).max() < 1e-14 * np.abs(M).max()


@pytest.mark.parametrize("kind", ["interval", "quadrilateral", "hexahedron"])
@pytest.mark.parametrize("degree", [1, 2])
def test_the_lumped_factor_has_the_row_sums_of_the_mass(kind: str, degree: int) -> None:
    V = fem.functionspace(_domain(kind), ("Lagrange", degree, (2,)))
    white = WhiteNoise(V, 0, lumped=True)
    B = np.kron(white.factor.toarray(), np.eye(2))
    M = _mass(V, degree)
    np.testing.assert_allclose(B @ B.T, np.diag(M.sum(axis=1)), rtol=0, atol=1e-14 * M.max())


def test_surfaces_and_curved_cells() -> None:
    """A sphere's octant of curved triangles of degree 2, and the boundary of a cube."""
    x = np.eye(3)
    x = np.concatenate([x, [x[1] + x[2], x[0] + x[2], x[0] + x[1]]])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    element = basix.ufl.element("Lagrange", "triangle", 2, shape=(3,))
    curved = mesh.create_mesh(COMM, cells=np.arange(6)[None], x=x, e=ufl.Mesh(element))
    cube = mesh.create_unit_cube(COMM, 2, 2, 2)
    cube.topology.create_connectivity(2, 3)
    facets = mesh.exterior_facet_indices(cube.topology)
    for domain in (curved, mesh.create_submesh(cube, 2, facets)[0]):
        V = fem.functionspace(domain, ("Lagrange", 1))
        white = WhiteNoise(V, 0)
        u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        dx = ufl.dx(metadata={"quadrature_degree": white.quadrature.degree})
        M = fem.assemble_matrix(fem.form(u * v * dx)).to_dense()
        B = white.factor.toarray()
        np.testing.assert_allclose(B @ B.T, M, rtol=0, atol=1e-14)
    area = float(WhiteNoise(V, 0).weights.sum())
    assert area == pytest.approx(6.0, abs=1e-13)


@pytest.mark.parametrize("lumped", [False, True])
@pytest.mark.parametrize("shape", [(), ((2,),)])
def test_sample_covariance_of_the_load(lumped: bool, shape: tuple) -> None:
    """Over samples and over steps; entry (i, j) has the variance k^2 (M_ii M_jj + M_ij^2) / N."""
    V = fem.functionspace(mesh.create_unit_square(COMM, 2, 2), ("Lagrange", 1, *shape))
    k, N = 0.3, 40_000
    M = _mass(V, 1)
    M = np.diag(M.sum(axis=1)) if lumped else M
    white = WhiteNoise(V, 12, lumped=lumped)
    draws = [
        white.load(7, k, range(N)),
        np.concatenate([white.load(step, k, range(40)) for step in range(N // 40)], axis=1),
    ]
    for b in draws:
        assert b.shape == (len(M), N)
        deviation = k * np.sqrt((np.outer(M.diagonal(), M.diagonal()) + M**2) / N)
        error = np.abs(b @ b.T / N - k * M)
        # 171 different entries at most, two draws, four cases: 5 deviations for all, 7e-4 in all.
        assert (error < 5.0 * deviation).all()
        assert error.max() > 0.01 * deviation.min()  # it is a sample
        z = b / np.sqrt(k * M.diagonal())[:, None]
        # Kurtosis, whose sample variance is 24/N for a normal law, to leading order.
        assert np.abs((z**4).mean(axis=1) - 3.0).max() < 5.0 * np.sqrt(96.0 / N)
        assert np.abs(z.mean(axis=1)).max() < 5.0 / np.sqrt(N)


def test_streams_steps_samples_and_components_are_independent() -> None:
    """Loads of the same functions, correlated over many cells."""
    V = fem.functionspace(mesh.create_unit_interval(COMM, 60_000), ("DG", 0, (2,)))
    white, other = WhiteNoise(V, 1), WhiteNoise(V, 1, stream=1)
    reseeded = WhiteNoise(V, 2)
    columns = [white.load(0, 1.0, [0, 1, 256]), white.load(1, 1.0, [0])]
    columns += [other.load(0, 1.0, [0]), reseeded.load(0, 1.0, [0])]
    b = np.concatenate(columns, axis=1).reshape(60_000, -1).T * np.sqrt(60_000)
    C = b @ b.T / 60_000
    assert C.shape == (12, 12)
    assert np.abs(C - np.eye(12)).max() < 5.0 * np.sqrt(2.0 / 60_000)
    # Neighbours in the numbering, whose keys are near each other in space.
    assert np.abs((b[:, 1:] * b[:, :-1]).mean(axis=1)).max() < 5.0 / np.sqrt(60_000)


def test_a_restart_needs_the_number_of_the_step() -> None:
    V = fem.functionspace(_domain("triangle"), ("Lagrange", 1))
    path = [WhiteNoise(V, 5).load(step, 0.1, [3]) for step in range(4)]
    again = WhiteNoise(fem.functionspace(_domain("triangle"), ("Lagrange", 1)), 5)
    for step in (3, 1, 2, 0):
        assert again.load(step, 0.1, [3]).tobytes() == path[step].tobytes()
    # Which samples are drawn beside it makes no difference to the coefficients of one.
    np.testing.assert_array_equal(
        again.points(2, 0.1, [9, 3, 4])[:, 1:2], again.points(2, 0.1, [3])
    )


def test_the_length_of_the_step_scales_the_load() -> None:
    V = fem.functionspace(_domain("hexahedron"), ("Lagrange", 2))
    for lumped in (False, True):
        white = WhiteNoise(V, 5, lumped=lumped)
        load = white.load(1, 0.04, [0, 2])
        np.testing.assert_allclose(load, 0.2 * white.load(1, 1.0, [0, 2]), rtol=1e-13)
        by_points = white.quadrature.integrate(white.points(1, 0.04, [0, 2]))
        np.testing.assert_allclose(by_points, load, rtol=0, atol=1e-15)


@pytest.mark.parametrize("dt", [0.0, -0.1, np.nan, np.inf])
def test_steps_that_are_not_positive_are_refused(dt: float) -> None:
    white = WhiteNoise(fem.functionspace(_domain("interval"), ("Lagrange", 1)), 0)
    for draw in (white.load, white.points):
        with pytest.raises(InputError, match=f"step of a noise has length {dt}"):
            draw(0, dt)


def test_bad_numbers_and_elements_are_refused() -> None:
    domain = _domain("triangle")
    V = fem.functionspace(domain, ("Lagrange", 1))
    white = WhiteNoise(V, 0)
    with pytest.raises(InputError, match="step of a noise is -1"):
        white.load(-1, 0.1)
    with pytest.raises(InputError, match="samples of a noise"):
        white.load(0, 0.1, [2**24])
    with pytest.raises(InputError, match="seed of a noise is -1"):
        WhiteNoise(V, -1)
    with pytest.raises(InputError, match="expected Lagrange elements"):
        WhiteNoise(fem.functionspace(domain, ("N1curl", 1)), 0)
    mixed = basix.ufl.mixed_element([basix.ufl.element("Lagrange", "triangle", 1)] * 2)
    with pytest.raises(InputError, match="one space for each part"):
        WhiteNoise(fem.functionspace(domain, mixed), 0)
    with pytest.raises(InputError, match="lumped mass"):
        WhiteNoise(fem.functionspace(domain, ("Lagrange", 2)), 0, lumped=True)
