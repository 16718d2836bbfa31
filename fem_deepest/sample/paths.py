"""Paths of a dynamical system under data as a target: all chains at once.

    exp(-A(x, w)),     A = measurement + model (precision R_f) + prior of the parameters,

see :class:`fem_deepest.action.paths.action.Paths`. With the weights of ``integral`` it is the posterior of
the path and the parameters, for observations of precision ``R_m`` and white model errors of precision
``R_f``; the published normalisations leave out constants and temper it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.single import PathAction
from fem_deepest.errors import InputError
from fem_deepest.sample.matrices import precision
from fem_deepest.sample.target import Gaussian, inner
from fem_deepest.spaces.cholesky import Cholesky

Array = NDArray[np.float64]


class PathsTarget:
    """``Phi(u) = A(u) - 1/2 <u - m, P (u - m)>`` with the metric ``P`` of a path, ``u = (x, w)``.

    Args:
        paths: The action.
        model_precision: ``R_f``.
        mean: ``m``, (size,): a path near the mass, such as the lowest that annealing has found; zero if
            None. It does not change the law.
        curved: Whether ``P`` is the Gauss-Newton matrix at ``m`` instead of the metric: the chains do not
            change their law either, and their steps do not become small where the model is precise.

    Attributes:
        prior: The Gaussian ``N(m, P^{-1})``.

    Raises:
        InputError: ``R_f`` is not positive and finite, ``m`` has another shape, or the Gauss-Newton matrix
            is not positive definite.
    """

    def __init__(
        self,
        paths: Paths,
        model_precision: float,
        mean: Array | None = None,
        curved: bool = False,
    ) -> None:
        single = PathAction(paths, model_precision)
        m = np.zeros(paths.size) if mean is None else np.asarray(mean, dtype=np.float64)
        if m.shape != (paths.size,):
            raise InputError(f"the mean of the paths has shape {m.shape}, expected ({paths.size},)")
        self.paths, self.model_precision = paths, model_precision
        if curved:
            P = Cholesky(
                gauss_newton(paths, model_precision, m), "the Gauss-Newton matrix at the start"
            )
        else:
            P = Cholesky(precision(single.metric, single.create()), "the metric of the paths")
        self.prior = Gaussian(m[:, None].copy(), P)

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


def gauss_newton(paths: Paths, model_precision: float, u: Array) -> sparse.csr_matrix:
    """The Gauss-Newton matrix of the action at one path ``u`` (size,)."""
    local = paths.curvature(u[None], model_precision)[2].gauss_newton[0]
    numbers = paths.gather(np.arange(paths.size, dtype=np.float64)).astype(np.int64)
    rows = np.broadcast_to(numbers[:, :, None], local.shape)
    columns = np.broadcast_to(numbers[:, None, :], local.shape)
    entries = (local.ravel(), (rows.ravel(), columns.ravel()))
    return sparse.csr_matrix(sparse.coo_matrix(entries, shape=(paths.size, paths.size)))
