"""Blocks, solves and noise on all ranks against the same on one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.fem import petsc
from mpi4py import MPI

from fem_deepest.noise.keys import cell_keys
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.factorised import CHOLESKY, MULTIGRID, Factorised
from fem_deepest.spaces.quadrature import Quadrature

WORLD = MPI.COMM_WORLD
CELLS = mesh.CellType
Make = Callable[[MPI.Intracomm], mesh.Mesh]

MESHES: dict[str, Make] = {
    "interval": lambda c: mesh.create_interval(c, 17, (0.0, 0.3)),
    "triangle": lambda c: mesh.create_rectangle(c, [[0.1, 0], [1, 0.7]], [5, 6]),
    "quadrilateral": lambda c: mesh.create_unit_square(c, 5, 6, CELLS.quadrilateral),
    "tetrahedron": lambda c: mesh.create_unit_cube(c, 3, 2, 2),
    "hexahedron": lambda c: mesh.create_box(
        c, [[0, 0, 0], [1, 2, 0.3]], [3, 2, 2], CELLS.hexahedron
    ),
}
all_meshes = pytest.mark.parametrize("make", MESHES.values(), ids=MESHES.keys())


def _by_place(comm: MPI.Intracomm, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows of all ranks of ``comm``, sorted by where they belong; places are rounded.

    Points of some rules lie on edges, in several cells: then the values decide.
    """
    own = np.column_stack([np.rint(x * 1e9), rows])
    every = np.concatenate(comm.allgather(own))
    return every[np.lexsort(every.T[::-1])][:, x.shape[1] :]


def _both(make: Make, show: Callable[[mesh.Mesh], tuple[np.ndarray, np.ndarray]]) -> list[Any]:
    return [_by_place(c, *show(make(c))) for c in (WORLD, MPI.COMM_SELF)]


def check_same_noise(make: Make) -> None:
    """Coefficients bit for bit, the loads to rounding."""

    def coefficients(domain: mesh.Mesh) -> tuple[np.ndarray, np.ndarray]:
        white = WhiteNoise(fem.functionspace(domain, ("Lagrange", 2)), 3, stream=1)
        assert white.quadrature is not None
        return white.quadrature.x, white.points(5, 0.1, [0, 4])

    def loads(domain: mesh.Mesh, element: Any, lumped: bool) -> tuple[np.ndarray, np.ndarray]:
        V = fem.functionspace(domain, element)
        white = WhiteNoise(V, 3, lumped=lumped)
        x = V.tabulate_dof_coordinates()[: white.blocks.owned // white.blocks.bs]
        return x, white.load(5, 0.1, [0, 4]).reshape(len(x), -1)

    many, one = _both(make, coefficients)
    assert len(one) > 8
    np.testing.assert_array_equal(many, one)
    for element, lumped in [
        (("Lagrange", 2), False),
        (("Lagrange", 1, (2,)), False),
        (("Lagrange", 1), True),
    ]:
        many, one = _both(make, lambda d, e=element, o=lumped: loads(d, e, o))
        np.testing.assert_allclose(many, one, rtol=0, atol=1e-14 * np.abs(one).max())


@all_meshes
def test_noise_on_created_meshes(make: Make) -> None:
    check_same_noise(make)


@all_meshes
def test_cell_keys(make: Make) -> None:
    def show(domain: mesh.Mesh) -> tuple[np.ndarray, np.ndarray]:
        tdim = domain.topology.dim
        owned = np.arange(domain.topology.index_map(tdim).size_local, dtype=np.int32)
        keys = cell_keys(domain)[owned]
        halves = np.column_stack([keys >> np.uint64(32), keys & np.uint64(2**32 - 1)])
        return mesh.compute_midpoints(domain, tdim, owned), halves.astype(np.float64)

    many, one = _both(make, show)
    np.testing.assert_array_equal(many, one)


@pytest.mark.parametrize("element", [("Lagrange", 1), ("Lagrange", 2, (2,)), ("DG", 1)], ids=str)
def test_ghosts_and_their_adjoint(element: Any) -> None:
    V = fem.functionspace(MESHES["triangle"](WORLD), element)
    blocks, rng = Blocks(V), np.random.default_rng(WORLD.rank)
    number = fem.Function(V)
    number.x.array[: blocks.owned] = blocks.start + np.arange(blocks.owned)
    number.x.scatter_forward()
    for samples in (1, 3):
        tag = np.arange(samples) * blocks.size
        ghosted = blocks.ghosted(blocks.of(number) + tag)
        np.testing.assert_array_equal(ghosted, number.x.array[:, None] + tag)
        u, v = (
            rng.standard_normal((blocks.owned, samples)),
            rng.standard_normal((blocks.local, samples)),
        )
        left, right = np.sum(blocks.ghosted(u) * v), np.sum(u * blocks.accumulate(v))
        assert WORLD.allreduce(left) == pytest.approx(WORLD.allreduce(right), rel=1e-12)


@pytest.mark.parametrize(
    "options", [CHOLESKY, {**MULTIGRID, "ksp_rtol": 1e-13}], ids=["chol", "cg"]
)
def test_solves(options: dict) -> None:
    def solved(domain: mesh.Mesh) -> tuple[np.ndarray, np.ndarray]:
        V = fem.functionspace(domain, ("Lagrange", 1))
        u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        A = petsc.assemble_matrix(fem.form((u * v + ufl.inner(ufl.grad(u), ufl.grad(v))) * ufl.dx))
        A.assemble()
        solver = Factorised(A, "test_mpi_solves", options)
        load = WhiteNoise(V, 1).load(0, 1.0, range(3))
        x = np.column_stack([solver.solve(load), solver.solve(load[:, 1:2])])
        solver.destroy()
        A.destroy()
        return V.tabulate_dof_coordinates()[: len(x)], x

    many, one = _both(MESHES["triangle"], solved)
    np.testing.assert_allclose(many, one, rtol=0, atol=1e-10 * np.abs(one).max())
    np.testing.assert_allclose(one[:, 3], one[:, 1], rtol=0, atol=1e-10 * np.abs(one).max())


def test_quadrature_is_a_pair() -> None:
    """``int g u dx`` from both sides, and of a known function."""
    V = fem.functionspace(MESHES["triangle"](WORLD), ("Lagrange", 2, (2,)))
    rule, rng = Quadrature(V), np.random.default_rng(WORLD.rank)
    f = fem.Function(V)
    f.interpolate(lambda x: np.array([1.0 + x[0] * x[1], x[1] ** 2]))
    x, y = rule.x.T
    exact = np.column_stack([1.0 + x * y, y**2]).reshape(-1, 1)
    np.testing.assert_allclose(rule.evaluate(rule.blocks.of(f)), exact, rtol=0, atol=1e-14)
    u = rng.standard_normal((rule.blocks.owned, 2))
    g = rng.standard_normal((2 * rule.points, 2))
    left = np.sum(np.repeat(rule.weights, 2)[:, None] * rule.evaluate(u) * g)
    right = np.sum(u * rule.integrate(g))
    assert WORLD.allreduce(left) == pytest.approx(WORLD.allreduce(right), rel=1e-12)
