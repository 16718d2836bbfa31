"""Descent of contours to a stationary point of their energy.

The steps are those of :mod:`fem_deepest.contours.flow` without noise, of which only those are taken that
lower the energy. A splitting has a stationary point of its own, off by the order of its step; so the
step is halved when no contour gains from it any more, and the end is the stationary point of the energy.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fem_deepest.contours.energy import ContourEnergy, Evaluation

Array = NDArray[np.float64]

_HALVINGS = 6
_LOST = 1e-12  # of the size of the energy: what rounding may do to it


class Descended(NamedTuple):
    """Where contours came to rest.

    Attributes:
        U: Contours, (owned, S).
        energies: ``E``, (S,).
        evaluations: Evaluations of the energy, the same for all.
        converged: Whether the shortest step gained less than the tolerance for each contour, (S,).
    """

    U: Array
    energies: Array
    evaluations: int
    converged: NDArray[np.bool_]


def descend(
    energy: ContourEnergy, U: Array, *, dt: float, tolerance: float = 1e-5, most: int = 500
) -> Descended:
    """Descend until a step gains less than a part of the energy, for each step length.

    Args:
        energy: Energy of contours.
        U: Contours, (owned, S).
        dt: Longest step.
        tolerance: Gain of a step over ``|E|`` that is not worth it.
        most: Evaluations at most.

    Collective on the mesh.
    """
    now, evaluations, field = energy.evaluate(U), 1, energy.field
    shortest = dt / 2**_HALVINGS
    idle: NDArray[np.bool_] = np.zeros(U.shape[1], dtype=bool)
    while evaluations < most:
        moved = field.shift(field.straighten(U, energy.nu * dt), dt * now.force)
        new = energy.evaluate(moved)
        evaluations += 1
        gain = now.value - new.value
        take = gain > _LOST * np.abs(now.value)
        U = np.where(take, moved, U)
        now = Evaluation(np.where(take, new.value, now.value), np.where(take, new.force, now.force))
        idle = gain <= tolerance * np.abs(now.value)
        if idle.all():
            if dt <= shortest:
                break
            dt *= 0.5
    return Descended(U, now.value, evaluations, idle & (dt <= shortest))
