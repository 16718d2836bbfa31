"""Noise at a minimum: shaken by the annealed flow, taken down again, kept only if it is lower.

Basin hopping with an annealed flow as the hop: D. J. Wales, J. P. K. Doye, J. Phys. Chem. A 101 (1997)
5111-5116, doi:10.1021/jp970984n. Every column has its own temperature: a schedule of plain numbers is
multiplied by ``2 A/n``, ``n`` the number of unknowns, so that noise at one lifts the action of a quadratic
well by ``A`` itself whatever constants stand before its terms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.flow import AnnealedFlow
from fem_deepest.annealed.landscape import Landscape, Numbers
from fem_deepest.annealed.schedule import Schedule
from fem_deepest.annealed.search import Descend, Found, Plan, search

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scaled:
    """A schedule times a factor for each column; fulfils :class:`.Schedule`.

    Attributes:
        schedule: The schedule.
        factors: (S,).
    """

    schedule: Schedule
    factors: Array

    def start(self, columns: int) -> Array:
        """See :class:`.Schedule`."""
        return self.schedule.start(columns)

    def temperature(self, step: int, memory: Array) -> Array:
        """See :class:`.Schedule`."""
        return self.factors * self.schedule.temperature(step, memory)

    def remember(self, memory: Array, acceptance: Array) -> Array:
        """See :class:`.Schedule`."""
        return self.schedule.remember(memory, acceptance)


def shake(
    landscape: Landscape,
    U: Array,
    values: Array,
    plan: Plan,
    descend: Descend,
    numbers: Numbers,
    watch: Callable[[AnnealedFlow], None] = lambda flow: None,
) -> tuple[Found, NDArray[np.bool_]]:
    """Shake minima once.

    Args:
        landscape: The action; each rank has columns of its own.
        U: Minima, (n, S).
        values: Their actions, positive, (S,).
        plan: Numbers of the noise; its temperatures are in units of ``2 A/n``.
        descend: A solver.
        numbers: Numbers of the columns, which name their noise.
        watch: Told the flow after every step.

    Returns:
        What was found, and where it is lower than before, (S,). Not collective.
    """
    factors = 2.0 * np.maximum(values, np.finfo(float).tiny) / landscape.rows
    warm = replace(plan, schedule=Scaled(plan.schedule, factors), ends=("last",))
    found = search(landscape, U, warm, descend, numbers=numbers, watch=watch)
    return found, found.converged & (found.values < values)
