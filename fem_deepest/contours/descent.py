"""Descent of contours to a stationary point of their energy.

The steps are those of :mod:`fem_deepest.contours.flow` without noise, of which only those are taken that
lower the energy. A splitting has a stationary point of its own, off by the order of its step; so the
step is halved when a contour gains nothing from it any more, and the end is the stationary point of the
energy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fem_deepest.contours.energy import ContourEnergy

Array = NDArray[np.float64]

_HALVINGS = 6
_LOST = 1e-12  # of the size of the energy: what rounding may do to it


class Descended(NamedTuple):
    """Where contours came to rest.

    Attributes:
        U: Contours, (owned, S).
        energies: ``E``, (S,).
        evaluations: Evaluations of the energy, (S,).
        converged: Whether the shortest step gained less than the tolerance, (S,).
    """

    U: Array
    energies: Array
    evaluations: NDArray[np.int64]
    converged: NDArray[np.bool_]


Watch = Callable[[NDArray[np.int64], Array], None]
"""Told of an evaluation: of which columns, and their energies."""


def descend(
    energy: ContourEnergy,
    U: Array,
    *,
    dt: float,
    tolerance: float = 1e-5,
    most: int | NDArray[np.int64] = 500,
    watch: Watch = lambda columns, values: None,
) -> Descended:
    """Descend until a step gains less than a part of the energy, for each step length in turn.

    A contour that is done with a length waits for the others: it ends where it would alone.

    Args:
        energy: Energy of contours.
        U: Contours, (owned, S).
        dt: Longest step.
        tolerance: Gain of a step over ``|E|`` that is not worth it.
        most: Evaluations at most, of all or of each contour.
        watch: Told of every evaluation.

    Collective on the mesh.
    """
    field, every = energy.field, np.arange(U.shape[1])
    U, now = U.copy(), energy.evaluate(U)
    values, force = now.value.copy(), now.force.copy()
    evaluations = np.ones(every.size, dtype=np.int64)
    watch(every, values)
    most = np.broadcast_to(most, every.shape)
    for halving in range(_HALVINGS + 1):
        step = dt / 2**halving
        active = every[evaluations < most]
        while active.size:
            flat = field.straighten(U[:, active], energy.nu * step)
            moved = field.shift(flat, step * force[:, active])
            new = energy.evaluate(moved)
            evaluations[active] += 1
            watch(active, new.value)
            size = np.abs(values[active])
            gain = values[active] - new.value
            take = gain > _LOST * size
            taken = active[take]
            U[:, taken], force[:, taken] = moved[:, take], new.force[:, take]
            values[taken] = new.value[take]
            active = active[(gain > tolerance * size) & (evaluations[active] < most[active])]
    # Who was stopped by the limit has used all of it.
    return Descended(U, values, evaluations, evaluations < most)
