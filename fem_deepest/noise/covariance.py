"""Covariance operators of Gaussian fields on a finite element space.

A field ``u`` with coefficients ``N(0, C)`` has the covariance operator ``Q = C M`` on L2, ``M`` the mass
matrix: ``C`` takes loads (dual) to fields (primal). Its square root ``S`` takes a white load
``b ~ N(0, M)`` to such a field,

    u = S b,      S M S^T = C,

and ``M S b`` is the load ``int phi_i u dx`` of that field: what a coloured Wiener process adds to the
right-hand side where a white one adds ``b``.

The *regularity number* ``beta`` is the least upper bound of all numbers with
``||A^{(beta-1)/2} Q^{1/2}||_HS < inf``, ``A = -Laplace``, in the limit of fine meshes. It is not reached
unless said otherwise, and it presumes that the boundary conditions of ``Q`` are those of ``A``: the
fields of another boundary condition are not in the domain of ``A^{3/4}``, so beyond 3/2 nothing is won.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from numpy.typing import NDArray

from fem_deepest import _compat
from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.factorised import CHOLESKY, MULTIGRID, Factorised
from fem_deepest.spaces.multiplied import Multiplied

Array = NDArray[np.float64]

_MOST = 20_000  # dofs of which an exact diagonal is computed, in minutes
_COLUMNS = 64  # unit vectors side by side where a diagonal is computed
_DIRECT = {1: 2_000_000, 2: 200_000, 3: 30_000}  # dofs up to which a factorisation is faster


class White(Protocol):
    """White noise on a space: loads ``N(0, dt M)``."""

    V: Any
    seed: int
    stream: int

    def load(self, step: int, dt: float, samples: Any = (0,)) -> Array:
        """Block ``int phi_i dW`` of a step, (owned, S)."""
        ...


class Covariance(ABC):
    """Covariance operator ``C`` on a space.

    Args:
        V: Function space.

    Attributes:
        V: The space.
        blocks: Layout of its blocks.
        mass: ``M`` on blocks.
        lumped: Whether white loads are ``N(0, M_L)``, ``M_L`` the lumped mass matrix.

    Collective: construction and every method but ``beta`` and ``trace_class``.
    """

    lumped = False

    def __init__(self, V: fem.FunctionSpace) -> None:
        self.V, self.blocks = V, Blocks(V)
        self.mass = Multiplied(mass_matrix(V))

    @abstractmethod
    def apply(self, r: Array) -> Array:
        """``C r``: loads to fields, both (owned, S)."""

    @abstractmethod
    def apply_sqrt(self, b: Array) -> Array:
        """``S b``: white loads ``N(0, M)`` to fields ``N(0, C)``, both (owned, S)."""

    @abstractmethod
    def beta(self, d: int | None = None) -> float:
        """Regularity number with respect to ``-Laplace`` in ``d`` dimensions (of the mesh, if None)."""

    @property
    def trace_class(self) -> bool:
        """Whether ``tr Q`` and the variance at a point have a limit: ``beta = 1`` is reached."""
        return self.beta() > 1.0

    def load(self, b: Array) -> Array:
        """``M S b``: white loads to loads of the coloured field, both (owned, S)."""
        return self.mass(self.apply_sqrt(b))

    def driver(self, white: White, step: int, dt: float, samples: Any = (0,)) -> Array:
        """Loads from which :meth:`apply_sqrt` and :meth:`load` make the increment of a step.

        White loads, unless the covariance has random numbers of its own (one for each mode). Linear:
        the drivers of several steps may be added.

        Args:
            white: White noise on the same space.
            step: Number of the step.
            dt: Its length.
            samples: Numbers of the samples.
        """
        return white.load(step, dt, samples)

    def sample(self, white: White, step: int = 0, dt: float = 1.0, samples: Any = (0,)) -> Array:
        """Fields ``N(0, dt C)``, one column for each sample, (owned, S); see :meth:`driver`."""
        return self.apply_sqrt(self.driver(white, step, dt, samples))

    def trace(self) -> float:
        """``tr Q = tr(M C)``: the mean of ``|u|^2`` in L2.

        Computed without sampling, by one application to every unit vector.

        Raises:
            InputError: The mesh is too big for that.
        """
        return float(self._diagonal(lambda unit: self.apply(self.mass(unit))).sum())

    def variance(self) -> Array:
        """Variance of every coefficient: the diagonal of ``C``, (owned,); see :meth:`trace`."""
        return self._diagonal(self.apply, gathered=False)

    def dimension(self, d: int | None) -> int:
        """``d``, or the dimension of the mesh if it is None."""
        return int(self.V.mesh.topology.dim) if d is None else d

    def _diagonal(self, operator: Any, *, gathered: bool = True) -> Array:
        if self.blocks.size > _MOST:
            raise InputError(
                f"the exact variances of {self.blocks.size} dofs would take as many solves, expected at "
                f"most {_MOST}; ask for them on a coarser mesh"
            )
        own = np.zeros(self.blocks.owned)
        start = self.blocks.start
        for first in range(0, self.blocks.size, _COLUMNS):
            width = min(_COLUMNS, self.blocks.size - first)
            unit = self.blocks.zeros(width)
            mine = np.arange(max(first, start), min(first + width, start + self.blocks.owned))
            unit[mine - start, mine - first] = 1.0
            own[mine - start] = operator(unit)[mine - start, mine - first]
        if not gathered:
            return own
        return np.concatenate(self.V.mesh.comm.allgather(own))

    @cached_property
    def inverse_mass(self) -> Factorised:
        """``M^{-1}`` on blocks."""
        return solver(self.mass.A, "mass", int(self.V.mesh.topology.dim))


def assembled(form: ufl.Form) -> PETSc.Mat:
    """Matrix of a bilinear form. Collective."""
    compiled = fem.form(form, jit_options=_compat.JIT_OPTIONS)
    matrix = fem_petsc.create_matrix(compiled)
    fem_petsc.assemble_matrix(matrix, compiled, [], 1.0)
    matrix.assemble()
    return matrix


def mass_matrix(V: fem.FunctionSpace) -> PETSc.Mat:
    """``M_ij = int phi_j phi_i``. Collective."""
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    return assembled(ufl.inner(u, v) * ufl.dx)


def solver(A: PETSc.Mat, prefix: str, dimension: int) -> Factorised:
    """Solver of a symmetric definite system: a factorisation, or multigrid to 1e-12 if it is big.

    Options ``-PREFIX_ksp_type`` and the like are obeyed. Collective.
    """
    A.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    A.setOption(PETSc.Mat.Option.SPD, True)
    small = A.getSize()[0] <= _DIRECT[dimension]
    return Factorised(A, prefix, CHOLESKY if small else {**MULTIGRID, "ksp_rtol": 1e-12})
