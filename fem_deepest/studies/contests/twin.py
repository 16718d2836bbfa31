"""The twin that remembers as a contest: which methods find the lowest level of its action?

``A(w, x)`` of pairs of a network twin, inputs soft, with a precision of the model at which the layers are
all but exact. Gradients alone get nowhere here: measurements are so precise that the problem is stiff. So
all arms go down by the Levenberg-Marquardt method of :mod:`fem_deepest.solve.network.levenberg` in the
state form, whose steps cost more than gradients, see :data:`WORTH`. From the same random weights it starts
at the last precision (plain descent, multistart) or at the first (precision annealing); the annealed
gradient flow comes before, on the action of the precision where the descent starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fem_deepest.action.network.bijection import to_states
from fem_deepest.action.network.states import StateAction
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.configuration.network import NetworkSection
from fem_deepest.configuration.network_anneal import (
    NetworkActionSection,
    NetworkAnneal,
    NetworkAnnealConfig,
    Pairs,
)
from fem_deepest.configuration.section import Section
from fem_deepest.runs.network import initial_parameters
from fem_deepest.runs.network_search import search_problem, state_action
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.columns import Index
from fem_deepest.solve.lmvm import Iterate
from fem_deepest.solve.network.levenberg import levenberg
from fem_deepest.studies.comparison import (
    ANNEALING,
    MULTISTART,
    NOISE,
    NOISE_ANNEALING,
    PLAIN,
    Arm,
    ComparisonConfig,
    ComparisonStudy,
    Numbers,
)
from fem_deepest.studies.contests.network_config import GoalSection, NoiseSection, noise_plan
from fem_deepest.studies.methods import Elsewhere, Go, Start, Tally, noisy, once, restarted
from fem_deepest.studies.study import Count, Positive

Array = NDArray[np.float64]

PRODUCT = 1.0  # gradients that a product with the second variation costs
WORTH = 20.0  # gradients that the linear system of a step costs beside them; measured, see the benchmark


class LevenbergSection(Section):
    """``[levenberg]``: when a descent on one rung ends."""

    decrease: Positive = Field(
        default=1e-4, description="after two steps that win less, relative; see `anneal`"
    )
    iterations: Count = Field(default=150, description="most steps before the last rung")


class RungsSection(Section):
    """``[ladder]``: precisions of the model; the action that is compared is that of the last one."""

    R_f0: Positive = Field(default=1.0, description="first precision")
    alpha: Positive = Field(default=10.0, description="factor of a rung")
    rungs: Count = Field(default=7, description="number of precisions")


class TwinContestConfig(ComparisonConfig):
    """A contest of twins; see the sections."""

    data: Pairs = Pairs()
    network: NetworkSection = NetworkSection(neurons=10, readout="observed")
    action: NetworkActionSection = NetworkActionSection()
    problem: GoalSection
    levenberg: LevenbergSection = LevenbergSection()
    ladder: RungsSection = RungsSection()
    noise: NoiseSection
    rung_noise: NoiseSection


class TwinContest:
    """The contest of a configuration; a :class:`.Contest`.

    Args:
        config: The configuration.

    Attributes:
        name: The data.
        threshold: Action of a success.
        rungs: The actions at the precisions; the last one is compared.
        arms: See :class:`.Contest`.

    Raises:
        InputError: What is wrong with the data or does not fit together.

    Not collective.
    """

    def __init__(self, config: TwinContestConfig) -> None:
        self.config = config
        section, goal = config.ladder, config.problem
        anneal = NetworkAnneal(R_f0=section.R_f0, alpha=section.alpha, rungs=section.rungs)
        self.problem = search_problem(
            NetworkAnnealConfig(
                data=config.data, network=config.network, action=config.action, anneal=anneal
            )
        )
        self.name = self.problem.train.name
        self.threshold = goal.lowest * (1.0 + goal.within)
        precisions = Ladder(section.R_f0, section.alpha, section.rungs).precisions
        self.rungs = [state_action(self.problem, float(R_f)) for R_f in precisions]
        self.arms: Mapping[str, Arm] = self._arms()

    def start(self, numbers: Numbers, turn: int) -> Array:
        """Random weights of seeds with the states that follow from them, (n, S)."""
        action, columns = self.rungs[-1], []
        v = action.forcing.create()
        for number in numbers:
            random = np.random.default_rng([self.config.seed, int(number), turn])
            v.zeroEntries()
            parameters = action.forcing.space.parameters(v.array_w)
            initial_parameters(action.network, parameters, self.problem.config, random)
            u = to_states(action, v)
            columns.append(u.array.copy())
            u.destroy()
        v.destroy()
        return np.stack(columns, axis=1)

    def _arms(self) -> dict[str, Arm]:
        start: Start = self.start
        section, seed = self.config.levenberg, self.config.seed
        down, up = (
            climbing(rungs, section.decrease, section.iterations)
            for rungs in (self.rungs[-1:], self.rungs)
        )
        last, first = (ActionLandscape(self.rungs[i]) for i in (-1, 0))
        hot = noisy(last, noise_plan(self.config.noise, seed), down)
        warm = _off(noisy(first, noise_plan(self.config.rung_noise, seed), _on(up)))
        return {
            PLAIN: once(start, down, self.threshold),
            MULTISTART: restarted(start, down, self.threshold),
            ANNEALING: restarted(start, up, self.threshold),
            NOISE: restarted(start, hot, self.threshold),
            NOISE_ANNEALING: restarted(start, warm, self.threshold),
        }


class TwinContestStudy(ComparisonStudy):
    """Methods that explain a network twin, at an equal budget: see :mod:`.twin`."""

    title = "Lowest known action of a network twin"
    Config: ClassVar[type[TwinContestConfig]] = TwinContestConfig
    config: TwinContestConfig

    def names(self) -> tuple[str, ...]:
        """See :class:`.ComparisonStudy`."""
        return PLAIN, MULTISTART, ANNEALING, NOISE, NOISE_ANNEALING

    def contest(self) -> TwinContest:
        """See :class:`.ComparisonStudy`."""
        return TwinContest(self.config)


class _Spent(Exception):
    """The budget is used."""


def climbing(rungs: Sequence[StateAction], decrease: float, iterations: int) -> Go:
    """Levenberg-Marquardt descents at growing precision, column by column.

    Args:
        rungs: The actions, the one that is compared last; it alone may be all.
        decrease: See :func:`.levenberg`.
        iterations: Most steps on a rung before the last one.
    """
    u = rungs[0].create()

    def descend(action: StateAction, number: Index, tally: Tally, most: int) -> None:
        before = action.evaluations, action.hessians

        def note(iterate: Iterate) -> None:
            nonlocal before
            after = action.evaluations, action.hessians
            gradients, products = (float(a - b) for a, b in zip(after, before, strict=True))
            # A quasi-Newton step has no products and is its gradients.
            cost = gradients + PRODUCT * products + WORTH * (products > 0.0)
            before = after
            tally.note(number, np.array([iterate.action]), cost)
            if tally.left[number[0]] < 1.0 + PRODUCT + WORTH:
                raise _Spent

        levenberg(action, u, tolerance=0.0, decrease=decrease, iterations=most, monitor=note)

    def go(U: Array, columns: Index, tally: Tally, turn: int) -> None:
        for j in range(columns.size):
            number, blind = columns[j : j + 1], Elsewhere(tally)
            u.array[...] = U[:, j]
            try:
                for action in rungs[:-1]:
                    descend(action, number, blind, iterations)
                descend(rungs[-1], number, tally, 10**6)
            except _Spent:
                # What is left would not pay for a step.
                tally.note(number, np.array([np.inf]), tally.left[number])

    return go


def _off(way: Go) -> Go:
    """A way down whose values are not those of the action that is compared."""

    def go(U: Array, columns: Index, tally: Tally, turn: int) -> None:
        way(U, columns, Elsewhere(tally), turn)

    return go


def _on(way: Go) -> Go:
    """A way down whose values are compared again, within one whose are not."""

    def go(U: Array, columns: Index, tally: Tally, turn: int) -> None:
        way(U, columns, tally.tally if isinstance(tally, Elsewhere) else tally, turn)

    return go
