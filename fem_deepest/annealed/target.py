"""A target of the samplers as a landscape: all columns at once, with white noise where it has a mass.

A(u) = Phi(u) + 1/2 <u - m, P (u - m)>,      columns are u, not u - m.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.annealed.landscape import Numbers
from fem_deepest.errors import InputError
from fem_deepest.noise.philox import normals
from fem_deepest.sample.cholesky import Cholesky
from fem_deepest.sample.target import Gaussian, Target, inner

Array = NDArray[np.float64]


class TargetMass:
    """``M`` of a target; see :class:`.Mass`.

    Args:
        prior: The Gaussian of the target.
        dimension: Dimension of the domain.

    Raises:
        InputError: It has no mass matrix.
    """

    def __init__(self, prior: Gaussian, dimension: int) -> None:
        if prior.mass is None:
            raise InputError(
                "this target has no mass matrix, so white noise has no meaning on it; take the noise of "
                "the prior"
            )
        self._P, self._M, self.dimension = prior.precision, prior.mass, dimension
        self._keys = np.arange(prior.size, dtype=np.uint64)

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int = 0) -> Array:
        """Loads of law ``N(0, M)``."""
        return self._M.root(normals(seed, self._keys, step, stream, numbers))

    def solve(self, R: Array) -> Array:
        """``M^{-1} R``."""
        return self._M.solve(R)

    def shifted(self, a: float) -> Callable[[Array], Array]:
        """``R -> (M + a P)^{-1} R``."""
        return Cholesky(self._M.matrix + a * self._P.matrix, "M + a P").solve


class TargetLandscape:
    """The action of a target on blocks; it lives on one rank.

    Args:
        target: The measure ``exp(-A)``.
        dimension: Dimension of the domain.

    Nothing here is collective.
    """

    comm = MPI.COMM_SELF

    def __init__(self, target: Target, dimension: int = 1) -> None:
        self.target, self._dimension = target, dimension
        self._P, self._m = target.prior.precision, target.prior.mean
        self._keys = np.arange(target.prior.size, dtype=np.uint64)

    @property
    def rows(self) -> int:
        """Unknowns."""
        return self.target.prior.size

    def value(self, U: Array) -> Array:
        """See :class:`.Landscape`."""
        v = U - self._m
        return np.asarray(self.target.potential(v) + 0.5 * inner(v, self._P.apply(v)))

    def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
        """See :class:`.Landscape`."""
        v = U - self._m
        potential, slope = self.target.gradient(v)
        image = self._P.apply(v)
        return potential + 0.5 * inner(v, image), slope + image

    def apply(self, D: Array) -> Array:
        """See :class:`.Landscape`."""
        return self._P.apply(D)

    def solve(self, R: Array) -> Array:
        """See :class:`.Landscape`."""
        return self._P.solve(R)

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int = 0) -> Array:
        """See :class:`.Landscape`."""
        return self._P.inverse_root(normals(seed, self._keys, step, stream, numbers))

    def inner(self, a: Array, b: Array) -> Array:
        """See :class:`.Landscape`."""
        return inner(a, b)

    def mass(self) -> TargetMass:
        """``M``.

        Raises:
            InputError: There is none.
        """
        return TargetMass(self.target.prior, self._dimension)
