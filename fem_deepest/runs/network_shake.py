"""``[search]`` of an annealing of networks: starts are shaken after chosen rungs of the ladder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.flow import AnnealedFlow
from fem_deepest.annealed.search import Descent, Plan
from fem_deepest.annealed.shake import shake
from fem_deepest.configuration.noise import ShakeSection
from fem_deepest.errors import Interrupted
from fem_deepest.runs.network_rung import KINDS, Ends, Rung
from fem_deepest.runs.noise import make_schedule
from fem_deepest.runs.path_shake import seed_of

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

_EVALUATIONS = KINDS.index("evaluations")


class NetworkShake:
    """Noise at the ends of chosen rungs, in weights and states.

    The ends follow the annealed gradient flow of the action of their rung and go down again; what is
    lower than before is kept.

    Args:
        section: Where and how.
        seed: Seed of the run.

    Raises:
        InputError: The temperatures do not decrease.

    Nothing here is collective. The noise of a start is a function of the seed, its number, the rung, the
    round and the step alone.
    """

    def __init__(self, section: ShakeSection, seed: int) -> None:
        self.section, self.seed = section, seed
        self.schedule = make_schedule(section, section.steps)

    def __call__(self, rung: Rung, ends: Ends, number: int, numbers: Numbers) -> Ends:
        """Ends of the same rung that are no worse.

        Args:
            rung: The rung.
            ends: Its ends, and the work so far.
            number: Number of the rung.
            numbers: Numbers of the starts, (B,).

        Raises:
            Interrupted: It was asked to leave.
        """
        if number not in self.section.rungs:
            return ends
        landscape = ActionLandscape(rung.action)
        for turn in range(self.section.rounds):
            ends = self._round(landscape, rung, ends, seed_of(self.seed, number, turn), numbers)
        return ends

    def _round(
        self, landscape: ActionLandscape, rung: Rung, ends: Ends, seed: int, numbers: Numbers
    ) -> Ends:
        found = list[Ends]()

        def descend(U: Array) -> Descent:
            down = rung.descend(np.ascontiguousarray(U.T))
            found.append(down)
            return Descent(down.u.T, down.record[:, 0], down.converged, np.zeros(len(down.u)))

        def watch(_: AnnealedFlow) -> None:
            if rung.asked():
                raise Interrupted("asked to leave between two steps with noise")

        section = self.section
        plan = Plan(self.schedule, section.steps, section.step, ends=("last",), seed=seed)
        values = ends.record[:, 0]
        noisy, lower = shake(landscape, ends.u.T, values, plan, descend, numbers, watch)
        down = found[0]
        work = ends.work + down.work
        work[:, _EVALUATIONS] += np.ceil(noisy.gradients).astype(np.int64)
        return Ends(
            np.where(lower[:, None], down.u, ends.u),
            np.where(lower[:, None], down.record, ends.record),
            ends.converged | lower,
            work,
        )
