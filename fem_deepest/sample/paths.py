"""Paths of a dynamical system under data as a target: all chains at once.

    exp(-A(x, w)),     A = measurement + model (precision R_f) + prior of the parameters,

see :class:`fem_deepest.action.paths.action.Paths`. With the weights of ``integral`` it is the posterior of
the path and the parameters, for observations of precision ``R_m`` and white model errors of precision
``R_f``; the published normalisations leave out constants and temper it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.single import PathAction
from fem_deepest.errors import InputError
from fem_deepest.sample.cholesky import Cholesky
from fem_deepest.sample.matrices import precision
from fem_deepest.sample.target import Gaussian, inner

Array = NDArray[np.float64]


class PathsTarget:
    """``Phi(u) = A(u) - 1/2 <u - m, P (u - m)>`` with the metric ``P`` of a path, ``u = (x, w)``.

    Args:
        paths: The action.
        model_precision: ``R_f``.
        mean: ``m``, (size,): a path near the mass, such as the lowest that annealing has found; zero if
            None. It does not change the law.

    Attributes:
        prior: The Gaussian ``N(m, P^{-1})``.

    Raises:
        InputError: ``R_f`` is not positive and finite, or ``m`` has another shape.
    """

    def __init__(self, paths: Paths, model_precision: float, mean: Array | None = None) -> None:
        single = PathAction(paths, model_precision)
        m = np.zeros(paths.size) if mean is None else np.asarray(mean, dtype=np.float64)
        if m.shape != (paths.size,):
            raise InputError(f"the mean of the paths has shape {m.shape}, expected ({paths.size},)")
        self.paths, self.model_precision = paths, model_precision
        P = precision(single.metric, single.create())
        self.prior = Gaussian(m[:, None].copy(), Cholesky(P, "the metric of the paths"))

    def path(self, v: Array) -> Array:
        """``x``, (S, m, D)."""
        return self.paths.split(self._rows(v))[0]

    def parameters(self, v: Array) -> Array:
        """``w``, (S, P) or (S, n + 1, P)."""
        return self.paths.split(self._rows(v))[1]

    def potential(self, v: Array) -> Array:
        """See :class:`.Target`."""
        parts = self.paths.value(self._rows(v), self.model_precision)
        return parts.action - 0.5 * inner(v, self.prior.precision.apply(v))

    def gradient(self, v: Array) -> tuple[Array, Array]:
        """See :class:`.Target`."""
        parts, slope = self.paths.gradient(self._rows(v), self.model_precision)
        image = self.prior.precision.apply(v)
        return parts.action - 0.5 * inner(v, image), slope.T - image

    def _rows(self, v: Array) -> Array:
        return np.ascontiguousarray((self.prior.mean + v).T)
