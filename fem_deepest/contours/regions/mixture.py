r"""A foreground of several normal distributions on a background of one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fem_deepest.contours.regions.gaussian import FLOOR, normal
from fem_deepest.contours.regions.region import EMPTY
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Mixture:
    r"""``e_in = -log sum_k a_k N(I; mu_k, v_k)`` inside, a normal law outside.

    The mixture is found by expectation and maximisation (Dempster, Laird, Rubin 1977), all contours
    together, from ``K`` parts of equal area of the histogram: a function of the histogram alone, so that
    an interrupted run goes on as it would have. Every iteration lowers the energy; ``e_in`` is its
    derivative as far as they have converged.

    Args:
        grey: Grey values of the levels, (B,).
        components: ``K``.
        iterations: How many.

    Raises:
        InputError: There is no component, or no iteration.
    """

    def __init__(self, grey: Array, components: int = 2, iterations: int = 20) -> None:
        if components < 1 or iterations < 1:
            raise InputError(
                f"a mixture of {components} components by {iterations} iterations was asked for; expected "
                "one or more of both"
            )
        self._grey, self._components, self._iterations = grey, components, iterations

    def densities(self, inside: Array, outside: Array) -> tuple[Array, Array]:
        """See :class:`Region`."""
        return self._mixed(inside), normal(outside, self._grey)

    def _mixed(self, n: Array) -> Array:
        weights = np.maximum(n, 0.0)
        area = np.maximum(weights.sum(axis=0), EMPTY)
        share = self._parts(weights, area)
        for _ in range(self._iterations):
            logs = self._logs(weights * share, area)
            share = np.exp(logs - _log_sum(logs))
        return -_log_sum(self._logs(weights * share, area))

    def _parts(self, n: Array, area: Array) -> Array:
        """Membership of the levels in ``K`` parts of equal area from dark to bright, (K, B, S)."""
        end = np.cumsum(n, axis=0) / area * self._components
        start = end - n / area * self._components
        k = np.arange(self._components)[:, None, None]
        covered = np.clip(np.minimum(end, k + 1) - np.maximum(start, k), 0.0, None)
        return covered / np.maximum(end - start, np.finfo(float).tiny)

    def _logs(self, n: Array, area: Array) -> Array:
        """Logarithms of the weighted densities of the components with the areas ``n``, (K, B, S)."""
        part = np.maximum(n.sum(axis=1), EMPTY * area)
        mean = np.einsum("kbs,b->ks", n, self._grey) / part
        apart = (self._grey[None, :, None] - mean[:, None]) ** 2
        variance = np.maximum((n * apart).sum(axis=1) / part, FLOOR)
        scale = np.log(part / area) - 0.5 * np.log(2.0 * math.pi * variance)
        return scale[:, None] - apart / (2.0 * variance[:, None])


def _log_sum(logs: Array) -> Array:
    """``log sum_k exp``, (B, S)."""
    top = logs.max(axis=0)
    return np.asarray(top + np.log(np.exp(logs - top).sum(axis=0)))
