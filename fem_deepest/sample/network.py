"""The posterior of the weights of a network as a target: all chains in one pass through the data.

    exp(-K A(w)),     A = (1/K) sum_k Phi_T(y_k(w)) + 1/2 <w, P w>,

is the posterior for the likelihood ``exp(-Phi_T)`` of a sample (least squares: noise of precision ``R_m``;
cross-entropy: the probability of its class) and the prior ``N(0, (K P)^{-1})``. It has as many modes as
the neurons have permutations, and directions in which many data leave little room: chains start at a
mode, relative to a Gaussian that has the curvature of the misfit there. A temperature ``T`` other than 1
gives ``exp(-K A/T)``: the point estimate for ``T -> 0`` (F. Wenzel et al. (2020), arXiv:2002.02405).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, eigh, solve_triangular

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.replicas import Replicas
from fem_deepest.sample.lowrank import LowRankUpdate
from fem_deepest.sample.matrices import precision
from fem_deepest.sample.target import Gaussian, Precision, inner
from fem_deepest.spaces.cholesky import Cholesky

Array = NDArray[np.float64]

_MORE = 10  # probes beyond the rank
_LEAST = 1e-2  # curvature, relative to the prior, that is worth a direction


class NetworkTarget:
    """``Phi(w) = beta A(w) - 1/2 <w - m, P' (w - m)>``, ``beta = K/T``; see :class:`.Target`.

    Args:
        action: The action, in the strong constraint and on one rank.
        mode: ``m``: where ``A`` is least, (n,); zero if None.
        vectors: Directions that the data determine, see :func:`informed`, (n, r); none if None.
        values: Their curvatures relative to the prior, (r,).
        temperature: ``T``.

    Attributes:
        prior: The Gaussian ``N(m, P'^{-1})``, ``T P'`` being ``K P`` with a :class:`.LowRankUpdate`.
        replicas: The action of many weights.
        beta: ``K/T``.

    Raises:
        InputError: The action has states as unknowns or is spread over ranks.
    """

    def __init__(
        self,
        action: NetworkAction,
        mode: Array | None = None,
        vectors: Array | None = None,
        values: Array | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.replicas = Replicas(action)
        self.beta = self.replicas.samples / temperature
        P = weight_precision(action, temperature)
        mean = np.zeros(self.replicas.size) if mode is None else mode
        own: Precision = P
        if vectors is not None and values is not None:
            own = LowRankUpdate(P, np.sqrt(temperature) * vectors, values)
        self.prior = Gaussian(mean[:, None].copy(), own)

    def weights(self, v: Array) -> Array:
        """``w``, (S, n)."""
        return np.ascontiguousarray((self.prior.mean + v).T)

    def potential(self, v: Array) -> Array:
        """See :class:`.Target`."""
        value = self.beta * self.replicas.value(self.weights(v)).action
        return value - 0.5 * inner(v, self.prior.precision.apply(v))

    def gradient(self, v: Array) -> tuple[Array, Array]:
        """See :class:`.Target`."""
        (value, *_), slope = self.replicas.gradient(self.weights(v))
        image = self.prior.precision.apply(v)
        return self.beta * value - 0.5 * inner(v, image), self.beta * slope.T - image


def weight_precision(action: NetworkAction, temperature: float = 1.0) -> Cholesky:
    """``K P/T``, factorised."""
    template = action.create()
    matrix = (action.samples / temperature) * precision(action.metric, template)
    template.destroy()
    return Cholesky(matrix, "the prior of the weights")


def informed(
    curvature: Callable[[Array], Array], prior: Cholesky, rank: int
) -> tuple[Array, Array]:
    """Directions in which a curvature is largest relative to the prior.

    ``H V = P V diag(d)``, ``V^T P V = 1`` for the largest ``d``, by a randomised method with one power
    iteration (A. Saibaba, J. Lee, P. Kitanidis (2016), doi:10.1002/nla.2026); exact where ``rank`` is all.

    Args:
        curvature: ``H X`` of blocks (n, r), symmetric and never indefinite.
        prior: ``P``.
        rank: Most directions.

    Returns:
        ``V`` (n, r) and ``d`` (r,), largest first; directions with ``d`` below 0.01 are left out.
    """
    n = prior.matrix.shape[0]
    probes = min(n, rank + _MORE)
    X = np.eye(n)
    if probes < n:
        X = np.random.default_rng(0).standard_normal((n, probes))
        X = prior.solve(curvature(_orthonormal(prior, prior.inverse_root(X))))
    X = _orthonormal(prior, X)
    small = X.T @ curvature(X)
    d, S = eigh(0.5 * (small + small.T))
    kept = np.flatnonzero(d > _LEAST)[::-1][:rank]
    return X @ S[:, kept], d[kept]


def misfit_curvature(action: NetworkAction, mode: Array) -> Callable[[Array], Array]:
    """``sum_k J^T Phi_T'' J`` at a point, as products with blocks (n, r)."""
    u, d, r, p = (action.create() for _ in range(4))
    u.array[...] = mode

    def product(X: Array) -> Array:
        out = np.empty_like(X)
        for i in range(X.shape[1]):
            d.array[...] = X[:, i]
            action.gauss_newton(u, d, r)
            action.metric.apply(d, p)
            out[:, i] = action.samples * (r.array_r - p.array_r)
        return out

    return product


def _orthonormal(prior: Cholesky, X: Array) -> Array:
    """A basis of the same columns with ``X^T P X = 1``."""
    Q = np.linalg.qr(X)[0]
    L = cholesky(Q.T @ prior.apply(Q), lower=True)
    return np.asarray(solve_triangular(L, Q.T, lower=True).T)
