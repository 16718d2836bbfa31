"""Nested iteration: levels with more and more depth cells and neurons, each started from the one before.

The iterate and the quasi-Newton memory are prolonged by FE interpolation, so a finer level goes on
where the coarser one stopped. A gradient costs in proportion to the depth cells and, with a kernel,
to the square of the neurons: so the coarse levels are cheap, and most of the way is made on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.action.dealt import DealtAction, whole
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.adaptivity import Indicators, estimate
from fem_deepest.solve.lmvm import Iterate, minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.newton import polish
from fem_deepest.solve.outcome import Outcome
from fem_deepest.solve.prolongation import prolongation
from fem_deepest.solve.schedule import Schedule, Search, Stage
from fem_deepest.spaces import Resolution

SGD = "stochastic gradient descent"


@dataclass
class NestedIteration:
    """Runs the stages of a schedule.

    Args:
        problem: ``problem(level)`` makes the action on a level.
        schedule: Levels and tolerances.
        on_step: Called after every accepted step; an exception it raises ends the run.
        on_stage: Called at the end of every stage, with a search that stands at the next one, or
            still at the last.

    Collective: every method.
    """

    problem: Callable[[Resolution], DealtAction]
    schedule: Schedule
    on_step: Callable[[Search, DealtAction, Iterate], None] = lambda *_: None
    on_stage: Callable[[Search, DealtAction, Stage], None] = lambda *_: None
    _actions: dict[Resolution, DealtAction] = field(default_factory=dict, init=False)

    def action(self, level: Resolution) -> DealtAction:
        """Action of a level; made once, and only the newest two are kept."""
        if level not in self._actions:
            self._actions = dict(list(self._actions.items())[-1:])
            self._actions[level] = self.problem(level)
        return self._actions[level]

    def prepare(self) -> None:
        """Raise now whatever is wrong with the input, before anything is done."""
        action = self.action(self.schedule.levels[0])
        if self.schedule.sgd is not None:
            self.schedule.sgd.batches(whole(action, SGD))

    def begin(
        self,
        start: Callable[[DealtAction], PETSc.Vec],
        improve: Callable[[DealtAction, PETSc.Vec], None] = lambda *_: None,
    ) -> Search:
        """Search at the start of the coarsest level.

        Args:
            start: Makes the control that tolerances are relative to.
            improve: Changes it before the first step. It is no part of the reference: else the better
                the start, the farther a run would have to go for the same tolerance.

        Raises:
            NumericalFailure: The action or its gradient is not finite there.
        """
        level = self.schedule.levels[0]
        action = self.action(level)
        u = start(action)
        g = action.create()
        action.gradient(u, g)
        reference = dual_norm(action.metric, g)
        if not np.isfinite(reference):
            raise NumericalFailure(
                "the action or its gradient is not finite at the start; take smaller start weights"
            )
        g.destroy()
        improve(action, u)
        action.evaluations = 0
        memory = LimitedMemory(action.metric, self.schedule.memory)
        return Search(0, self.schedule.method, level, 0, 0, (0, 0), reference, u, memory)

    def run(self, search: Search) -> list[Stage]:
        """Go through the stages from where ``search`` stands, changing it in place.

        Raises:
            NumericalFailure: The action is not finite; ``search.u`` holds the last good iterate.
        """
        stages, more = list[Stage](), True
        while more:
            action = self.action(search.level)
            # The first evaluation of a resumed stage repeats the last one before it.
            action.evaluations = max(search.own[0] - 1, 0)
            action.hessians = search.own[1]
            gradient = [0.0]

            def monitor(
                iterate: Iterate, action: DealtAction = action, gradient: list[float] = gradient
            ) -> None:
                repeated = search.own[0] > 0 and iterate.iteration == search.iteration
                search.iteration, gradient[0] = iterate.iteration, iterate.gradient
                search.own = action.evaluations, action.hessians
                iterate.u.copy(search.u)
                if not repeated:
                    self.on_step(search, action, iterate)

            outcome = self._solve(search, action, monitor)
            outcome = replace(outcome, iterations=search.iteration)
            indicators = self._estimate(search, action)
            action.value(search.u)
            stage = Stage(
                search.method,
                search.level,
                outcome,
                action.parts,
                gradient[0],
                action.evaluations,
                action.hessians,
                indicators,
            )
            stages.append(stage)
            more = self._advance(search, action, indicators)
            self.on_stage(search, action, stage)
        return stages

    def _solve(
        self, search: Search, action: DealtAction, monitor: Callable[[Iterate], None]
    ) -> Outcome:
        schedule = self.schedule
        tolerance = schedule.goal(search) * search.reference
        common: dict[str, Any] = {"tolerance": tolerance, "monitor": monitor}
        common["offset"] = search.iteration
        if search.method == "newton":
            most = schedule.polish_iterations
            return polish(action, search.u, iterations=most, **common)
        if schedule.sgd is not None:
            descent = whole(action, SGD)
            return schedule.sgd.minimise(descent, search.u, number=search.stage, **common)
        return minimise(action, search.u, search.memory, iterations=schedule.iterations, **common)

    def _estimate(self, search: Search, action: DealtAction) -> Indicators | None:
        """Where the error is at the end of a stage, if that is asked for."""
        if self.schedule.place is None:
            return None
        return estimate(whole(action, "an adaptive depth mesh"), search.u)

    def _advance(self, search: Search, action: DealtAction, indicators: Indicators | None) -> bool:
        """Stand at the beginning of the next stage, if there is one."""
        if search.method == "newton":
            return False
        level = self.schedule.next_level(search, indicators)
        if level is None and not self.schedule.polish:
            return False
        search.evaluations += action.evaluations
        search.stage, search.iteration, search.own = search.stage + 1, 0, (0, 0)
        if level is None:
            search.method = "newton"
            return True
        fine, same_index = self.action(level), level.index == search.level.index
        search.level, primal = level, prolongation(action, fine, same_index=same_index)
        memory = search.memory.moved(fine.metric, primal)
        search.memory.clear()
        u = primal(search.u)
        search.u.destroy()
        search.u, search.memory = u, memory
        return True
