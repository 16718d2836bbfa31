"""Landscapes that tests know everything about."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.noise.philox import normals

Array = NDArray[np.float64]


class Well:
    """``A(u) = (u^2 - 1)^2 + tilt u`` of one unknown, with ``P = p``."""

    comm, rows = MPI.COMM_SELF, 1

    def __init__(self, p: float = 1.0, tilt: float = 0.0) -> None:
        self.p, self.tilt = p, tilt

    def value(self, U: Array) -> Array:
        return ((U**2 - 1.0) ** 2 + self.tilt * U)[0]

    def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
        return self.value(U), 4.0 * U * (U**2 - 1.0) + self.tilt

    def apply(self, D: Array) -> Array:
        return self.p * D

    def solve(self, R: Array) -> Array:
        return R / self.p

    def draw(self, seed: int, step: int, numbers: Array, stream: int = 0) -> Array:
        keys = np.zeros(1, dtype=np.uint64)
        return normals(seed, keys, step, stream, numbers) / np.sqrt(self.p)

    def inner(self, a: Array, b: Array) -> Array:
        return np.sum(a * b, axis=0)

    def mean(self, function, theta: float) -> float:
        """``E function(u)`` under ``exp(-A/theta)`` by the trapezoidal rule."""
        x = np.linspace(-6.0, 6.0, 6001)
        density = np.exp(-(self.value(x[None]) - self.value(x[None]).min()) / theta)
        return float(np.sum(function(x) * density) / np.sum(density))


class Quadratic:
    """``A(u) = 1/2 <u, H u>`` with the metric ``P`` and a mass ``M``, all dense."""

    comm = MPI.COMM_SELF

    def __init__(self, H: Array, P: Array, M: Array | None = None, dimension: int = 1) -> None:
        self.H, self.P, self.M, self.rows = H, P, M, len(P)
        self.dimension = dimension
        self.draws: Array | None = None
        self.counted = 0

    def value(self, U: Array) -> Array:
        return 0.5 * self.inner(U, self.H @ U)

    def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
        self.counted += U.shape[1]
        return self.value(U), self.H @ U

    def apply(self, D: Array) -> Array:
        return self.P @ D

    def solve(self, R: Array) -> Array:
        return np.linalg.solve(self.P, R)

    def draw(self, seed: int, step: int, numbers: Array, stream: int = 0) -> Array:
        """What :attr:`draws` says, or draws of ``N(0, C)``."""
        if self.draws is not None:
            return self.draws
        z = normals(seed, np.arange(self.rows, dtype=np.uint64), step, stream, numbers)
        return np.linalg.solve(np.linalg.cholesky(self.P).T, z)

    def inner(self, a: Array, b: Array) -> Array:
        return np.sum(a * b, axis=0)

    def mass(self) -> _Mass:
        return _Mass(self)


class _Mass:
    def __init__(self, landscape: Quadratic) -> None:
        self.landscape, self.dimension = landscape, landscape.dimension

    def draw(self, seed: int, step: int, numbers: Array, stream: int = 0) -> Array:
        assert self.landscape.draws is not None
        return self.landscape.draws

    def solve(self, R: Array) -> Array:
        return np.linalg.solve(self.landscape.M, R)

    def shifted(self, a: float):
        return lambda R: np.linalg.solve(self.landscape.M + a * self.landscape.P, R)
