"""Pixels enter the neuron index by projection and leave it as cell means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dolfinx import mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces import NeuronSpace
from fem_deepest.spaces.pixels import integrals

Array = NDArray[np.float64]
MESHES = Path(__file__).parents[2] / "meshes"


def hats(nodes: int, cells: int, length: float) -> Array:
    """``int`` of P1 hats over equal cells, (cells, nodes): differences of their antiderivatives."""
    x, edges = np.linspace(0.0, length, nodes), np.linspace(0.0, length, cells + 1)
    h = x[1] - x[0]

    def antiderivative(s: Array) -> Array:
        """Of the hat at 0 on (-h, h)."""
        s = np.clip(s / h, -1.0, 1.0)
        return h * np.where(s < 0.0, 0.5 * (1.0 + s) ** 2, 1.0 - 0.5 * (1.0 - s) ** 2)

    F = antiderivative(edges[:, None] - x[None, :])
    return np.diff(F, axis=0)


@pytest.mark.parametrize("cells", [3, 4, 7])
def test_integrals_on_an_interval(cells: int) -> None:
    B = integrals(NeuronSpace.interval(5, "P1", extent=1.5), [cells])
    np.testing.assert_allclose(B.toarray(), hats(5, cells, 1.5), atol=1e-15)


@pytest.mark.parametrize("shape", [(8, 8), (5, 3), (2, 12)])
def test_integrals_on_a_rectangle_are_products(shape: tuple[int, int]) -> None:
    B = integrals(NeuronSpace.rectangle((4, 6), extent=(2.0, 0.5)), shape)
    exact = np.kron(hats(4, shape[0], 2.0), hats(6, shape[1], 0.5))
    np.testing.assert_allclose(B.toarray(), exact, atol=1e-15)


@pytest.mark.parametrize("element", ["P1", "P2"])
def test_cell_means_of_polynomials_on_triangles(element: str) -> None:
    space = NeuronSpace.mesh(MESHES / "square.msh", element, "consistent")
    down, across = 5, 7  # the grid and the mesh have nothing to do with each other
    L = space.leave((down, across))
    x = np.tile((np.arange(across) + 0.5) / across, down)
    y = np.repeat((down - np.arange(down) - 0.5) / down, across)
    np.testing.assert_allclose(
        L @ space.interpolate(lambda s: s[0] - 2.0 * s[1]), x - 2.0 * y, atol=1e-13
    )
    if element == "P2":
        means = (x**2 + 1.0 / (12.0 * across**2)) + x * y
        np.testing.assert_allclose(
            L @ space.interpolate(lambda s: s[0] ** 2 + s[0] * s[1]), means, atol=1e-13
        )


def test_cells_that_are_pixels_hold_the_image() -> None:
    space = NeuronSpace.rectangle((3, 4), "P0")
    np.testing.assert_allclose(space.enter((3, 4)), np.eye(12), atol=1e-14)
    np.testing.assert_allclose(space.leave((3, 4)), np.eye(12), atol=1e-14)
    fine = NeuronSpace.rectangle((6, 12), "P0")
    copies = np.kron(np.kron(np.eye(3), np.ones((2, 1))), np.kron(np.eye(4), np.ones((3, 1))))
    np.testing.assert_allclose(fine.enter((3, 4)), copies, atol=1e-13)
    np.testing.assert_allclose(fine.leave((3, 4)), copies.T / 6.0, atol=1e-13)


SPACES = [
    (NeuronSpace.interval(5, "P1"), (4,)),
    (NeuronSpace.interval(6, "P0", channels=2), (4,)),
    (NeuronSpace.interval(7, "P2", "consistent"), (5,)),
    (NeuronSpace.rectangle((4, 5), "P1", "consistent"), (8, 8)),
    (NeuronSpace.rectangle((5, 5), "P2", channels=3), (2, 3)),
    (NeuronSpace.mesh(MESHES / "disc.msh"), (4, 4)),
    (NeuronSpace.mesh(MESHES / "disc.msh", mass="consistent"), (4, 4)),
]


@pytest.mark.parametrize(("space", "shape"), SPACES)
def test_enter_and_leave_are_adjoint(space: NeuronSpace, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(1)
    E, L = space.enter(shape), space.leave(shape)
    areas = np.asarray(integrals(space, shape).sum(axis=1)).ravel()
    z, x = random.standard_normal(E.shape[1]), random.standard_normal(space.neurons)
    left, right = x @ space.factor.apply_mass(E @ z, 0), (areas * z) @ (L @ x)
    assert left == pytest.approx(right, abs=1e-13 * np.abs(areas).sum() * z.size)
    # A constant image is a constant field and the other way round; the other channels are empty.
    ones = np.ones(E.shape[1])
    np.testing.assert_allclose((E @ ones)[: space.nodes], 1.0, rtol=1e-11)
    np.testing.assert_array_equal((E @ z)[space.nodes :], 0.0)
    np.testing.assert_allclose(L[:, : space.nodes].sum(axis=1), 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("coarse", "fine", "shape"),
    [
        (NeuronSpace.interval(4), NeuronSpace.interval(16), (3,)),
        (NeuronSpace.interval(5, "P1"), NeuronSpace.interval(17, "P1"), (8,)),
        (NeuronSpace.rectangle((5, 5)), NeuronSpace.rectangle((9, 9), "P2"), (8, 8)),
        (NeuronSpace.rectangle((9, 9)), NeuronSpace.rectangle((17, 17)), (8, 8)),
        (
            NeuronSpace.rectangle((3, 3), channels=2),
            NeuronSpace.rectangle((5, 5), channels=2),
            (4, 4),
        ),
    ],
)
def test_functionals_do_not_know_the_refinement(
    coarse: NeuronSpace, fine: NeuronSpace, shape: tuple[int, ...]
) -> None:
    P = coarse.prolongation(fine)
    np.testing.assert_allclose(fine.leave(shape) @ P, coarse.leave(shape), atol=1e-14)


def test_consistent_projections_are_projections_of_each_other() -> None:
    coarse, fine = (NeuronSpace.interval(n, "P1", "consistent") for n in (5, 9))
    P = coarse.prolongation(fine)
    # The projection to the coarse space of the projection to the fine one, which holds it.
    again = coarse.factor.solve_mass(P.T @ (fine.factor.mass @ fine.enter([7])), 0)
    np.testing.assert_allclose(again, coarse.enter([7]), atol=1e-12)


def test_refused_data() -> None:
    with pytest.raises(
        InputError, match="shape 8 x 8 were given for points, expected a neuron index in 2D"
    ):
        NeuronSpace.points(64).enter((8, 8))
    with pytest.raises(InputError, match="shape 8 x 8 were given for a neuron index in 1D"):
        NeuronSpace.interval(64).enter((8, 8))
    with pytest.raises(
        InputError, match=r"shape 10 were given for a neuron index in 2D, expected .* 1D"
    ):
        NeuronSpace.mesh(MESHES / "disc.msh").enter((10,))
    with pytest.raises(
        InputError, match=r"4 of the 8 x 8 pixels lie outside .* in row 1, column 1"
    ):
        NeuronSpace.mesh(MESHES / "disc.msh").leave((8, 8))


def test_quadrilaterals_of_a_file_are_cut_like_triangles() -> None:
    x = np.array([[0, 0], [1, 0], [2, 0], [0.4, 1], [1.4, 1], [2.4, 1]])  # two parallelograms
    cells = np.array([[0, 1, 3, 4], [1, 2, 4, 5]])
    import basix.ufl
    import ufl

    element = ufl.Mesh(basix.ufl.element("Lagrange", "quadrilateral", 1, shape=(2,)))
    domain = mesh.create_mesh(MPI.COMM_SELF, cells=cells, x=x * 1.0, e=element)
    space = NeuronSpace.mesh(domain, mass="consistent")
    np.testing.assert_array_equal(space.coordinates, x)
    B = integrals(space, (3, 5))
    assert B.sum() == pytest.approx(2.0, rel=1e-14)
    centre = np.array([1.2, 0.5])
    for k in range(2):
        assert (B @ x[:, k]).sum() == pytest.approx(2.0 * centre[k], rel=1e-14)
