"""What a sampler needs: the measure ``exp(-A)`` as a density with respect to a Gaussian.

    A(u) = Phi(u) + 1/2 <u - m, P (u - m)>,      prior N(m, C),  C = P^{-1},

so that ``exp(-A)`` has the density ``exp(-Phi)`` with respect to the prior. In function space only this
split has a meaning: all of ``A`` is infinite for almost every draw. The Gaussian need not be the prior of
Bayes' theorem: any other that is equivalent to it gives the same law, and one that is near to ``exp(-A)``
gives larger steps. Chains run on blocks of ``v = u - m``, (n, S), one column for each chain.

Nothing in this room is collective but :func:`fem_deepest.sample.run.sample`: a chain lives on one rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.spaces.cholesky import Cholesky

Array = NDArray[np.float64]


class Precision(Protocol):
    """``P`` of a Gaussian, on blocks (n, S)."""

    def apply(self, x: Array) -> Array:
        """``P x``."""

    def solve(self, r: Array) -> Array:
        """``P^{-1} r``."""

    def inverse_root(self, z: Array) -> Array:
        """A linear map of standard normals ``z`` with covariance ``P^{-1}``."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """The prior ``N(m, P^{-1})``.

    Attributes:
        mean: ``m``, (n, 1).
        precision: ``P``, factorised.
        mass: ``M``, factorised, where white noise in the unknown is wanted; none if there is no ``L2``.
    """

    mean: Array
    precision: Precision
    mass: Cholesky | None = None

    @property
    def size(self) -> int:
        """Unknowns."""
        return len(self.mean)


class Target(Protocol):
    """A measure ``exp(-Phi)`` with respect to a Gaussian."""

    @property
    def prior(self) -> Gaussian:
        """The Gaussian."""

    def potential(self, v: Array) -> Array:
        """``Phi(m + v)``, (S,), of a block (n, S)."""

    def gradient(self, v: Array) -> tuple[Array, Array]:
        """``Phi(m + v)``, (S,), and its derivative, a dual block (n, S)."""


def inner(a: Array, b: Array) -> Array:
    """``<a_s, b_s>`` for all columns, (S,)."""
    return np.asarray(np.einsum("is,is->s", a, b))
