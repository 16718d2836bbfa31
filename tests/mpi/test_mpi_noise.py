"""Blocks, solves and noise on all ranks against the same on one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ufl
from dolfinx import fem, io, mesh
from dolfinx.fem import petsc
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.noise.hierarchy import Nested, refine
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


LOADS: list[tuple[Any, bool]] = [
    (("Lagrange", 2), False),
    (("Lagrange", 1, (2,)), False),
    (("Lagrange", 1), True),
]


def check_same_noise(make: Make) -> None:
    """Coefficients bit for bit, the loads to rounding."""
    coefficients, loads = [], []
    for comm in (WORLD, MPI.COMM_SELF):
        domain = make(comm)
        spaces = [fem.functionspace(domain, element) for element, _ in LOADS]
        noises = [WhiteNoise(V, 3, 1, lumped) for V, (_, lumped) in zip(spaces, LOADS, strict=True)]
        white = noises[0]
        coefficients.append(_by_place(comm, white.quadrature.x, white.points(5, 0.1, [0, 4])))
        for V, white in zip(spaces, noises, strict=True):
            x = V.tabulate_dof_coordinates()[: white.blocks.owned // white.blocks.bs]
            loads.append(_by_place(comm, x, white.load(5, 0.1, [0, 4]).reshape(len(x), -1)))
    assert len(coefficients[1]) > 8
    np.testing.assert_array_equal(*coefficients)
    for many, one in zip(loads[: len(LOADS)], loads[len(LOADS) :], strict=True):
        np.testing.assert_allclose(many, one, rtol=0, atol=1e-14 * np.abs(one).max())


@all_meshes
def test_noise_on_created_meshes(make: Make) -> None:
    check_same_noise(make)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One folder for all ranks."""
    return Path(WORLD.bcast(str(tmp_path)))


@pytest.mark.parametrize("kind", ["triangle", "hexahedron"])
def test_noise_on_meshes_from_xdmf(folder: Path, kind: str) -> None:
    """Written by all ranks, so that the order in the file is not that of the created mesh."""
    with io.XDMFFile(WORLD, folder / "mesh.xdmf", "w") as file:
        file.write_mesh(MESHES[kind](WORLD))
    WORLD.Barrier()

    def read(comm: MPI.Intracomm) -> mesh.Mesh:
        with io.XDMFFile(comm, folder / "mesh.xdmf", "r") as file:
            return file.read_mesh()

    check_same_noise(read)


MSH = """$MeshFormat
2.2 0 8
$EndMeshFormat
$Nodes
{nodes}
$EndNodes
$Elements
{elements}
$EndElements
"""


def test_noise_on_a_mesh_from_gmsh(folder: Path) -> None:
    """A disc: fan of triangles around a fan, in a file of gmsh's format 2.2."""
    gmsh = pytest.importorskip("dolfinx.io.gmshio" if hasattr(io, "gmshio") else "dolfinx.io.gmsh")
    pytest.importorskip("gmsh")
    n = 11
    angle = 2 * np.pi * np.arange(n) / n
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    x = np.concatenate([np.zeros((1, 2)), 0.4 * ring, ring])
    i, j = 1 + np.arange(n), 1 + (np.arange(n) + 1) % n
    cells = np.concatenate([[0 * i, i, j], [i, i + n, j + n], [i, j + n, j]], axis=1).T
    if WORLD.rank == 0:
        nodes = [len(x), *(f"{k + 1} {a!r} {b!r} 0" for k, (a, b) in enumerate(x.tolist()))]
        lines = [f"{k + 1} 2 2 1 1 {a + 1} {b + 1} {c + 1}" for k, (a, b, c) in enumerate(cells)]
        text = MSH.format(
            nodes="\n".join(map(str, nodes)), elements="\n".join([str(len(lines)), *lines])
        )
        (folder / "disc.msh").write_text(text)
    WORLD.Barrier()
    check_same_noise(lambda comm: gmsh.read_from_msh(str(folder / "disc.msh"), comm, gdim=2)[0])


@pytest.mark.parametrize("kind", ["interval", "triangle", "tetrahedron"])
def test_noise_on_refined_meshes(kind: str) -> None:
    """Refined meshes are distributed anew; their cells count their vertices as they like."""
    levels = 2 if kind == "interval" else 1

    def make(comm: MPI.Intracomm) -> mesh.Mesh:
        domain = MESHES[kind](comm)
        for _ in range(levels):
            domain = refine(domain)
        return domain

    check_same_noise(make)


@pytest.mark.parametrize(("kind", "degree"), [("triangle", 2), ("hexahedron", 1)])
def test_coarse_loads(kind: str, degree: int) -> None:
    """The two meshes are distributed independently; the transpose is the transpose."""

    def pair(comm: MPI.Intracomm) -> tuple[Any, Any]:
        if kind == "triangle":
            coarse = MESHES[kind](comm)
            fine = refine(coarse)
        else:
            coarse, fine = (
                mesh.create_unit_cube(comm, 3 * n, 2 * n, n, CELLS.hexahedron) for n in (1, 2)
            )
        return tuple(fem.functionspace(d, ("Lagrange", degree, (2,))) for d in (coarse, fine))

    def restricted(comm: MPI.Intracomm) -> np.ndarray:
        V_c, V_f = pair(comm)
        load = Nested(V_c, V_f).restrict(WhiteNoise(V_f, 2).load(3, 0.2, range(3)))
        x = V_c.tabulate_dof_coordinates()[: len(load) // 2]
        return _by_place(comm, x, load.reshape(len(x), -1))

    many, one = (restricted(c) for c in (WORLD, MPI.COMM_SELF))
    np.testing.assert_allclose(many, one, rtol=0, atol=1e-14 * np.abs(one).max())
    V_c, V_f = pair(WORLD)
    nested, rng = Nested(V_c, V_f), np.random.default_rng(WORLD.rank)
    u, b = (rng.standard_normal((space.owned, 3)) for space in (nested.source, nested.target))
    left, right = np.sum(nested.prolong(u) * b), np.sum(u * nested.restrict(b))
    assert WORLD.allreduce(left) == pytest.approx(WORLD.allreduce(right), rel=1e-11)


def test_a_fault_on_one_rank_is_refused_on_all() -> None:
    domain = MESHES["triangle"](WORLD)
    if WORLD.rank == WORLD.size - 1:
        domain.geometry.x[0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        cell_keys(domain)


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
