"""Paths of a dynamical system under data as a landscape: all columns at once."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.single import PathAction
from fem_deepest.annealed.landscape import Numbers
from fem_deepest.annealed.mass import PathMass
from fem_deepest.noise.philox import normals
from fem_deepest.sample.target import inner

Array = NDArray[np.float64]

_CACHED = 2**19  # bytes


class PathsLandscape:
    """``A(x, w)`` of :class:`fem_deepest.action.paths.action.Paths` at one precision.

    A path lives on one rank; different ranks may have different columns. The normals of a draw are named
    by the number of the unknown.

    Args:
        paths: The action.
        model_precision: ``R_f``.

    Attributes:
        metric: :class:`.PathMetric`.

    Raises:
        InputError: ``R_f`` is not positive and finite, or an end is clamped or periodic.

    Nothing here is collective.
    """

    comm = MPI.COMM_SELF

    def __init__(self, paths: Paths, model_precision: float) -> None:
        self.paths, self.model_precision = paths, model_precision
        self.metric = PathAction(paths, model_precision).metric
        self._keys = np.arange(paths.size, dtype=np.uint64)
        # So many columns at a time leave the arrays at the points of the cells in the cache.
        self._width = max(1, _CACHED // (8 * paths.defects.points.size * paths.shapes[0][1]))

    @property
    def rows(self) -> int:
        """Unknowns of a path."""
        return self.paths.size

    def value(self, U: Array) -> Array:
        """See :class:`.Landscape`."""
        u, R_f = _paths(U), self.model_precision
        values = np.empty(len(u))
        with np.errstate(over="ignore", invalid="ignore"):
            for part in self._parts(len(u)):
                values[part] = self.paths.value(u[part], R_f).action
        return values

    def gradient(self, U: Array, step: int | None = None) -> tuple[Array, Array]:
        """See :class:`.Landscape`."""
        u, R_f = _paths(U), self.model_precision
        values, slopes = np.empty(len(u)), np.empty_like(u)
        with np.errstate(over="ignore", invalid="ignore"):
            for part in self._parts(len(u)):
                now, slopes[part] = self.paths.gradient(u[part], R_f)
                values[part] = now.action
        return values, np.ascontiguousarray(slopes.T)

    def apply(self, D: Array) -> Array:
        """See :class:`.Landscape`."""
        return self.metric.product(D)

    def solve(self, R: Array) -> Array:
        """See :class:`.Landscape`."""
        return self.metric.solution(R)

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int = 0) -> Array:
        """See :class:`.Landscape`."""
        return self.metric.inverse_root(normals(seed, self._keys, step, stream, numbers))

    def mass(self) -> PathMass:
        """``M`` of the path, see :class:`.HasMass`."""
        return PathMass(self.metric, self._keys)

    def inner(self, a: Array, b: Array) -> Array:
        """See :class:`.Landscape`."""
        return inner(a, b)

    def _parts(self, columns: int) -> list[slice]:
        return [slice(a, a + self._width) for a in range(0, columns, self._width)]


def _paths(U: Array) -> Array:
    """Paths by rows."""
    return np.ascontiguousarray(U.T)
