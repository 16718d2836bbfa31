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
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.lumped import Lumped
from fem_deepest.spaces.quadrature import Quadrature, Rule
from fem_deepest.spde.diffusion import ByModes, Diffusion, Multiplication
from fem_deepest.spde.pencil import Pencil
from fem_deepest.spde.pointwise import Density, Pointwise

Array = NDArray[np.float64]


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
        matrix: ``alpha M + gamma K``, see :meth:`Pencil.matrix`.
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
        if G is not None and noise is None:
            raise InputError("G was given without noise; give the Wiener process too")
        self.V, self.blocks, self.noise = V, Blocks(V), noise
        self.interpretation = interpretation
        rule = getattr(noise, "quadrature", None)
        self.lumped = rule if isinstance(rule, Lumped) else None
        self._linear = Pencil(V, A, bcs, self.lumped)
        self.matrix, self.symmetric = self._linear.matrix, self._linear.symmetric
        self.fixed = self._linear.fixed
        self.f: Pointwise | None = None
        if f is not None:
            self.points = Quadrature(V, 4 * V.ufl_element().degree if degree is None else degree)
            self.f = Pointwise(f, self.points, "f")
        self.u0 = fem.Function(V) if u0 is None else u0
        for bc in bcs:
            bc.set(self.u0.x.array)
        self.u0.x.scatter_forward()
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
        return self._free(self._linear.mass(U))

    def linear(self, U: Array) -> Array:
        """``K U``."""
        return self._free(self._linear.stiffness(U))

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
