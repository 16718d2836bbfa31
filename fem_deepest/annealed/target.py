"""Targets of samplers as landscapes: a potential and a Gaussian, all columns at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.annealed.landscape import Numbers
from fem_deepest.annealed.mass import NO_MASS
from fem_deepest.errors import InputError
from fem_deepest.noise.philox import normals
from fem_deepest.sample.target import Target, inner
from fem_deepest.spaces.cholesky import Cholesky

Array = NDArray[np.float64]


class TargetLandscape:
    """``A = Phi + 1/2 <v, P v>`` of a target, as a function of ``v = u - m``.

    A column lives on one rank. The normals of a draw are named by the number of the unknown.

    Args:
        target: Potential and Gaussian, such as :class:`.IntegralTarget`.

    Nothing here is collective.
    """

    comm = MPI.COMM_SELF

    def __init__(self, target: Target) -> None:
        self.target, self._P = target, target.prior.precision
        self._keys = np.arange(target.prior.size, dtype=np.uint64)

    @property
    def rows(self) -> int:
        """Unknowns."""
        return self.target.prior.size

    def value(self, U: Array) -> Array:
        """See :class:`.Landscape`."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.target.potential(U) + 0.5 * inner(U, self._P.apply(U))

    def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
        """See :class:`.Landscape`."""
        with np.errstate(over="ignore", invalid="ignore"):
            potential, slope = self.target.gradient(U)
            image = self._P.apply(U)
            return potential + 0.5 * inner(U, image), slope + image

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
        """``M`` of the target, see :class:`.HasMass`.

        Raises:
            InputError: It has none.
        """
        if self.target.prior.mass is None:
            raise InputError(NO_MASS)
        return TargetMass(self.target, self.target.prior.mass, self._keys)


class TargetMass:
    """``M`` of a target; see :class:`.Mass`.

    Args:
        target: The target.
        mass: ``M``, factorised.
        keys: Numbers of the unknowns.

    Attributes:
        dimension: Dimension of its mesh, or 1 if it has none.

    Nothing here is collective.
    """

    def __init__(self, target: Target, mass: Cholesky, keys: NDArray[np.uint64]) -> None:
        space = getattr(target, "V", None)
        self.dimension = 1 if space is None else int(space.mesh.topology.dim)
        # Only a factorised prior comes with a mass; the update of low rank has none.
        assert isinstance(target.prior.precision, Cholesky)
        self._P, self._M, self._keys = target.prior.precision, mass, keys

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int = 0) -> Array:
        """See :class:`.Mass`."""
        return self._M.root(normals(seed, self._keys, step, stream, numbers))

    def solve(self, R: Array) -> Array:
        """See :class:`.Mass`."""
        return self._M.solve(R)

    def shifted(self, a: float) -> Callable[[Array], Array]:
        """See :class:`.Mass`."""
        return Cholesky(self._M.matrix + a * self._P.matrix, "M + a P").solve
