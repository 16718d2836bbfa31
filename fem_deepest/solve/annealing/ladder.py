"""Ladders: the precisions of the model that an annealing climbs.

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_LARGEST = 100.0  # decimal logarithm of R_f; its squares must be numbers too


@dataclass(frozen=True)
class Ladder:
    """``R_f = first alpha^beta`` for ``beta = 0, .., rungs - 1``.

    Attributes:
        first: ``R_f0 > 0``.
        alpha: Factor of a rung, larger than 1.
        rungs: Number of precisions.
        adaptive: Whether a rung may be divided.
        exact: Whether one more rung follows, of the exact model ``1/R_f = 0``.
    """

    first: float
    alpha: float
    rungs: int
    adaptive: bool = False
    exact: bool = False

    def __post_init__(self) -> None:
        if not (self.first > 0.0 and self.alpha > 1.0 and self.rungs >= 1):
            raise InputError(
                f"a ladder got R_f0 = {self.first}, alpha = {self.alpha} and {self.rungs} rungs, "
                "expected R_f0 > 0, alpha > 1 and one rung or more"
            )
        last = np.log10(self.first) + (self.rungs - 1) * np.log10(self.alpha)
        if last > _LARGEST:
            raise InputError(
                f"the last R_f of the ladder is about 1e{last:.0f}, beyond 1e{_LARGEST:.0f}, where "
                "nothing but rounding is left of the data; take fewer rungs or a smaller alpha"
            )

    @property
    def precisions(self) -> Array:
        """``R_f`` of every rung."""
        finite = self.first * self.alpha ** np.arange(self.rungs)
        return np.append(finite, np.inf) if self.exact else finite
