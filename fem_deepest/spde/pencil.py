"""The matrices of a semilinear equation, ``M dU = -K U dtau``, on blocks.

Each rank multiplies blocks by the matrix of its own cells, and the rows of ghosts are added to their
owners, so that no rank needs more than the ghosts of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import ufl
from dolfinx import fem
from dolfinx.fem import petsc
from numpy.typing import NDArray

from fem_deepest import _compat
from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.lumped import Lumped

Array = NDArray[np.float64]

_NONE = np.empty(0, dtype=np.int32)


class Pencil:
    """Mass and stiffness with Dirichlet conditions, eliminated symmetrically.

    Args:
        V: Lagrange space.
        A: Bilinear form.
        bcs: Dirichlet conditions.
        lumped: Nodes whose lumped masses are ``M``, or None for the exact mass matrix.

    Attributes:
        fixed: Owned dofs with a Dirichlet condition.
        symmetric: Whether ``A`` is.

    Raises:
        InputError: ``A`` is no bilinear form on ``V``.

    Collective: construction and every method.
    """

    def __init__(self, V: Any, A: ufl.Form, bcs: Sequence[Any], lumped: Lumped | None) -> None:
        if len(A.arguments()) != 2 or any(a.ufl_function_space() != V for a in A.arguments()):
            raise InputError(
                "A is not a bilinear form on V; write it with ufl.TrialFunction(V), ufl.TestFunction(V)"
            )
        self._blocks, self._bcs, self._lumped = Blocks(V), list(bcs), lumped
        u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        # FFCx (0.9 at least) mixes up the rules of one form: each integral is a form of its own.
        forms = [ufl.inner(u, v) * ufl.dx, *(ufl.Form([part]) for part in A.integrals())]
        self._forms = [fem.form(form, jit_options=_compat.JIT_OPTIONS) for form in forms]
        self._mass, *parts = (_cellwise(form, self._blocks.local) for form in self._forms)
        self._stiffness = sum(parts[1:], parts[0])
        self._assembled: list[PETSc.Mat] = []
        owned = [dofs[:count] for dofs, count in (bc.dof_indices() for bc in self._bcs)]
        self.fixed = np.unique(np.concatenate(owned)) if owned else _NONE
        self.symmetric = self._is_symmetric()

    def mass(self, U: Array) -> Array:
        """``M U``, all rows."""
        if self._lumped is not None:
            return self._lumped.integrate(U)
        return self._multiply(self._mass, U)

    def stiffness(self, U: Array) -> Array:
        """``K U``, all rows."""
        return self._multiply(self._stiffness, U)

    def matrix(self, alpha: float, gamma: float) -> PETSc.Mat:
        """``alpha M + gamma K``; Dirichlet rows and columns are those of a diagonal matrix."""
        if not self._assembled:
            self._assemble()
        M, *parts = self._assembled
        A = parts[0].copy()
        A.scale(gamma)
        different = PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN
        for part in parts[1:]:
            A.axpy(gamma, part, different)
        if self._lumped is None:
            A.axpy(alpha, M, different)
        else:
            masses = A.createVecLeft()
            masses.array_w[...] = alpha * np.repeat(self._lumped.weights, self._blocks.bs)
            A.setDiagonal(masses, PETSc.InsertMode.ADD_VALUES)
            masses.destroy()
        if self.symmetric:
            A.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        return A

    def _assemble(self) -> None:
        for number, form in enumerate(self._forms):
            A = petsc.create_matrix(form)
            petsc.assemble_matrix(A, form, self._bcs, 0.0 if number else 1.0)
            A.assemble()
            self._assembled.append(A)

    def _multiply(self, matrix: sp.csr_matrix, U: Array) -> Array:
        return self._blocks.accumulate(matrix @ self._blocks.ghosted(U))

    def _is_symmetric(self) -> bool:
        """Whether ``(K x, y) = (x, K y)`` for two vectors that are in no eigenspace."""
        blocks = self._blocks
        i = blocks.start + np.arange(blocks.owned, dtype=float)
        x, y = np.cos(1.7 * i + 0.4 * i * i)[:, None], np.sin(2.3 * i + 0.7 * i * i)[:, None]
        Kx, Ky = self.stiffness(x), self.stiffness(y)
        parts = np.array([np.vdot(Kx, y) - np.vdot(x, Ky), np.vdot(np.abs(Kx), np.abs(y))])
        difference, size = blocks.V.mesh.comm.allreduce(parts)
        return bool(abs(difference) <= 1e-12 * size)


def _cellwise(form: fem.Form, local: int) -> sp.csr_matrix:
    """The matrix of this rank's cells, (local, local) dofs with ghosts; ranks are not summed yet."""
    A = fem.assemble_matrix(form)
    bs = form.function_spaces[0].dofmap.index_map_bs
    # The pattern has columns of other ranks' rows too, which are empty until ranks are summed.
    columns = max(local, bs * (int(A.indices.max(initial=-1)) + 1))
    data = (A.data.reshape(-1, bs, bs), A.indices, A.indptr)
    whole = sp.bsr_matrix(data, (bs * (len(A.indptr) - 1), columns)).tocsr()
    return whole[:, :local]
