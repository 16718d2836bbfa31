"""Neuron index: masses, stiffnesses, numbering, interpolation and operators against closed forms."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from dolfinx import io, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces import NeuronSpace
from fem_deepest.spaces.domain import domain_from_dict, domain_to_dict, read_domain

Array = NDArray[np.float64]
MESHES = Path(__file__).parents[2] / "meshes"
ROUNDING = 1e-12


def line(nodes: int, element: str, length: float) -> tuple[Array, Array]:
    """Mass and stiffness of an interval from its cell matrices, by hand."""
    if element == "P0":
        h = length / nodes
        K = np.diag(np.full(nodes, 2.0)) - np.eye(nodes, k=1) - np.eye(nodes, k=-1)
        K[0, 0] = K[-1, -1] = 1.0 if nodes > 1 else 0.0
        return h * np.eye(nodes), K / h
    p = {"P1": 1, "P2": 2}[element]
    h = length / ((nodes - 1) // p)
    one = {
        1: (np.array([[2, 1], [1, 2]]) / 6, np.array([[1, -1], [-1, 1]]) * 1.0),
        2: (
            np.array([[4, 2, -1], [2, 16, 2], [-1, 2, 4]]) / 30,
            np.array([[7, -8, 1], [-8, 16, -8], [1, -8, 7]]) / 3,
        ),
    }[p]
    M, K = np.zeros((nodes, nodes)), np.zeros((nodes, nodes))
    for first in range(0, nodes - 1, p):
        here = slice(first, first + p + 1)
        M[here, here] += h * one[0]
        K[here, here] += one[1] / h
    return M, K


@pytest.mark.parametrize("mass", ["lumped", "consistent"])
@pytest.mark.parametrize(("element", "nodes"), [("P0", 6), ("P1", 6), ("P2", 7)])
def test_matrices_of_an_interval(element: str, nodes: int, mass: str) -> None:
    space = NeuronSpace.interval(nodes, element, mass, extent=1.5)
    M, K = line(nodes, element, 1.5)
    np.testing.assert_allclose(space.weights, M.sum(axis=1), rtol=ROUNDING)
    M = M if mass == "consistent" else np.diag(M.sum(axis=1))
    np.testing.assert_allclose(space.factor.mass.toarray(), M, atol=ROUNDING)
    np.testing.assert_allclose(space.factor.stiffness.toarray(), K, atol=1e-11)
    offset = 0.75 / nodes if element == "P0" else 0.0
    x = np.linspace(offset, 1.5 - offset, nodes)
    np.testing.assert_allclose(space.coordinates[:, 0], x, atol=ROUNDING)


@pytest.mark.parametrize(("element", "shape"), [("P0", (3, 4)), ("P1", (3, 4)), ("P2", (3, 5))])
def test_matrices_of_a_rectangle_are_those_of_its_sides(
    element: str, shape: tuple[int, int]
) -> None:
    space = NeuronSpace.rectangle(shape, element, "consistent", extent=(2.0, 0.5))
    (My, Ky), (Mx, Kx) = line(shape[0], element, 2.0), line(shape[1], element, 0.5)
    np.testing.assert_allclose(space.factor.mass.toarray(), np.kron(My, Mx), atol=ROUNDING)
    K = np.kron(Ky, Mx) + np.kron(My, Kx)
    np.testing.assert_allclose(space.factor.stiffness.toarray(), K, atol=1e-11)


def test_nodes_of_a_rectangle_lie_like_pixels() -> None:
    x = NeuronSpace.rectangle((2, 3), extent=(1.0, 4.0)).coordinates
    np.testing.assert_allclose(x[:, 0], [0, 2, 4, 0, 2, 4], atol=ROUNDING)
    np.testing.assert_allclose(x[:, 1], [1, 1, 1, 0, 0, 0], atol=ROUNDING)


def triangles(name: str) -> tuple[Array, NDArray[np.int64]]:
    """Vertices that cells use, in the order of a Gmsh file, and the triangles."""
    gmsh = pytest.importorskip("gmsh")
    gmsh.initialize()
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.open(str(MESHES / f"{name}.msh"))
        tags, x, _ = gmsh.model.mesh.getNodes()
        cells = gmsh.model.mesh.getElementsByType(2)[1].reshape(-1, 3).astype(np.int64)
    finally:
        gmsh.finalize()
    x = x.reshape(-1, 3)[np.argsort(tags), :2]
    used, cells = np.unique(cells, return_inverse=True)
    return x[used - 1], cells.reshape(-1, 3)


def test_a_mesh_file_keeps_its_numbers() -> None:
    x, cells = triangles("disc")
    space = NeuronSpace.mesh(MESHES / "disc.msh", mass="consistent")
    np.testing.assert_array_equal(space.coordinates, x)
    M, K = np.zeros((len(x), len(x))), np.zeros((len(x), len(x)))
    for cell in cells:
        a, b, c = x[cell]
        area = 0.5 * abs((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0])
        edges = np.array([c - b, a - c, b - a])  # gradients are these, turned, over twice the area
        M[np.ix_(cell, cell)] += area / 12.0 * (1.0 + np.eye(3))
        K[np.ix_(cell, cell)] += edges @ edges.T / (4.0 * area)
    np.testing.assert_allclose(space.factor.mass.toarray(), M, atol=1e-16)
    np.testing.assert_allclose(space.factor.stiffness.toarray(), K, atol=1e-12)
    # The boundary is a polygon of n sides in the circle of radius 1/2.
    n = int(np.count_nonzero(np.abs(np.hypot(*(x - 0.5).T) - 0.5) < 1e-9))
    area = n / 8.0 * np.sin(2.0 * np.pi / n)
    assert space.weights.sum() == pytest.approx(area, rel=1e-3)
    assert space.weights.sum() == pytest.approx(M.sum(), rel=1e-13)


def test_cells_of_a_mesh_file_keep_their_order() -> None:
    x, cells = triangles("square")
    space = NeuronSpace.mesh(MESHES / "square.msh", "P0")
    np.testing.assert_allclose(space.coordinates, x[cells].mean(axis=1), atol=ROUNDING)
    np.testing.assert_allclose(space.weights, 0.5 / 32**2, rtol=1e-10)


def test_an_xdmf_file_keeps_its_numbers(tmp_path: Path) -> None:
    domain = mesh.create_unit_square(MPI.COMM_SELF, 3, 2)
    path = tmp_path / "square.xdmf"
    with io.XDMFFile(MPI.COMM_SELF, path, "w") as file:
        file.write_mesh(domain)
    with h5py.File(path.with_suffix(".h5")) as stored:
        x = np.asarray(stored["Mesh/mesh/geometry"])
    np.testing.assert_array_equal(NeuronSpace.mesh(path).coordinates, x)


def test_resized_spaces_are_of_the_same_kind() -> None:
    line = NeuronSpace.interval(5, "P1", "consistent", extent=2.0, channels=2).resized(9)
    assert (line.element, line.nodes, line.channels, line.lumped) == ("P1", 9, 2, False)
    assert line.weights.sum() == pytest.approx(4.0)
    square = NeuronSpace.rectangle((3, 3), extent=(2.0, 3.0)).resized((4, 5))
    assert square.nodes == 20
    assert square.weights.sum() == pytest.approx(6.0)
    assert NeuronSpace.points(3).resized(4).neurons == 4


@pytest.mark.parametrize("element", ["P0", "P1", "P2"])
def test_a_mesh_in_plain_types_is_the_same_mesh(element: str) -> None:
    domain = read_domain(MPI.COMM_SELF, MESHES / "disc.msh")
    again = domain_from_dict(domain_to_dict(domain))
    a, b = (NeuronSpace.mesh(d, element, "consistent") for d in (domain, again))
    np.testing.assert_array_equal(a.coordinates, b.coordinates)


@pytest.mark.parametrize(
    ("element", "mass"), [("P0", "lumped"), ("P1", "lumped"), ("P1", "consistent")]
)
def test_modes_of_an_interval_are_cosines(element: str, mass: str) -> None:
    n = 9
    space = NeuronSpace.interval(n, element, mass)
    mu, phi = space.factor.modes
    h = 1.0 / n if element == "P0" else 1.0 / (n - 1)
    angle = np.pi * h * np.arange(n)
    exact = 2.0 / h**2 * (1.0 - np.cos(angle))
    if mass == "consistent":
        exact *= 3.0 / (2.0 + np.cos(angle))
    np.testing.assert_allclose(mu, exact, atol=1e-10 * exact.max())
    for k in range(n):
        shape = np.cos(k * np.pi * space.coordinates[:, 0])
        shape /= np.sqrt(shape @ space.factor.mass @ shape)
        assert abs(shape @ space.factor.mass @ phi[:, k]) == pytest.approx(1.0, abs=1e-10)


def test_channels_lie_side_by_side() -> None:
    one, two = NeuronSpace.interval(4, "P1"), NeuronSpace.interval(4, "P1", channels=2)
    assert two.neurons == 8
    np.testing.assert_array_equal(two.weights, np.tile(one.weights, 2))
    np.testing.assert_array_equal(
        two.factor.stiffness.toarray(), np.kron(np.eye(2), one.factor.stiffness.toarray())
    )
    mu, phi = two.factor.modes
    np.testing.assert_array_equal(mu, np.tile(one.factor.modes[0], 2))
    np.testing.assert_array_equal(phi, np.kron(np.eye(2), one.factor.modes[1]))
    np.testing.assert_array_equal(
        two.prolongation(NeuronSpace.interval(7, "P1", channels=2)).toarray(),
        np.kron(np.eye(2), one.prolongation(NeuronSpace.interval(7, "P1")).toarray()),
    )


NESTED = [
    (NeuronSpace.interval(4, "P0"), NeuronSpace.interval(12, "P0")),
    (NeuronSpace.interval(5, "P1"), NeuronSpace.interval(9, "P1")),
    (NeuronSpace.interval(5, "P1"), NeuronSpace.interval(9, "P2")),
    (NeuronSpace.interval(5, "P2"), NeuronSpace.interval(9, "P2")),
    (NeuronSpace.rectangle((2, 3), "P0"), NeuronSpace.rectangle((4, 9), "P0")),
    (NeuronSpace.rectangle((3, 4), "P1"), NeuronSpace.rectangle((5, 7), "P1")),
    (NeuronSpace.rectangle((3, 5), "P2"), NeuronSpace.rectangle((5, 9), "P2")),
    (
        NeuronSpace.rectangle((2, 2), "P1"),
        NeuronSpace.mesh(MESHES / "square.msh", "P2", "consistent"),
    ),
]


@pytest.mark.parametrize(("coarse", "fine"), NESTED)
def test_prolongation_to_a_nested_space_is_the_embedding(
    coarse: NeuronSpace, fine: NeuronSpace
) -> None:
    P = coarse.prolongation(fine)
    np.testing.assert_allclose(
        (P.T @ fine.field.mass @ P).toarray(), coarse.field.mass.toarray(), atol=1e-14
    )
    if coarse.element != "P0":
        np.testing.assert_allclose(
            (P.T @ fine.field.stiffness @ P).toarray(), coarse.field.stiffness.toarray(), atol=1e-11
        )
        np.testing.assert_allclose(
            P @ coarse.interpolate(lambda x: 1.0 - 3.0 * x[0]),
            fine.interpolate(lambda x: 1.0 - 3.0 * x[0]),
            atol=ROUNDING,
        )


def test_prolongation_from_cells_to_vertices_takes_the_mean() -> None:
    P = NeuronSpace.interval(2).prolongation(NeuronSpace.interval(3, "P1"))
    np.testing.assert_allclose(P.toarray(), [[1, 0], [0.5, 0.5], [0, 1]], atol=ROUNDING)


def test_points_a_little_outside_of_a_disc_go_on_with_the_polynomial() -> None:
    space = NeuronSpace.mesh(MESHES / "disc.msh")
    u = space.interpolate(lambda x: x[0] - 2.0 * x[1])
    angle = np.linspace(0.0, 2.0 * np.pi, 50)
    x = 0.5 + 0.5001 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(space.evaluate(x) @ u, x[:, 0] - 2.0 * x[:, 1], atol=1e-11)
    with pytest.raises(InputError, match=r"0\.5 outside of the mesh"):
        space.evaluate(np.array([[1.5, 0.5]]))


@pytest.mark.parametrize(
    "space",
    [
        NeuronSpace.interval(9, "P1"),
        NeuronSpace.interval(9, "P2"),
        NeuronSpace.rectangle((4, 5)),
        NeuronSpace.rectangle((5, 5), "P2"),
        NeuronSpace.mesh(MESHES / "square.msh"),
    ],
)
def test_operators(space: NeuronSpace) -> None:
    x, d = space.coordinates, space.dimension
    coefficients = np.array([2.0, -3.0])[:d]
    (one,) = space.operator("1")
    np.testing.assert_array_equal(one.toarray(), np.eye(space.nodes))
    for k, D in enumerate(space.operator("grad")):
        np.testing.assert_allclose(D @ (x @ coefficients), coefficients[k], atol=1e-10)
    (laplace,) = space.operator("laplace")
    hessian = space.operator("hessian")
    assert len(hessian) == d * (d + 1) // 2
    trace = hessian[0] if d == 1 else hessian[0] + hessian[2]
    assert abs(trace - laplace).max() < 1e-12 * abs(laplace).max()
    assert abs(laplace @ np.ones(space.nodes)).max() < 1e-12 * abs(laplace).max()
    if space.element == "P1" and space.kind != "mesh":
        inside = np.all((x > 1e-9) & (x < 1.0 - 1e-9), axis=1)
        value = laplace @ (x**2 @ coefficients)
        np.testing.assert_allclose(value[inside], 2.0 * coefficients.sum(), atol=1e-10)
    if d == 2 and space.kind == "rectangle" and space.element == "P1":
        inside = np.all((x > 1e-9) & (x < 1.0 - 1e-9), axis=1)
        np.testing.assert_allclose((hessian[1] @ (x[:, 0] * x[:, 1]))[inside], 1.0, atol=1e-10)


def test_plain_points_have_unit_weights_and_no_geometry() -> None:
    space = NeuronSpace.points(5)
    assert space.is_points
    assert space.uniform == 1.0
    assert space.factor.is_plain
    with pytest.raises(InputError, match="no geometry"):
        space.field  # noqa: B018
    with pytest.raises(InputError, match="5 neurons cannot be interpolated to 6"):
        space.prolongation(NeuronSpace.points(6))


def test_refused_spaces() -> None:
    with pytest.raises(InputError, match="odd numbers"):
        NeuronSpace.interval(6, "P2")
    with pytest.raises(InputError, match="at least 2"):
        NeuronSpace.rectangle((1, 3))
    with pytest.raises(InputError, match="element 'P3'"):
        NeuronSpace.interval(6, "P3")
    with pytest.raises(InputError, match="lumped mass of P2 on these cells is not positive"):
        NeuronSpace.mesh(MESHES / "disc.msh", "P2")
    with pytest.raises(InputError, match="no gradients"):
        NeuronSpace.interval(4).operator("grad")
    with pytest.raises(InputError, match="unknown operator 'curl'"):
        NeuronSpace.interval(4, "P1").operator("curl")
    with pytest.raises(InputError, match="1 channels on 'interval' cannot be interpolated to 2"):
        NeuronSpace.interval(4).prolongation(NeuronSpace.interval(4, channels=2))
    box = mesh.create_unit_cube(MPI.COMM_SELF, 1, 1, 1)
    with pytest.raises(InputError, match="cells of dimension 3 in 3D"):
        NeuronSpace.mesh(box)
    with pytest.raises(InputError, match="cannot be resized"):
        NeuronSpace.mesh(MESHES / "disc.msh").resized(3)


def test_p2_weights_on_triangles_are_positive_and_add_up() -> None:
    space = NeuronSpace.mesh(MESHES / "square.msh", "P2", "consistent")
    assert space.weights.min() > 0.0
    assert space.weights.sum() == pytest.approx(1.0, rel=1e-12)
    # Exact for linear functions: on every cell the vertices share one weight, the middles another.
    assert space.weights @ space.coordinates[:, 0] == pytest.approx(0.5, rel=1e-12)
