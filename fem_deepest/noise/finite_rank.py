"""Wiener processes of finite rank: given functions times independent Brownian motions.

    W(tau, x) = sum_j e_j(x) beta_j(tau),      Q = sum_j e_j (e_j, .),      q(x) = sum_j e_j(x)^2.

One constant function is a space-constant (scalar) Brownian motion. The numbers of a mode are those of
its index: they depend on no mesh, so that paths on all meshes are coupled.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.philox import normals
from fem_deepest.noise.wiener import BRIDGE
from fem_deepest.spaces.block import Blocks
from fem_deepest.spaces.quadrature import Quadrature, Rule

Array = NDArray[np.float64]


class FiniteRankIncrement:
    """Increment of a process of finite rank over a step.

    Attributes:
        modes: Increments of the ``beta_j``, (J, S), the same on all ranks.

    Collective: every property.
    """

    def __init__(self, noise: FiniteRank, modes: Array) -> None:
        self._noise, self.modes = noise, modes

    @cached_property
    def field(self) -> Array:
        """Coefficients of ``sum_j e_j dbeta_j``, (owned, S)."""
        return self._noise.functions @ self.modes

    @cached_property
    def points(self) -> Array:
        """Values at the quadrature points, (points, S)."""
        return self._noise.values @ self.modes

    @cached_property
    def load(self) -> Array:
        """``int phi_i dW``, (owned, S)."""
        return self._noise.loads @ self.modes


class FiniteRank:
    """``W = sum_j e_j beta_j``, by steps.

    Args:
        V: Scalar Lagrange space.
        functions: The ``e_j``, functions of ``V``.
        seed: Seed of the run.
        stream: Number of the noise in the run.
        substeps: Fine steps in one step; a coarse and a fine path with the same fine steps are one path.

    Attributes:
        functions: Coefficients of the ``e_j``, (owned, J).
        quadrature: Points of the increments.
        covariance: The process itself: it has the covariance operator too.

    Raises:
        InputError: There are no functions, one is not of ``V``, or ``substeps`` is less than one.

    Collective: construction and every method but :meth:`beta`.
    """

    def __init__(
        self,
        V: Any,
        functions: Sequence[Any],
        seed: int,
        stream: int = 0,
        substeps: int = 1,
    ) -> None:
        if not functions or any(e.function_space != V for e in functions):
            raise InputError(
                f"{len(functions)} functions were given; expected one or more, all of the space V"
            )
        if substeps < 1:
            raise InputError(f"substeps = {substeps}; expected 1 or more")
        self.V, self.seed, self.stream, self.substeps = V, seed, stream, substeps
        self.blocks, self.quadrature = Blocks(V), Quadrature(V)
        self.functions = np.concatenate([self.blocks.of(e) for e in functions], axis=1)
        self.covariance = self
        self._keys = np.arange(len(functions), dtype=np.uint64)
        normals(seed, self._keys[:0], 0, stream, ())  # refuse bad numbers now

    def increment(self, step: int, dt: float, samples: Sequence[int] = (0,)) -> FiniteRankIncrement:
        """Increment of a step.

        Args:
            step: Number of the step.
            dt: Its length.
            samples: Numbers of the samples.

        Raises:
            InputError: A number is out of range.
        """
        if not 0.0 < dt < np.inf:
            raise InputError(f"dt = {dt:g}; expected a positive length of step")
        fine, n = step * self.substeps, self.substeps
        parts = [normals(self.seed, self._keys, fine + i, self.stream, samples) for i in range(n)]
        return FiniteRankIncrement(self, np.sqrt(dt / n) * sum(parts))

    def bridge(self) -> FiniteRank:
        """An independent process of the same law, for Brownian bridges."""
        other = copy(self)
        other.covariance, other.stream, other.substeps = other, self.stream ^ BRIDGE, 1
        return other

    @cached_property
    def values(self) -> Array:
        """``e_j`` at the points, (points, J)."""
        return self.quadrature.evaluate(self.functions)

    @cached_property
    def loads(self) -> Array:
        """``int phi_i e_j``, (owned, J)."""
        return self.quadrature.integrate(self.values)

    def density(self, points: Rule) -> Array:
        """Variance density ``q = sum_j e_j^2`` at quadrature points, (points, 1)."""
        return (points.evaluate(self.functions) ** 2).sum(axis=1, keepdims=True)

    def apply(self, r: Array) -> Array:
        """``C r``, ``C = sum_j e_j e_j^T``: loads to fields, both (owned, S)."""
        local = np.ascontiguousarray(self.functions.T @ r)
        self.V.mesh.comm.Allreduce(MPI.IN_PLACE, local)
        return self.functions @ local

    def trace(self) -> float:
        """``sum_j |e_j|^2`` in L2."""
        return float(self.V.mesh.comm.allreduce(np.vdot(self.functions, self.loads)))

    def beta(self, d: int | None = None) -> float:
        """Regularity number: infinite. Not collective."""
        return np.inf


def scalar_noise(V: Any, seed: int, stream: int = 0, substeps: int = 1) -> FiniteRank:
    """One Brownian motion for the whole domain, ``W(tau, x) = beta(tau)``.

    Args:
        V: Scalar Lagrange space.
        seed: See :class:`FiniteRank`.
        stream: See :class:`FiniteRank`.
        substeps: See :class:`FiniteRank`.

    Collective.
    """
    from dolfinx import fem

    one = fem.Function(V)
    one.x.array[:] = 1.0
    return FiniteRank(V, [one], seed, stream, substeps)
