"""Methods that look for low action, side by side and counted: what the arms of contests are made of.

An arm is a way down (:data:`Go`) from starts, once (:func:`once`) or again and again until the budget is
used (:func:`restarted`). Ways down are made of each other: :func:`noisy` lets the annealed gradient flow
run and hands on to another way. Every evaluation is noted in a :class:`Tally`.

Nothing here is collective: columns live on one rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.annealed.landscape import Landscape, Minibatched
from fem_deepest.annealed.search import Descend, Plan
from fem_deepest.solve.columns import Index, descend
from fem_deepest.studies.arms import Trial
from fem_deepest.studies.comparison import Arm, Numbers

Array = NDArray[np.float64]
_STARTS = 16  # stream of the generator; a flow has the first ones

Start = Callable[[Numbers, int], Array]
"""From the numbers of seeds, (S,), and of the round, their starts (n, S)."""


class Tally:
    """Evaluations of several seeds, what they found, and what is left of the budget.

    Args:
        numbers: Numbers of the seeds, (S,).
        budget: Evaluations of each.
        threshold: An action at or below is a success.

    Attributes:
        numbers: Numbers of the seeds.
        lowest: Lowest action so far, (S,).
        hit: Evaluations at the first success, infinite before, (S,).
        used: Evaluations so far, (S,).
    """

    def __init__(self, numbers: Numbers, budget: float, threshold: float) -> None:
        self.numbers, self._budget, self._threshold = numbers, float(budget), threshold
        self.lowest = np.full(numbers.size, np.inf)
        self.hit = np.full(numbers.size, np.inf)
        self.used = np.zeros(numbers.size)

    @property
    def left(self) -> Array:
        """Evaluations that are left, (S,)."""
        return self._budget - self.used

    def note(self, columns: Index, values: Array, cost: ArrayLike = 1.0) -> None:
        """An evaluation has been made.

        What would go beyond the budget of a column is no success, and uses the budget up: block methods
        may go on for the sake of other columns.

        Args:
            columns: Of which seeds.
            values: Their actions; infinite where only that of a minibatch, or of another rung of a ladder,
                is known.
            cost: In gradients of the whole action.
        """
        used = self.used[columns] + np.asarray(cost, dtype=np.float64)
        self.used[columns] = np.minimum(used, self._budget)
        within = used <= self._budget
        columns, values = columns[within], values[within]
        self.lowest[columns] = np.fmin(self.lowest[columns], values)
        success = columns[(values <= self._threshold) & np.isinf(self.hit[columns])]
        self.hit[success] = self.used[success]

    def trial(self) -> Trial:
        """What was found."""
        return Trial(self.lowest, self.hit, self.used)


class Elsewhere(Tally):
    """Counts evaluations of other actions: they cost as much, but what they find is not compared.

    Args:
        tally: Where they are counted.
    """

    def __init__(self, tally: Tally) -> None:
        self.numbers, self.tally = tally.numbers, tally

    @property
    def left(self) -> Array:
        """See :class:`Tally`."""
        return self.tally.left

    def note(self, columns: Index, values: Array, cost: ArrayLike = 1.0) -> None:
        """See :class:`Tally`."""
        self.tally.note(columns, np.full_like(values, np.inf), cost)


Go = Callable[[Array, Index, Tally, int], None]
"""A way down: from starts (n, k) of columns (k,) of a tally, in the round with this number."""


def once(start: Start, go: Go, threshold: float) -> Arm:
    """One way down from the first start of each seed; what is left of the budget is not used."""

    def arm(numbers: Numbers, budget: int) -> Trial:
        tally = Tally(numbers, budget, threshold)
        go(start(numbers, 0), np.arange(numbers.size), tally, 0)
        return tally.trial()

    return arm


def restarted(start: Start, go: Go, threshold: float) -> Arm:
    """A way down from one start after the other, until the budget is used."""

    def arm(numbers: Numbers, budget: int) -> Trial:
        tally, turn = Tally(numbers, budget, threshold), 0
        while (columns := np.flatnonzero(tally.left >= 1.0)).size:
            go(start(numbers[columns], turn), columns, tally, turn)
            turn += 1
        return tally.trial()

    return arm


def gaussian(landscape: Landscape, mean: Array, spread: float, seed: int) -> Start:
    """Starts ``m + spread C^{1/2} z``, drawn anew in every round."""

    def start(numbers: Numbers, turn: int) -> Array:
        return mean[:, None] + spread * landscape.draw(turn_seed(seed, turn), 0, numbers, _STARTS)

    return start


def quasi_newton(landscape: Landscape, tolerance: float, memory: int = 10) -> Go:
    """Quasi-Newton descent to a stationary point; see :mod:`fem_deepest.solve.columns`."""
    return ladder([landscape], tolerance, memory)


def ladder(
    rungs: Sequence[Landscape], tolerance: float, memory: int = 10, most: float = np.inf
) -> Go:
    """Precision annealing: quasi-Newton descents on several actions, each from the end of the one before.

    Args:
        rungs: The actions; the last one is compared, the others only cost.
        tolerance: Dual norm of the gradient at which a rung ends.
        memory: Pairs of the quasi-Newton matrix.
        most: Gradients after which a rung before the last one ends in any case.
    """

    def go(U: Array, columns: Index, tally: Tally, turn: int) -> None:
        for i, rung in enumerate(rungs):
            last = i == len(rungs) - 1
            told = tally if last else Elsewhere(tally)
            left = np.floor(tally.left[columns])
            U = descend(
                rung,
                U,
                tolerance=tolerance,
                most=left if last else np.minimum(left, most),
                memory=memory,
                watch=lambda which, values, told=told: told.note(columns[which], values),  # type: ignore[misc]
            ).U

    return go


def solver(descend: Descend) -> Go:
    """Any solver of blocks, which says itself what it has cost; it succeeds with its last evaluation.

    Where it costs more than is left, the budget is used up and nothing found.

    Args:
        descend: The solver, see :mod:`fem_deepest.annealed.descent`.
    """

    def go(U: Array, columns: Index, tally: Tally, turn: int) -> None:
        found = descend(U)
        tally.note(columns, found.values, found.gradients)

    return go


def noisy(landscape: Landscape, plan: Plan, then: Go, *, counts: bool = True) -> Go:
    """The annealed gradient flow with the noise of a plan, then another way down.

    The noise of a seed is a function of the seed of the plan, its number, the round and the step.

    Args:
        landscape: The action on blocks.
        plan: Numbers of the noisy part; it goes on from the ends that the plan names, one after the other.
        then: Way down from there.
        counts: Whether this is the action that is compared; false on a rung of a ladder.
    """
    batches = isinstance(landscape, Minibatched)

    def go(U: Array, columns: Index, tally: Tally, turn: int) -> None:
        told = tally if counts else Elsewhere(tally)
        flow = plan.flow(landscape, U, tally.numbers[columns], turn_seed(plan.seed, turn))
        spent = np.zeros(columns.size)

        def note() -> None:
            # With minibatches the action of all data is an evaluation more, in the steps that take it.
            looked = batches and flow.iteration % plan.look == 0
            told.note(columns, flow.best.values, flow.gradients - spent + looked)
            spent[:] = flow.gradients

        note()
        while flow.iteration < plan.steps and np.any(tally.left[columns] >= 1.0):
            flow.advance()
            note()
        for end in plan.ends:
            then(flow.best.U if end == "best" else flow.U, columns, tally, turn)

    return go


def turn_seed(seed: int, turn: int) -> int:
    """A seed below 2^32 for each round."""
    return int(np.random.SeedSequence([seed, turn]).generate_state(1)[0])
