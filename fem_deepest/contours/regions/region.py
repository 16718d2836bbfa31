r"""What a region energy is.

    E(u) = min over theta of  sum_b ( n_in(b) e_in(b; theta) + n_out(b) e_out(b; theta) )

with the areas ``n_in(b)`` and ``n_out(b)`` that the grey level ``b`` covers inside and outside, and
statistics ``theta`` of the two regions. Where ``theta`` is the minimum, its own change does not count
(envelope), so ``dE/dn_in = e_in`` and ``dE/dn_out = e_out``, and the contour is pushed outwards with
``e_out - e_in``.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

EMPTY = 1e-12
"""Area below which a region counts as empty."""


class Region(Protocol):
    """A region energy for many contours together."""

    def densities(self, inside: Array, outside: Array) -> tuple[Array, Array]:
        """``e_in`` and ``e_out`` for the statistics of these regions, (B, S) each. Not collective.

        Args:
            inside: ``n_in``, (B, S).
            outside: ``n_out``, (B, S).
        """
        ...


def moments(n: Array, grey: Array) -> tuple[Array, Array]:
    """Means and variances of grey values with the areas ``n``, (S,) each.

    Args:
        n: (B, S).
        grey: (B,).
    """
    area = np.maximum(n.sum(axis=0), EMPTY)
    mean = grey @ n / area
    apart = grey[:, None] - mean
    return mean, (n * apart * apart).sum(axis=0) / area
