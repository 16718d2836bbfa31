"""Systems solved for blocks of right-hand sides."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from dolfinx.fem import petsc
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError, NotConverged, NumericalFailure
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.factorised import CHOLESKY, LU, MULTIGRID, Factorised

COMM = MPI.COMM_SELF


def _system(shift: float = 1.0) -> tuple[Blocks, PETSc.Mat, np.ndarray]:
    V = fem.functionspace(mesh.create_unit_square(COMM, 5, 4), ("Lagrange", 1))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    a = shift * u * v * ufl.dx + ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx
    A = petsc.assemble_matrix(fem.form(a))
    A.assemble()
    rows = range(A.getSize()[0])
    return Blocks(V), A, A.getValues(rows, rows)


@pytest.mark.parametrize("options", [None, LU, CHOLESKY, {**MULTIGRID, "ksp_rtol": 1e-13}])
def test_solves_blocks_of_any_width(options: dict | None) -> None:
    blocks, A, dense = _system()
    solver = Factorised(A, "test_widths", options)
    assert solver.ksp.getPC().getType() == (LU if options is None else options)["pc_type"]
    rng = np.random.default_rng(0)
    for samples in (1, 3, 1, 4, 2, 3):
        b = rng.standard_normal((blocks.owned, samples))
        x = solver.solve(b)
        assert x.flags.c_contiguous
        np.testing.assert_allclose(x, np.linalg.solve(dense, b), rtol=1e-10, atol=1e-11)
    first = solver.solve(b)
    solver.solve(2.0 * b)  # a result is not overwritten by the next
    np.testing.assert_allclose(dense @ first, b, rtol=0, atol=1e-11)
    solver.destroy()


def test_new_values_need_an_update() -> None:
    blocks, A, dense = _system()
    solver = Factorised(A, "test_update", CHOLESKY)
    A.scale(2.0)
    solver.update()
    b = np.ones((blocks.owned, 2))
    np.testing.assert_allclose(solver.solve(b), np.linalg.solve(2.0 * dense, b), rtol=1e-10)


def test_the_options_data_base_wins() -> None:
    blocks, A, _ = _system()
    data = PETSc.Options()
    data.setValue("test_choice_ksp_type", "gmres")
    try:
        solver = Factorised(A, "test_choice", MULTIGRID)
        assert solver.ksp.getType() == "gmres"
        assert solver.solve(np.ones((blocks.owned, 1))).sum() > 0.0
    finally:
        data.delValue("test_choice_ksp_type")


def test_what_does_not_converge_or_is_singular_is_reported() -> None:
    blocks, A, _ = _system()
    slow = Factorised(A, "test_slow", {"ksp_type": "cg", "pc_type": "none", "ksp_max_it": 2})
    b = np.random.default_rng(1).standard_normal((blocks.owned, 2))
    for width in (1, 2):
        with pytest.raises(
            NotConverged, match=r"'test_slow' stopped after 2 .* -test_slow_ksp_max_it"
        ):
            slow.solve(b[:, :width])
    # A column that is easy does not hide one that is not, in whatever order.
    for easy in (0, 1):
        mixed = b.copy()
        mixed[:, easy] = 0.0
        with pytest.raises(NotConverged, match="stopped after 2"):
            slow.solve(mixed)
    A.zeroEntries()
    A.assemble()
    with pytest.raises(NumericalFailure, match="singular"):
        Factorised(A, "test_singular", LU)


def test_blocks_of_another_space_are_refused() -> None:
    blocks, A, _ = _system()
    solver = Factorised(A, "test_shape")
    for wrong in (np.zeros((blocks.owned + 1, 1)), np.zeros(blocks.owned)):
        with pytest.raises(InputError, match=r"expected \(30, samples\)"):
            solver.solve(wrong)
        with pytest.raises(InputError, match=r"expected \(30, samples\)"):
            blocks.ghosted(wrong)
