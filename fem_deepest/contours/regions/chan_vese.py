"""Two constant regions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.contours.regions.region import moments

Array = NDArray[np.float64]


class ChanVese:
    """``e_in = (I - c_in)^2``, ``e_out = (I - c_out)^2`` with the means ``c`` of the regions.

    T. Chan, L. Vese, Active contours without edges (2001), doi:10.1109/83.902291.

    Args:
        grey: Grey values of the levels, (B,).
    """

    def __init__(self, grey: Array) -> None:
        self._grey = grey

    def densities(self, inside: Array, outside: Array) -> tuple[Array, Array]:
        """See :class:`Region`."""
        one, other = (
            (self._grey[:, None] - moments(n, self._grey)[0]) ** 2 for n in (inside, outside)
        )
        return one, other
