"""Depth mesh against the closed forms of P1 elements on an interval."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces import DepthMesh

Array = NDArray[np.float64]

MESHES = {
    "one-cell": DepthMesh.graded(0.3, 1),
    "uniform": DepthMesh.graded(2.0, 7),
    "graded": DepthMesh.graded(1.5, 40, 2.5),
    "coarse-at-the-input": DepthMesh.graded(1.0, 5, 0.5),
    "any-nodes": DepthMesh(np.array([0.0, 0.1, 1.0, 1.01, 4.0])),
}


@pytest.fixture(params=MESHES.values(), ids=MESHES.keys())
def depth(request: pytest.FixtureRequest) -> DepthMesh:
    return request.param


def _p1_matrices(nodes: Array) -> tuple[Array, Array]:
    """Dense M_t and K_t from the element matrices h/6 [2 1; 1 2] and 1/h [1 -1; -1 1]."""
    mass, stiffness = np.zeros((2, nodes.size, nodes.size))
    for i, h in enumerate(np.diff(nodes)):
        mass[i : i + 2, i : i + 2] += h / 6 * np.array([[2, 1], [1, 2]])
        stiffness[i : i + 2, i : i + 2] += 1 / h * np.array([[1, -1], [-1, 1]])
    return mass, stiffness


def _dense(diagonal: Array, off: Array) -> Array:
    return np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)


def test_matrices_are_the_p1_tridiagonals(depth: DepthMesh) -> None:
    mass, stiffness = _p1_matrices(depth.nodes)
    # DOLFINx takes h from coordinates, which costs eps T / h.
    tolerance = 1e-14 * depth.nodes[-1] / depth.steps.min()
    np.testing.assert_allclose(_dense(*depth.mass), mass, rtol=tolerance, atol=0.0)
    np.testing.assert_allclose(_dense(*depth.stiffness), stiffness, rtol=tolerance, atol=0.0)


def test_graded_nodes() -> None:
    np.testing.assert_allclose(
        DepthMesh.graded(2.0, 4).nodes, [0.0, 0.5, 1.0, 1.5, 2.0], rtol=1e-15
    )
    np.testing.assert_allclose(DepthMesh.graded(3.0, 3, 2.0).nodes, [0.0, 1 / 3, 4 / 3, 3.0])
    assert DepthMesh.graded(0.1, 49, 1.7).nodes[-1] == 0.1


@pytest.mark.parametrize("grading", [1.0, 1.3, 2.0, 0.5])
@pytest.mark.parametrize("cells", [1, 3, 10, 49])
def test_doubling_nests_graded_meshes(cells: int, grading: float) -> None:
    coarse, fine = (DepthMesh.graded(1.7, n, grading) for n in (cells, 2 * cells))
    # To the bit: i/n and 2i/2n are the same floating-point number.
    np.testing.assert_array_equal(fine.nodes[::2], coarse.nodes)


@pytest.mark.parametrize("grading", [1.0, 1.8])
def test_prolongation_to_a_nested_mesh_keeps_the_function(grading: float) -> None:
    coarse, fine = (DepthMesh.graded(1.7, n, grading) for n in (6, 12))
    identity = np.eye(7)
    matrix = coarse.prolong(fine, identity)
    assert matrix.shape == (13, 7)
    np.testing.assert_array_equal(matrix[::2], identity)
    # The same functions have the same inner products on both meshes.
    for of_coarse, of_fine in zip(
        _p1_matrices(coarse.nodes), _p1_matrices(fine.nodes), strict=True
    ):
        np.testing.assert_allclose(
            matrix.T @ of_fine @ matrix, of_coarse, atol=1e-13 * np.abs(of_coarse).max()
        )


def test_prolongation_of_a_matrix_field_is_entrywise() -> None:
    coarse, fine = DepthMesh.graded(1.0, 3), DepthMesh.graded(1.0, 5)
    values = np.random.default_rng(0).standard_normal((4, 2, 3))
    got = coarse.prolong(fine, values)
    assert got.shape == (6, 2, 3)
    for i, j in np.ndindex(2, 3):
        expected = np.interp(fine.nodes, coarse.nodes, values[:, i, j])
        np.testing.assert_allclose(got[:, i, j], expected, atol=1e-14)


def test_prolongation_to_any_mesh_is_the_interpolation_of_dolfinx() -> None:
    coarse, fine = DepthMesh.graded(1.5, 7, 1.4), DepthMesh.graded(1.5, 18, 2.0)
    values = np.random.default_rng(1).standard_normal(8)
    source, target = coarse.to_function(values), fem.Function(fine.space)
    cells = np.arange(18, dtype=np.int32)
    data = fem.create_interpolation_data(fine.space, coarse.space, cells, padding=1e-12)
    target.interpolate_nonmatching(source, cells, data)
    expected = target.x.array[np.argsort(fine.space.tabulate_dof_coordinates()[:, 0])]
    # The search for the cell projects the points: a few more bits are lost there.
    np.testing.assert_allclose(coarse.prolong(fine, values), expected, atol=1e-12)


@pytest.mark.parametrize("abscissae", [(0.0,), (0.5,), (0.0, 0.5), (0.0, 0.5, 1.0)], ids=str)
def test_stage_values(depth: DepthMesh, abscissae: tuple[float, ...]) -> None:
    random = np.random.default_rng(2)
    values = random.standard_normal((depth.cells + 1, 2))
    stages = depth.at_stages(abscissae, values)
    assert stages.shape == (depth.cells, len(abscissae), 2)
    for slot, c in enumerate(abscissae):
        for column in range(2):
            expected = np.interp(depth.nodes[:-1] + c * depth.steps, depth.nodes, values[:, column])
            np.testing.assert_allclose(stages[:, slot, column], expected, atol=1e-13)
    # The transpose adds to what is there.
    dual, start = random.standard_normal(stages.shape), random.standard_normal(values.shape)
    out = start.copy()
    depth.at_stages_transposed(abscissae, dual, out)
    bound = 1e-14 * np.linalg.norm(stages) * np.linalg.norm(dual)
    assert abs(np.vdot(stages, dual) - np.vdot(values, out - start)) < bound


def test_function_has_the_node_values(depth: DepthMesh) -> None:
    values = np.random.default_rng(4).standard_normal(depth.cells + 1)
    function = depth.to_function(values)
    where = depth.space.tabulate_dof_coordinates()[:, 0]
    np.testing.assert_allclose(function.x.array, np.interp(where, depth.nodes, values), atol=1e-13)
    # A P1 function is integrated exactly by the trapezoidal rule.
    integral = fem.assemble_scalar(fem.form(function * ufl.dx))
    assert integral == pytest.approx(np.trapezoid(values, depth.nodes), abs=1e-13)


@pytest.mark.parametrize(
    "nodes",
    [
        [],
        [0.0],
        [0.5, 1.0],
        [0.0, 1.0, 1.0],
        [0.0, 2.0, 1.0],
        [[0.0, 1.0]],
        [0.0, np.nan, 1.0],
        [0.0, 1.0, np.inf],
    ],
    ids=str,
)
def test_bad_nodes_are_refused(nodes: list) -> None:
    with pytest.raises(InputError, match="increasing from 0"):
        DepthMesh(np.array(nodes))


@pytest.mark.parametrize("depth", [0.0, -1.0])
def test_a_depth_must_be_positive(depth: float) -> None:
    with pytest.raises(InputError):
        DepthMesh.graded(depth, 4)
