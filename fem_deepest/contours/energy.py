r"""The energy of contours in an image, and what it does to them.

    E(u) = nu Per_h(u) + sum_b ( n_in(b) e_in(b) + n_out(b) e_out(b) ),
    n_in = H h(u) + p H 1,      n_out = H (1 - h(u)) + p H 1.

Each region holds a thousandth ``p`` of the whole image besides its own, so that one that has vanished
has the statistics of the image, and not none. The derivative

    dE/du = nu dPer_h/du + h'(u) H^T (e_in - e_out)

is exact for the discrete energy where the statistics are optimal. The gradient flow with the mobility
``gamma/eps`` moves the contour outwards with

    nu curvature + F,      F_i = - (H^T (e_in - e_out))_i / m_i,

since ``gamma h' / eps = G``; the derivative in the direction ``G(u) v`` tends to the derivative of the
shape, ``-int (nu curvature + F) v ds`` over the contour (curvature negative where the inside is convex).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.contours.profile import indicator, indicator_slope
from fem_deepest.contours.regions.region import Region
from fem_deepest.contours.seen import Seen
from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_PRIOR = 1e-3  # p


class Evaluation(NamedTuple):
    """One evaluation of the energy.

    Attributes:
        value: ``E``, (S,), the same on all ranks.
        force: ``F``, (owned, S).
    """

    value: Array
    force: Array


class ContourEnergy:
    """Length and region energy of many contours together.

    Args:
        field: Contours on a mesh.
        seen: The image on the same mesh.
        region: Region energy for the levels of ``seen``.
        nu: Price of a unit of length, positive.

    Raises:
        InputError: ``nu`` is not positive.

    Collective on the mesh: every method.
    """

    def __init__(self, field: PhaseField, seen: Seen, region: Region, nu: float) -> None:
        if not 0.0 < nu < np.inf:
            raise InputError(f"nu = {nu:g} was given, expected a positive price of length")
        self.field, self.seen, self.region, self.nu = field, seen, region, nu
        self._whole = seen.whole
        self._little = _PRIOR * self._whole

    def evaluate(self, U: Array) -> Evaluation:
        """Value and force at a block, (owned, S)."""
        data, load = self._data(U)
        return Evaluation(self.nu * self.field.length(U) + data, -load / self.field.masses)

    def value(self, U: Array) -> Array:
        """``E``, (S,)."""
        return self.evaluate(U).value

    def gradient(self, U: Array) -> tuple[Array, Array]:
        """``E`` and ``dE/dU``, a dual block (owned, S)."""
        data, load = self._data(U)
        g = self.nu * self.field.length_gradient(U) + indicator_slope(U) * load
        return self.nu * self.field.length(U) + data, g

    def _data(self, U: Array) -> tuple[Array, Array]:
        """Region energy (S,), and the load ``H^T (e_in - e_out)``."""
        inside = self.seen.inside(indicator(U))
        outside = self._whole - inside
        inside, outside = inside + self._little, outside + self._little
        e_in, e_out = self.region.densities(inside, outside)
        value = (inside * e_in + outside * e_out).sum(axis=0)
        return value, self.seen.load(e_in - e_out)
