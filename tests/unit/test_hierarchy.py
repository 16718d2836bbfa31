"""Nested meshes: the embedding, and one noise on two levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.noise.hierarchy import Nested, refine
from fem_deepest.noise.keys import cell_keys, dof_keys
from fem_deepest.noise.white import WhiteNoise

COMM = MPI.COMM_SELF
CELLS = mesh.CellType


def _bend(domain: mesh.Mesh) -> mesh.Mesh:
    """Bilinear in each cell of a coarse 2 x 3 mesh and its refinements, so that they stay nested."""
    x = domain.geometry.x
    x[:, 0] += 0.2 * x[:, 0] * x[:, 1]
    return domain


def _box(n: int, kind: Any) -> mesh.Mesh:
    return mesh.create_box(COMM, [[0, 0, 0], [1, 2, 1]], [n, n, 2 * n], kind)


def _square(n: int) -> mesh.Mesh:
    return mesh.create_unit_square(COMM, 2 * n, 3 * n)


def _pair(make: Callable[[int], mesh.Mesh]) -> tuple[mesh.Mesh, mesh.Mesh]:
    return make(1), make(2)


def _refined(coarse: mesh.Mesh) -> tuple[mesh.Mesh, mesh.Mesh]:
    return coarse, refine(coarse)


PAIRS: dict[str, Callable[[], tuple[mesh.Mesh, mesh.Mesh]]] = {
    "interval": lambda: _pair(lambda n: mesh.create_interval(COMM, 5 * n, (0.0, 0.7))),
    "triangle": lambda: _pair(_square),
    "quadrilateral": lambda: _pair(
        lambda n: _bend(mesh.create_unit_square(COMM, 2 * n, 3 * n, CELLS.quadrilateral))
    ),
    "tetrahedron": lambda: _pair(lambda n: _box(n, CELLS.tetrahedron)),
    "hexahedron": lambda: _pair(lambda n: _box(n, CELLS.hexahedron)),
    "interval-refined": lambda: _refined(mesh.create_interval(COMM, 5, (0.0, 0.7))),
    "triangle-refined": lambda: _refined(_bend(_square(1))),
    "tetrahedron-refined": lambda: _refined(_box(1, CELLS.tetrahedron)),
}


def _mass(V: Any) -> np.ndarray:
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    return fem.assemble_matrix(fem.form(ufl.inner(u, v) * ufl.dx)).to_dense()


ELEMENTS: list[tuple[Any, Any]] = [
    (("Lagrange", 1), ("Lagrange", 1)),
    (("Lagrange", 2), ("Lagrange", 2)),
    (("Lagrange", 1), ("Lagrange", 2)),
    (("Lagrange", 1, (2,)), ("Lagrange", 1, (2,))),
]


@pytest.mark.parametrize(("coarse", "fine"), ELEMENTS, ids=str)
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())
def test_galerkin_product_of_the_mass_is_the_coarse_mass(pair: Any, coarse: Any, fine: Any) -> None:
    domains = pair()
    V_c, V_f = (fem.functionspace(d, e) for d, e in zip(domains, (coarse, fine), strict=True))
    nested = Nested(V_c, V_f)
    P = nested.prolong(np.eye(nested.source.owned))
    np.testing.assert_allclose(nested.restrict(np.eye(nested.target.owned)), P.T, rtol=0, atol=0)
    M_c, M_f = _mass(V_c), _mass(V_f)
    np.testing.assert_allclose(P.T @ M_f @ P, M_c, rtol=0, atol=2e-14 * np.abs(M_c).max())


def test_a_coarse_load_has_the_law_and_the_path_of_the_fine_one() -> None:
    """``P^T B_f`` is a factor of the coarse mass, and it meets the total noise, ``sum_i b_i = W(D)``."""
    domains = PAIRS["triangle-refined"]()
    V_c, V_f = (fem.functionspace(d, ("Lagrange", 1)) for d in domains)
    nested, white = Nested(V_c, V_f), WhiteNoise(V_f, 3)
    B = nested.restrict(white.factor.toarray())
    np.testing.assert_allclose(B @ B.T, _mass(V_c), rtol=0, atol=1e-15)
    fine = white.load(2, 0.1, [0, 1, 5])
    np.testing.assert_allclose(
        nested.restrict(fine).sum(axis=0), fine.sum(axis=0), rtol=0, atol=1e-14
    )


def test_spaces_that_are_not_nested_are_refused() -> None:
    V = fem.functionspace(_square(1), ("Lagrange", 1))
    other = fem.functionspace(mesh.create_unit_square(COMM, 3, 4), ("Lagrange", 1))
    with pytest.raises(InputError, match="not contained in the fine one"):
        Nested(V, other)
    with pytest.raises(InputError, match="not contained"):
        Nested(fem.functionspace(_square(1), ("Lagrange", 2)), V)
    with pytest.raises(InputError, match="as many components"):
        Nested(V, fem.functionspace(_square(2), ("Lagrange", 1, (2,))))
    with pytest.raises(InputError, match="continuous source"):
        Nested(fem.functionspace(_square(1), ("DG", 1)), V)
    longer = mesh.create_rectangle(COMM, ((0.0, 0.0), (2.0, 1.0)), (8, 4))
    with pytest.raises(InputError, match="lie in no cell of the source"):
        Nested(V, fem.functionspace(longer, ("Lagrange", 1)))
    with pytest.raises(InputError, match="create it anew"):
        refine(mesh.create_unit_square(COMM, 2, 2, CELLS.quadrilateral))


def test_vertices_keep_their_keys_under_refinement() -> None:
    coarse, fine = PAIRS["tetrahedron-refined"]()
    spaces = [fem.functionspace(d, ("Lagrange", 1)) for d in (coarse, fine)]
    keys = [dof_keys(V) for V in spaces]
    places = [
        {tuple(x): k for x, k in zip(V.tabulate_dof_coordinates().round(9), key, strict=True)}
        for V, key in zip(spaces, keys, strict=True)
    ]
    assert len(places[0]) == keys[0].size
    assert all(places[1][x] == key for x, key in places[0].items())
    # All different: of vertices, of cells, and of the nodes of a discontinuous space.
    for d in (coarse, fine):
        every = np.concatenate([cell_keys(d), dof_keys(fem.functionspace(d, ("Lagrange", 3)))])
        assert np.unique(every).size == every.size
        broken = dof_keys(fem.functionspace(d, ("DG", 2)))
        assert np.unique(broken).size == broken.size


def test_keys_do_not_depend_on_how_cells_count_their_vertices() -> None:
    """The same mesh with the vertices, and the cells, in another order."""
    rng = np.random.default_rng(0)
    x = np.array([[0.0, 0.0], [1.0, 0.1], [0.2, 0.9], [1.1, 1.2], [2.0, 0.4]])
    cells = np.array([[0, 1, 2], [1, 2, 3], [1, 3, 4]])
    element = ufl.Mesh(basix.ufl.element("Lagrange", "triangle", 1, shape=(2,)))
    found = []
    for _ in range(4):
        order = rng.permutation(len(x))
        new = np.argsort(order)[cells]
        new = rng.permuted(new, axis=1)[rng.permutation(3)]
        domain = mesh.create_mesh(COMM, cells=new, x=x[order], e=element)
        V = fem.functionspace(domain, ("Lagrange", 3))
        white = WhiteNoise(V, 7)
        load = white.load(1, 0.3)[:, 0]
        place = V.tabulate_dof_coordinates().round(9)
        at = np.lexsort(place.T)
        found.append((np.sort(cell_keys(domain)), dof_keys(V)[at], load[at]))
    for keys, dofs, load in found[1:]:
        np.testing.assert_array_equal(keys, found[0][0])
        np.testing.assert_array_equal(dofs, found[0][1])
        np.testing.assert_allclose(load, found[0][2], rtol=0, atol=1e-14)


def test_a_mesh_without_keys_is_refused() -> None:
    for value, reason in ((0.0, "same vertices"), (np.nan, "not finite")):
        domain = _square(1)
        domain.geometry.x[:] = value
        with pytest.raises(InputError, match=f"not available: .*{reason}"):
            cell_keys(domain)
