"""Semilinear stochastic partial differential equations on any DOLFINx mesh.

    du = -( A u + f(u) ) dtau + G(u) dW

``A`` is a bilinear form, ``f`` and ``G`` are written in UFL, ``W`` is a ``Q``-Wiener process on the same
space. In coefficients, with the mass matrix ``M``, the stiffness ``K`` of ``A`` and the load
``b_i = int G(u) phi_i dW``,

    M dU = -( K U + F(U) ) dtau + b.

Everything acts on blocks (owned dofs, samples), see :mod:`fem_deepest.spaces.block`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
import ufl
from dolfinx import fem
from dolfinx.fem import petsc
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest import _compat
from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.lumped import Lumped
from fem_deepest.spaces.quadrature import Quadrature, Rule
from fem_deepest.spde.diffusion import ByModes, Diffusion, Multiplication
from fem_deepest.spde.pointwise import Density, Pointwise

Array = NDArray[np.float64]

_NONE = np.empty(0, dtype=np.int32)


class SemilinearSPDE:
    """``du = -(A u + f(u)) dtau + G(u) dW``, Ito or Stratonovich.

    Boundary conditions: *Dirichlet* by ``bcs``, constant in time, eliminated symmetrically (the
    increments of the solution are zero there); *Neumann* (natural) by saying nothing; *periodic* on a
    mesh that is closed, such as :func:`fem_deepest.spaces.ring.create_ring` in one dimension.

    Args:
        V: Scalar Lagrange space.
        A: Bilinear form of a trial and a test function of ``V``; ``inner(grad(u), grad(v))*dx`` is
            ``-Laplace``.
        f: Function of the unknown that returns a UFL scalar of ``u``, ``grad(u)`` and the coordinates,
            or None for ``f = 0``.
        G: Function of the unknown that returns a UFL scalar of ``u`` and the coordinates, or None for
            ``G = 1``; or one for each mode of a process of finite rank.
        noise: ``Q``-Wiener process on ``V`` (:class:`fem_deepest.noise.wiener.QWiener` or
            :class:`fem_deepest.noise.finite_rank.FiniteRank`), or None for no noise.
        interpretation: "ito" or "stratonovich".
        bcs: Dirichlet conditions.
        u0: Initial value; zero if None. Dirichlet values are set in it.
        degree: Quadrature degree of ``int f(u) v``; by default four times that of ``V``, which is exact
            for a cubic on affine cells.
        rough: Allow noise under which the solution has no limit as the mesh is refined.
        discrete_density: Take the variance density that noise has on this mesh where it has none in
            the limit, in Ito corrections and Milstein terms.

    Attributes:
        blocks: Rows of the blocks.
        additive: Whether ``G`` does not depend on the unknown.
        symmetric: Whether ``A`` is.
        lumped: Nodes of lumped noise, whose masses are ``M`` then; None where ``M`` is exact.
        lifted: Whether a Dirichlet value is not zero.
        fixed: Owned dofs with a Dirichlet condition.

    Raises:
        InputError: The forms do not fit, or the noise is too rough for the equation.

    Collective on the mesh: construction and every method.
    """

    def __init__(
        self,
        V: Any,
        *,
        A: ufl.Form,
        f: Density | None = None,
        G: Density | Sequence[Density] | None = None,
        noise: Any = None,
        interpretation: str = "ito",
        bcs: Sequence[Any] = (),
        u0: fem.Function | None = None,
        degree: int | None = None,
        rough: bool = False,
        discrete_density: bool = False,
    ) -> None:
        if interpretation not in ("ito", "stratonovich"):
            raise InputError(
                f"interpretation = '{interpretation}'; expected 'ito' or 'stratonovich'"
            )
        if len(A.arguments()) != 2 or any(a.ufl_function_space() != V for a in A.arguments()):
            raise InputError(
                "A is not a bilinear form on V; write it with ufl.TrialFunction(V), ufl.TestFunction(V)"
            )
        if G is not None and noise is None:
            raise InputError("G was given without noise; give the Wiener process too")
        self.V, self.blocks, self.noise = V, Blocks(V), noise
        self.interpretation, self._bcs = interpretation, list(bcs)
        self.f: Pointwise | None = None
        if f is not None:
            self.points = Quadrature(V, 4 * V.ufl_element().degree if degree is None else degree)
            self.f = Pointwise(f, self.points, "f")
        u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        self._forms = [
            fem.form(a, jit_options=_compat.JIT_OPTIONS) for a in (ufl.inner(u, v) * ufl.dx, A)
        ]
        self._mass, self._stiffness = (_cellwise(a, self.blocks.local) for a in self._forms)
        rule = getattr(noise, "quadrature", None)
        self.lumped: Lumped | None = rule if isinstance(rule, Lumped) else None
        self._assembled: list[PETSc.Mat] = []
        self.fixed = self._fixed_dofs()
        self.u0 = fem.Function(V) if u0 is None else u0
        for bc in self._bcs:
            bc.set(self.u0.x.array)
        self.u0.x.scatter_forward()
        self.symmetric = self._is_symmetric()
        values = np.abs(self.u0.x.array[self.fixed]).max(initial=0.0)
        self.lifted: bool = V.mesh.comm.allreduce(float(values), MPI.MAX) > 0.0
        self.G: Diffusion | None = None
        if noise is not None:
            self._drive(G, rough, discrete_density)

    @property
    def additive(self) -> bool:
        """Whether ``G`` does not depend on the unknown."""
        return self.G is None or self.G.constant

    def start(self, samples: int = 1) -> Array:
        """The initial value as a block, (owned, samples)."""
        return np.repeat(self.blocks.of(self.u0), samples, axis=1)

    def mass(self, U: Array) -> Array:
        """``M U``; zero in the rows of Dirichlet dofs, like all dual blocks here."""
        if self.lumped is not None:
            return self._free(self.lumped.integrate(U))
        return self._free(self._multiply(self._mass, U))

    def linear(self, U: Array) -> Array:
        """``K U``."""
        return self._free(self._multiply(self._stiffness, U))

    def reaction(self, U: Array, tame: Callable[[Array], Array] | None = None) -> Array | float:
        """The load ``int f(U) phi``; 0 if there is none.

        Args:
            U: (owned, S).
            tame: Function that the values of ``f`` at the points go through first.
        """
        if self.f is None:
            return 0.0
        f = self.f.value(U)
        return self._load(self.points, f if tame is None else tame(f), U)

    def correction(self, U: Array) -> Array | float:
        """The load of what a Stratonovich equation adds to the Ito drift, ``int 1/2 G'G q phi``."""
        if self.interpretation == "ito" or self.G is None or self.additive:
            return 0.0
        return self._load(self.G.points, self.G.stratonovich(U), U)

    def drift(self, U: Array) -> Array | float:
        """``F(U)`` of the Ito drift ``-( K U + F(U) )``."""
        return self.reaction(U) - self.correction(U)

    def diffusion(self, U: Array, dW: Any) -> Array:
        """The load ``int G(U) phi dW`` of an increment."""
        if self.G is None:
            return self._free(np.array(dW.load))
        return self._load(self.G.points, self.G.increment(U, dW), U)

    def iterated(self, U: Array, dW: Any, dt: float) -> Array | float:
        """The load of the iterated Ito integrals of a step, see :class:`Diffusion`."""
        if self.G is None or self.additive:
            return 0.0
        return self._load(self.G.points, self.G.iterated(U, dW, dt), U)

    def slope(self, U: Array) -> Array:
        """``f'(U)`` at the points, (points, S)."""
        assert self.f is not None
        return self.f.derivative(U)

    def multiply(self, c: Array, p: Array) -> Array:
        """``int c p phi`` with ``c`` at the points of ``f``, (points, S)."""
        return self._load(self.points, c * self.points.evaluate(p), p)

    def inner(self, x: Array, y: Array) -> Array:
        """Euclidean inner products of the columns, (S,), the same on all ranks."""
        local = np.einsum("is,is->s", x, y)
        return np.asarray(self.V.mesh.comm.allreduce(local))

    def matrix(self, alpha: float, gamma: float) -> PETSc.Mat:
        """``alpha M + gamma K`` with Dirichlet rows and columns of a diagonal matrix."""
        if not self._assembled:
            for form, diagonal in zip(self._forms, (1.0, 0.0), strict=True):
                A = petsc.create_matrix(form)
                petsc.assemble_matrix(A, form, self._bcs, diagonal)
                A.assemble()
                self._assembled.append(A)
        M, K = self._assembled
        A = K.copy()
        A.scale(gamma)
        if self.lumped is None:
            A.axpy(alpha, M, PETSc.Mat.Structure.DIFFERENT_NONZERO_PATTERN)
        else:
            masses = A.createVecLeft()
            masses.array_w[...] = alpha * np.repeat(self.lumped.weights, self.blocks.bs)
            A.setDiagonal(masses, PETSc.InsertMode.ADD_VALUES)
            masses.destroy()
        if self.symmetric:
            A.setOption(PETSc.Mat.Option.SYMMETRIC, True)
        return A

    def _drive(self, G: Density | Sequence[Density] | None, rough: bool, discrete: bool) -> None:
        """Take the noise, unless the solution has no limit under it."""
        dimension = self.V.mesh.topology.dim
        beta = self.noise.covariance.beta(dimension)
        if beta <= 0.0 and not rough:
            raise InputError(
                f"the noise is too rough: beta = {beta:g} in dimension {dimension}, expected more than "
                "0, or E|u|^2 grows without bound as the mesh is refined (white noise: like log 1/h in "
                "2D); take smoother noise, or say rough=True for the law on this mesh"
            )
        if G is None:
            return
        if callable(G):
            self.G = Multiplication(G, self.noise, discrete=discrete)
        else:
            self.G = ByModes(G, self.noise)
        if self.interpretation == "stratonovich" and not self.additive:
            self.G.need_density("a Stratonovich equation")

    def _load(self, points: Rule, values: Array, U: Array) -> Array:
        return self._free(points.integrate(np.broadcast_to(values, (points.points, U.shape[1]))))

    def _free(self, dual: Array) -> Array:
        dual[self.fixed] = 0.0
        return dual

    def _multiply(self, matrix: sp.csr_matrix, U: Array) -> Array:
        return self.blocks.accumulate(matrix @ self.blocks.ghosted(U))

    def _fixed_dofs(self) -> NDArray[np.int32]:
        owned = [bc.dof_indices() for bc in self._bcs]
        return np.unique(np.concatenate([dofs[:n] for dofs, n in owned])) if owned else _NONE

    def _is_symmetric(self) -> bool:
        """Whether ``(K x, y) = (x, K y)`` for two vectors that are in no eigenspace."""
        i = self.blocks.start + np.arange(self.blocks.owned, dtype=float)
        x, y = np.cos(1.7 * i + 0.4 * i * i)[:, None], np.sin(2.3 * i + 0.7 * i * i)[:, None]
        Kx, Ky = self._multiply(self._stiffness, x), self._multiply(self._stiffness, y)
        parts = np.array([np.vdot(Kx, y) - np.vdot(x, Ky), np.vdot(np.abs(Kx), np.abs(y))])
        difference, size = self.V.mesh.comm.allreduce(parts)
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
