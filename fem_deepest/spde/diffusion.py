"""The coefficient ``G(u)`` of the noise, with what Ito's and Stratonovich's calculus ask of it.

* *Nemytskii*: ``(G(u) w)(x) = G(u(x)) w(x)``, one function for the whole noise;
* *by modes*: ``sum_j G_j(u(x)) e_j(x) dbeta_j``, a function for each mode of a process of finite rank.

At every point the noise is a sum ``sum_j g_j(x, u) dW_j``, with

    G(u) o dW = G(u) dW + 1/2 sum_j g_j' g_j q_j dt                             (Stratonovich to Ito)
    iterated Ito integrals = 1/2 ( sum_ij g_i' g_j dW_i dW_j - sum_j g_j' g_j q_j dt )      (Milstein)

where ``q_j`` is the variance density, and the second holds if the noise commutes, ``g_i' g_j = g_j' g_i``.
Derivatives in ``u`` are UFL's, nothing is typed by hand. All values are at quadrature points,
(points, S). Collective: every method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces.quadrature import Rule
from fem_deepest.spde.density import variance_density
from fem_deepest.spde.pointwise import Density, Pointwise

Array = NDArray[np.float64]

_EQUAL = 1e-10  # of products of coefficients and derivatives, relative to the largest


class Diffusion(ABC):
    """``G(u) dW`` at quadrature points.

    Attributes:
        points: The points.
        constant: Whether the unknown does not appear.
    """

    points: Rule
    constant: bool

    @abstractmethod
    def increment(self, U: Array, dW: Any) -> Array:
        """``G(U) dW``."""

    @abstractmethod
    def stratonovich(self, U: Array) -> Array:
        """``1/2 G' G q``: what a Stratonovich equation adds to the Ito drift."""

    @abstractmethod
    def iterated(self, U: Array, dW: Any, dt: float) -> Array:
        """The iterated Ito integrals of a step, for noise that commutes."""

    @abstractmethod
    def commutes(self, U: Array) -> bool:
        """Whether the noise commutes, as far as the values near ``U`` tell."""

    @abstractmethod
    def need_density(self, why: str) -> None:
        """Find the variance density.

        Args:
            why: What needs it, for the error.

        Raises:
            InputError: There is none.
        """


class Multiplication(Diffusion):
    """``(G(u) w)(x) = G(u(x)) w(x)``.

    Args:
        G: The function.
        noise: Wiener process.
        discrete: Take the variance density that white noise has on this mesh.

    Raises:
        InputError: ``G`` is no function of ``u`` and the coordinates.
    """

    def __init__(self, G: Density, noise: Any, *, discrete: bool) -> None:
        self.points, self._noise, self._discrete = noise.quadrature, noise, discrete
        self._G = coefficient(G, self.points)
        self.constant = self._G.constant
        self._density: Array | None = None

    def increment(self, U: Array, dW: Any) -> Array:
        """See :class:`Diffusion`."""
        return self._G.value(U) * dW.points

    def stratonovich(self, U: Array) -> Array:
        """See :class:`Diffusion`."""
        return 0.5 * self._q * self._product(U)

    def iterated(self, U: Array, dW: Any, dt: float) -> Array:
        """``1/2 G' G (dW^2 - q dt)``."""
        dW = dW.points
        return 0.5 * self._product(U) * (dW * dW - dt * self._q)

    def commutes(self, U: Array) -> bool:
        """Always: ``G'(u)(G(u) v) w`` is symmetric in ``v`` and ``w``."""
        return True

    def need_density(self, why: str) -> None:
        """See :class:`Diffusion`."""
        if self._density is None:
            self._density = variance_density(
                self._noise, self.points, discrete=self._discrete, why=why
            )

    @property
    def _q(self) -> Array:
        self.need_density("Ito's correction")
        assert self._density is not None
        return self._density

    def _product(self, U: Array) -> Array:
        return self._G.value(U) * self._G.derivative(U)


class ByModes(Diffusion):
    """``sum_j G_j(u) e_j dbeta_j``.

    Args:
        G: One function for each mode.
        noise: Process of finite rank.

    Raises:
        InputError: There are not as many functions as modes, or one is no function of ``u`` and the
            coordinates.
    """

    def __init__(self, G: Sequence[Density], noise: Any) -> None:
        modes = getattr(noise, "values", None)
        if modes is None or modes.shape[1] != len(G):
            has = "no modes" if modes is None else f"{modes.shape[1]} modes"
            raise InputError(
                f"{len(G)} coefficients G were given for noise of {has}; give one for each mode of a "
                "FiniteRank process, or one function for the whole noise"
            )
        self.points, self._modes = noise.quadrature, modes.T[:, :, None]
        self._G = [coefficient(g, self.points) for g in G]
        self.constant = all(g.constant for g in self._G)

    def increment(self, U: Array, dW: Any) -> Array:
        """See :class:`Diffusion`."""
        return np.asarray(sum(g * w for g, w in zip(self._values(U), dW.modes, strict=True)))

    def stratonovich(self, U: Array) -> Array:
        """See :class:`Diffusion`."""
        both = zip(self._values(U), self._slopes(U), strict=True)
        return 0.5 * np.asarray(sum(g * slope for g, slope in both))

    def iterated(self, U: Array, dW: Any, dt: float) -> Array:
        """See :class:`Diffusion`."""
        both = zip(self._slopes(U), dW.modes, strict=True)
        slopes = np.asarray(sum(s * w for s, w in both))
        return 0.5 * slopes * self.increment(U, dW) - dt * self.stratonovich(U)

    def commutes(self, U: Array) -> bool:
        """Whether ``g_i' g_j = g_j' g_i`` at three values of the unknown."""
        apart, size = 0.0, 0.0
        for shift in (0.0, 0.37, -1.61):
            g, slopes = self._values(U + shift), self._slopes(U + shift)
            for i in range(len(g)):
                for j in range(i):
                    one, other = slopes[i] * g[j], slopes[j] * g[i]
                    apart = max(apart, float(np.abs(one - other).max(initial=0.0)))
                    size = max(size, float(np.abs(one).max(initial=0.0)))
        comm = self.points.V.mesh.comm
        return bool(comm.allreduce(apart, MPI.MAX) <= _EQUAL * comm.allreduce(size, MPI.MAX))

    def need_density(self, why: str) -> None:
        """Brownian motions have the density one."""

    def _values(self, U: Array) -> list[Array]:
        return [e * g.value(U) for e, g in zip(self._modes, self._G, strict=True)]

    def _slopes(self, U: Array) -> list[Array]:
        return [e * g.derivative(U) for e, g in zip(self._modes, self._G, strict=True)]


def coefficient(G: Density, points: Rule) -> Pointwise:
    """A function of ``u`` and the coordinates at quadrature points. Collective.

    Raises:
        InputError: It holds a derivative of ``u``.
    """
    g = Pointwise(G, points, "G")
    if not g.local:
        raise InputError("G holds a derivative of u; expected a function of u and x alone")
    return g
