r"""Several discretisations of one equation, driven by one path of the noise.

Meshes are nested and so are time steps. The noise is drawn on the finest of both; a coarser mesh
gets ``b_c = P^T b_f``, ``P`` the prolongation of coefficients: exactly ``int phi_c dW`` of the same path.
A longer step gets the sum of its parts. So differences of solutions are strong errors, and the law of
each solution is that of its own discretisation whatever the finest one is.

A. Barth, A. Lang, Ch. Schwab, Multilevel Monte Carlo method for parabolic stochastic partial
differential equations, 2013, doi:10.1007/s10543-012-0401-5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.hierarchy import Nested
from fem_deepest.spde.path import Combination
from fem_deepest.spde.schemes.scheme import Scheme

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Coarse:
    """A coarser discretisation.

    Attributes:
        scheme: Its scheme; its problem needs no noise of its own.
        steps: Number of its steps, which divides that of the finest.
        nested: Its space within that of the finest mesh; none if it is the same.
    """

    scheme: Scheme
    steps: int
    nested: Nested | None = None

    def lifted(self, U: Array) -> Array:
        """The solution on the finest mesh, (owned_f, S). Collective."""
        return U if self.nested is None else self.nested.prolong(U)


class CoupledPaths:
    """A fine solution and coarser ones of the same paths.

    Args:
        fine: Scheme of the fine solution, whose problem has the noise.
        T: End of the time.
        steps: Number of its steps.
        coarse: The others.

    Raises:
        InputError: Steps that are not nested, or noise that depends on the solution together with
            several meshes: its load on a coarser mesh is no restriction.

    Collective on the meshes: construction and every method.
    """

    def __init__(self, fine: Scheme, T: float, steps: int, coarse: Sequence[Coarse] = ()) -> None:
        for other in coarse:
            if other.steps < 1 or steps % other.steps:
                raise InputError(
                    f"{steps} fine and {other.steps} coarse steps are not nested; let the one be a "
                    "multiple of the other"
                )
            if other.nested is not None and not fine.problem.additive:
                raise InputError(
                    "noise that depends on the solution was asked for on several meshes; refine the "
                    "time step alone, or take additive noise"
                )
        self.fine, self.T, self.steps, self.coarse = fine, T, steps, tuple(coarse)

    def end(self, samples: Sequence[int]) -> list[Array]:
        """All solutions at ``T``, the fine one first, each (its owned dofs, S).

        Args:
            samples: Numbers of the samples.
        """
        problem = self.fine.problem
        k = self.T / self.steps
        U = [scheme.problem.start(len(samples)) for scheme in self._schemes()]
        drives = [_Drive(other, problem.additive) for other in self.coarse]
        for n in range(self.steps):
            dW = problem.noise.increment(n, k, samples)
            U[0] = self.fine.step(U[0], n * k, k, dW)
            for i, (other, drive) in enumerate(zip(self.coarse, drives, strict=True), start=1):
                drive.add(dW)
                if (n + 1) % (self.steps // other.steps) == 0:
                    length = self.T / other.steps
                    begun = (n + 1) * k - length
                    U[i] = other.scheme.step(U[i], begun, length, drive.taken())
        return U

    def _schemes(self) -> list[Scheme]:
        return [self.fine, *(other.scheme for other in self.coarse)]


@dataclass(eq=False)
class _Load:
    """An increment that is known by its load alone."""

    load: Array


class _Drive:
    """The increments since the last step of a coarser discretisation."""

    def __init__(self, coarse: Coarse, additive: bool) -> None:
        self._nested, self._additive = coarse.nested, additive
        self._sum: Array | None = None
        self._parts: list[Any] = []

    def add(self, dW: Any) -> None:
        if not self._additive:
            self._parts.append(dW)
        elif self._sum is None:
            self._sum = dW.load.copy()
        else:
            self._sum += dW.load

    def taken(self) -> Any:
        """Their sum, which begins anew."""
        if not self._additive:
            parts, self._parts = self._parts, []
            return Combination(*((1.0, part) for part in parts))
        total, self._sum = self._sum, None
        assert total is not None  # a step begins with an increment
        return _Load(total if self._nested is None else self._nested.restrict(total))
