"""One rung of an annealing of networks: starts go down to the minima of its action."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.states import StateAction
from fem_deepest.configuration.network_anneal import NetworkAnneal
from fem_deepest.errors import Interrupted
from fem_deepest.solve.lmvm import Iterate
from fem_deepest.solve.network.levenberg import levenberg

Array = NDArray[np.float64]

KINDS = ("iterations", "evaluations", "hessians")  # of work


class Ends(NamedTuple):
    """Where starts have ended, as :meth:`fem_deepest.solve.annealing.search.Batch.finish` takes it.

    Attributes:
        u: Unknowns, (B, size).
        record: Action, measurement, model, prior, (B, 4).
        converged: Whether the descent has ended by itself, (B,).
        work: Counts of :data:`KINDS`, (B, 3).
    """

    u: Array
    record: Array
    converged: NDArray[np.bool_]
    work: NDArray[np.int64]


class Rung:
    """Levenberg-Marquardt descents on the action of one rung, one start after the other.

    Args:
        action: The action, of one process alone.
        section: When a descent ends.
        asked: Whether to leave.

    Attributes:
        action: The action.
        asked: Whether to leave.

    Nothing here is collective.
    """

    def __init__(
        self, action: StateAction, section: NetworkAnneal, asked: Callable[[], bool]
    ) -> None:
        self.action, self.section, self.asked = action, section, asked

    def descend(self, starts: Array) -> Ends:
        """Minima from starts, (B, size).

        Raises:
            Interrupted: It was asked to leave.
            NumericalFailure: The action of a start is not finite.
        """
        many, action = len(starts), self.action
        ends = Ends(
            np.empty_like(starts),
            np.empty((many, 4)),
            np.empty(many, dtype=bool),
            np.empty((many, len(KINDS)), dtype=np.int64),
        )
        u = action.create()
        try:
            for i, start in enumerate(starts):
                u.array_w[...] = start
                action.evaluations = action.hessians = 0
                outcome = levenberg(
                    action,
                    u,
                    tolerance=0.0,
                    decrease=self.section.decrease,
                    iterations=self.section.iterations,
                    monitor=self._watch,
                )
                action.value(u)
                parts = action.parts
                ends.u[i], ends.converged[i] = u.array_r, outcome.converged
                ends.record[i] = parts.action, parts.misfit, parts.model, parts.prior
                ends.work[i] = outcome.iterations, action.evaluations, action.hessians
        finally:
            u.destroy()
        return ends

    def _watch(self, _: Iterate) -> None:
        if self.asked():
            raise Interrupted
