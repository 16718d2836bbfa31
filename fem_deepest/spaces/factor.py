"""One factor of a tensor-product space: mass ``M``, stiffness ``K`` and their common eigenvectors.

Rows and columns of a weight field live in factors of their own, for instance ``V_S`` for the neurons
that receive and ``V_S (+) one point`` for those that send, with the bias. A precision that is a sum of
tensor products of ``M`` and ``K`` of the factors is diagonal in the generalised eigenvectors

    K Phi = M Phi diag(mu),    Phi^T M Phi = 1,

so that it is inverted exactly (fast diagonalisation: Lynch, Rice, Thomas 1964, doi:10.1007/BF01386067).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import splu

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Factor:
    """``M`` and ``K`` of a space of ``size`` functions.

    Args:
        weights: Lumped masses (size,), positive.
        stiffness: Makes ``K`` where it is asked for; ``K = 0`` without.
        mass: ``M``; ``diag(weights)`` without.
        parts: Factors that this one is the direct sum of.

    Attributes:
        size: Number of functions.
        weights: Lumped masses (size,).
        mass_lumped: Whether ``M = diag(weights)``.
        uniform: The number ``m`` where ``M = m 1``, else None.
        has_stiffness: Whether ``K`` is not zero.
        is_plain: ``M = 1`` and ``K = 0``: an index set without any geometry.
        shared: Whether there are functions on other ranks, which ``K`` couples to these.

    Nothing here is collective. Every method takes the axis of an array that belongs to the factor.
    """

    shared = False

    def __init__(
        self,
        weights: Array,
        stiffness: Callable[[], sparse.csr_matrix] | None = None,
        mass: sparse.csr_matrix | None = None,
        parts: Sequence[Factor] = (),
    ) -> None:
        self.weights = np.asarray(weights, dtype=np.float64)
        self.size: int = self.weights.size
        self.mass_lumped = mass is None
        self.has_stiffness = stiffness is not None
        same = self.mass_lumped and self.size > 0 and bool(np.all(self.weights == self.weights[0]))
        self.uniform: float | None = float(self.weights[0]) if same else None
        self.is_plain = self.uniform == 1.0 and not self.has_stiffness
        self._mass, self._stiffness, self._parts = mass, stiffness, tuple(parts)

    @property
    def parts(self) -> tuple[Factor, ...]:
        """The factors that this one is the direct sum of; itself if it is none."""
        return self._parts or (self,)

    @classmethod
    def plain(cls, size: int) -> Factor:
        """``M = 1``, ``K = 0``."""
        return cls(np.ones(size))

    @classmethod
    def sum(cls, parts: Sequence[Factor]) -> Factor:
        """Direct sum: the functions of the parts one after the other.

        Raises:
            InputError: There are no parts.
        """
        if not parts:
            raise InputError("a direct sum of no factors was asked for; give at least one")
        if len(parts) == 1:
            return parts[0]
        single = [part for factor in parts for part in factor.parts]
        lumped = all(part.mass_lumped for part in single)
        stiff = any(part.has_stiffness for part in single)
        return cls(
            np.concatenate([part.weights for part in single]),
            (lambda: _diagonal([part.stiffness for part in single])) if stiff else None,
            None if lumped else _diagonal([part.mass for part in single]),
            single,
        )

    def __add__(self, other: Factor) -> Factor:
        """Direct sum of two."""
        return Factor.sum([self, other])

    @cached_property
    def mass(self) -> sparse.csr_matrix:
        """``M``, (size, size)."""
        return sparse.diags(self.weights, format="csr") if self._mass is None else self._mass

    @cached_property
    def stiffness(self) -> sparse.csr_matrix:
        """``K``, (size, size)."""
        if self._stiffness is None:
            return sparse.csr_matrix((self.size, self.size))
        return self._stiffness()

    def apply_mass(self, a: Array, axis: int) -> Array:
        """``M a`` along an axis, a new array."""
        if self.uniform is not None:
            return a * self.uniform
        if self.mass_lumped:
            return np.multiply(a, self._along(self.weights, a.ndim, axis))
        return _along_axis(self.mass.__matmul__, a, axis)

    def solve_mass(self, a: Array, axis: int) -> Array:
        """``M^{-1} a`` along an axis, a new array."""
        if self.uniform is not None:
            return np.divide(a, self.uniform)
        if self.mass_lumped:
            return np.divide(a, self._along(self.weights, a.ndim, axis))
        return _along_axis(self._lu.solve, a, axis)

    def apply_stiffness(self, a: Array, axis: int) -> Array:
        """``K a`` along an axis, a new array."""
        if not self.has_stiffness:
            return np.zeros_like(a)
        if any(part.shared for part in self._parts):
            edges = np.cumsum([part.size for part in self._parts])[:-1]
            pieces = zip(self._parts, np.split(a, edges, axis), strict=True)
            return np.concatenate([part.apply_stiffness(b, axis) for part, b in pieces], axis)
        return _along_axis(self.stiffness.__matmul__, a, axis)

    @cached_property
    def modes(self) -> tuple[Array, Array]:
        """Eigenvalues ``mu >= 0`` (size,) and eigenvectors ``Phi`` (size, size), kept.

        Those of a direct sum are those of its parts; parts that are one object are solved once.
        """
        if self._parts:
            pairs = [part.modes for part in self._parts]
            vectors = linalg.block_diag(*(phi for _, phi in pairs))
            return np.concatenate([mu for mu, _ in pairs]), vectors
        if self.mass_lumped:
            scale = 1.0 / np.sqrt(self.weights)
            if not self.has_stiffness:
                return np.zeros(self.size), np.diag(scale)
            mu, phi = linalg.eigh(scale[:, None] * self.stiffness.toarray() * scale)
            phi *= scale[:, None]
        else:
            mu, phi = linalg.eigh(self.stiffness.toarray(), self.mass.toarray())
        return np.maximum(mu, 0.0), phi  # rounding may leave the zero of constants negative

    @cached_property
    def _lu(self) -> splu:
        return splu(self.mass.tocsc())

    @staticmethod
    def _along(values: Array, dimensions: int, axis: int) -> Array:
        shape = [1] * dimensions
        shape[axis] = values.size
        return values.reshape(shape)


def _along_axis(operation: Callable[[Array], Array], a: Array, axis: int) -> Array:
    """A matrix on one axis of an array, by one product of it with all the others side by side."""
    first = np.moveaxis(a, axis, 0)
    out = operation(np.ascontiguousarray(first).reshape(first.shape[0], -1))
    return np.moveaxis(np.asarray(out).reshape(first.shape), 0, axis)


def _diagonal(blocks: Sequence[sparse.csr_matrix]) -> sparse.csr_matrix:
    return sparse.block_diag(blocks, format="csr")
