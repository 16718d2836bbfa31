"""End conditions of a path: natural, soft, background, clamped, periodic.

An end of the path carries the term ``Phi = 1/2 (x - z)^T B (x - z)`` or a fixed value. Without either
the condition is natural: ``p(0) = 0``, ``p(T) = 0``. *Soft* is ``B = R_0 I``, *background* any precision
``B`` around a background state. *Clamped* components are no unknowns; a *periodic* path has
``x(T) = x(0)``, and ``p`` follows.

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Natural:
    """Nothing is known of this end: ``p = 0`` there."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """``1/2 (x - z)^T B (x - z)``.

    Attributes:
        z: Mean, (D,).
        precision: ``B``, (D, D), symmetric and positive definite.
    """

    z: Array
    precision: Array


@dataclass(frozen=True, eq=False)
class Clamped:
    """``x = z`` in the components where ``z`` (D,) is finite, natural in those where it is NaN."""

    z: Array


End = Natural | Gaussian | Clamped


def soft(z: ArrayLike, R_0: float) -> Gaussian:
    """``R_0/2 |x - z|^2``."""
    z = np.asarray(z, dtype=np.float64)
    return background(z, R_0 * np.eye(z.size))


def background(z: ArrayLike, precision: ArrayLike) -> Gaussian:
    """Gaussian prior with the mean ``z`` (D,) and the precision (D, D).

    Raises:
        InputError: The shapes disagree, or the precision is not symmetric positive definite.
    """
    z, b = np.asarray(z, dtype=np.float64), np.asarray(precision, dtype=np.float64)
    if z.ndim != 1 or b.shape != (z.size, z.size) or not np.isfinite(z).all():
        raise InputError(
            f"a Gaussian end condition got a mean of shape {z.shape} and a precision of shape "
            f"{b.shape}, expected finite (D,) and (D, D)"
        )
    if not np.allclose(b, b.T, rtol=1e-12) or not (np.linalg.eigvalsh(b) > 0.0).all():
        raise InputError(
            "the precision of an end condition must be symmetric with positive eigenvalues, and is "
            "not; components of which nothing is known are left natural instead"
        )
    return Gaussian(z, b)


def clamped(z: ArrayLike) -> Clamped:
    """``x = z`` where ``z`` (D,) is finite; NaN leaves a component free."""
    return Clamped(np.asarray(z, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class EndConditions:
    """What is known of the two ends.

    Attributes:
        start: Condition at ``t = 0``.
        end: Condition at ``t = T``.
        periodic: Whether ``x(T) = x(0)``; then ``end`` is natural, and ``start`` is not clamped.
    """

    start: End = field(default_factory=Natural)
    end: End = field(default_factory=Natural)
    periodic: bool = False

    def __post_init__(self) -> None:
        if self.periodic and (isinstance(self.start, Clamped) or not isinstance(self.end, Natural)):
            raise InputError(
                "a periodic path has one end only: give its condition as a natural or Gaussian start, "
                "or clamp both ends to the same values instead"
            )

    def check(self, states: int) -> None:
        """Refuse conditions for another number of states.

        Raises:
            InputError: ``z`` does not have ``D`` entries.
        """
        for condition in (self.start, self.end):
            if not isinstance(condition, Natural) and condition.z.shape != (states,):
                raise InputError(
                    f"an end condition got {condition.z.size} values, expected {states}: one for "
                    "each state (NaN leaves a clamped component free)"
                )

    def fixed(self, nodes: int, states: int) -> Array:
        """Clamped values on all nodes (m, D), NaN where a node is free."""
        values = np.full((nodes, states), np.nan)
        for node, condition in ((0, self.start), (-1, self.end)):
            if isinstance(condition, Clamped):
                values[node] = condition.z
        return values
