"""Bounds of the unknowns of a path; a clamped value is held between equal ones.

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.action.paths.action import Paths
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """Bounds of the unknowns of a path, (size,) each; infinite where there are none."""

    lower: Array
    upper: Array

    @classmethod
    def of(
        cls,
        paths: Paths,
        x: tuple[ArrayLike, ArrayLike] = (-np.inf, np.inf),
        w: tuple[ArrayLike, ArrayLike] = (-np.inf, np.inf),
    ) -> Bounds:
        """The same bounds at all depths, but for clamped values.

        Args:
            paths: The action.
            x: Lower and upper bound of the states, numbers or (D,).
            w: Lower and upper bound of the parameters, numbers or (P,).

        Raises:
            InputError: A lower bound is not below its upper bound.
        """
        lower, upper = (
            paths.join(
                np.broadcast_to(np.asarray(a, dtype=np.float64), paths.shapes[0]),
                np.broadcast_to(np.asarray(b, dtype=np.float64), paths.shapes[1]),
            )
            for a, b in zip(x, w, strict=True)
        )
        if not (lower < upper).all():
            raise InputError("a lower bound is not below its upper bound; exchange them")
        fixed = paths.join(paths.fixed, np.full(paths.shapes[1], np.nan))
        held = np.isfinite(fixed)
        return cls(np.where(held, fixed, lower), np.where(held, fixed, upper))

    def project(self, u: Array) -> Array:
        """Nearest point within the bounds."""
        return np.clip(u, self.lower, self.upper)

    def free(self, u: Array, g: Array) -> NDArray[np.bool_]:
        """Unknowns that are not held: strictly inside, or pulled inwards by ``-g``."""
        return ((u > self.lower) | (g < 0.0)) & ((u < self.upper) | (g > 0.0))
