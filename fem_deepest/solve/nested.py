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
from fem_deepest.action.network.action import NetworkAction, Parts
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.adaptivity import Indicators, Placement, adapted, estimate
from fem_deepest.solve.lmvm import Iterate, minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.network.sgd import BatchDescent
from fem_deepest.solve.newton import polish
from fem_deepest.solve.outcome import Outcome
from fem_deepest.spaces import Resolution, prolong


@dataclass(frozen=True)
class Schedule:
    """How far each level is solved.

    Attributes:
        levels: Levels known beforehand, coarse to fine.
        tolerance: Dual norm of the gradient on the last level, relative to the start of the run.
        loosening: A coarser level stops at this multiple of the next one's tolerance.
        iterations: Most iterations of a level.
        memory: Pairs of the quasi-Newton method.
        polish: Newton's method afterwards, to ``polish_tolerance``.
        polish_tolerance: As ``tolerance``.
        polish_iterations: Most Newton steps.
        sgd: Stochastic gradient descent on the levels, in place of the quasi-Newton method.
        place: Where the nodes of the depth meshes after the first go, by the error on the mesh before;
            none: where the levels have them. See :func:`.adapted`.
    """

    levels: list[Resolution]
    tolerance: float = 1e-3
    loosening: float = 1.2
    iterations: int = 2000
    memory: int = 20
    polish: bool = False
    polish_tolerance: float = 1e-8
    polish_iterations: int = 50
    sgd: BatchDescent | None = None
    place: Placement | None = None

    @property
    def method(self) -> str:
        """Method on the levels: "lmvm" or "sgd"."""
        return "lmvm" if self.sgd is None else "sgd"

    def goal(self, search: Search) -> float:
        """Dual norm of the gradient at which a stage ends, relative to the start of the run."""
        if search.method == "newton":
            return self.polish_tolerance
        coarser = max(len(self.levels) - 1 - search.stage, 0)
        return self.tolerance * self.loosening**coarser

    def next_level(self, search: Search, indicators: Indicators | None) -> Resolution | None:
        """The level that follows the one that ``search`` has solved, if there is one. Not collective.

        Args:
            search: Stands at the end of a level.
            indicators: Where the error is on that level, if it is known.
        """
        if search.stage + 1 >= len(self.levels):
            return None
        planned = self.levels[search.stage + 1]
        if self.place is None or indicators is None:
            return planned
        return adapted(self.place, indicators, planned)


@dataclass(frozen=True)
class Stage:
    """One solve of a run: a level, or the polish at the end.

    Attributes:
        name: "lmvm", "sgd" or "newton".
        level: Resolution.
        outcome: How it ended.
        parts: The action and its parts at the end.
        gradient: Dual norm of the gradient at the end.
        evaluations: Gradients, and ``hessians`` Hessian products, that it took.
        hessians: See ``evaluations``.
        indicators: Where the error of the action is, if the depth meshes follow it.
    """

    name: str
    level: Resolution
    outcome: Outcome
    parts: Parts
    gradient: float
    evaluations: int
    hessians: int
    indicators: Indicators | None = None


@dataclass
class Search:
    """Where a run stands: everything a restart needs beside the problem itself.

    Attributes:
        stage: Number of the stage: the levels in order, then the polish.
        method: "lmvm" or "sgd" on a level, "newton" in the polish.
        level: The level; the polish works on the finest.
        iteration: Steps made in this stage.
        evaluations: Gradients of the finished stages.
        own: Gradients and Hessian products of this stage so far.
        reference: Dual norm of the gradient at the start of the run, before it is improved.
        u: The iterate on that level.
        memory: Quasi-Newton memory there.
    """

    stage: int
    method: str
    level: Resolution
    iteration: int
    evaluations: int
    own: tuple[int, int]
    reference: float
    u: PETSc.Vec
    memory: LimitedMemory


def prolongation(
    coarse: NetworkAction, fine: NetworkAction, *, same_index: bool
) -> Callable[[PETSc.Vec], PETSc.Vec]:
    """The interpolation of controls from one action to another, see :func:`.prolong`.

    Args:
        coarse: The action whose controls go in.
        fine: The action whose controls come out.
        same_index: Whether both have the same neuron index.

    Raises:
        InputError: The neurons of one index cannot be interpolated to the other.

    Not collective; what it gives is.
    """
    spaces = coarse.space, fine.space, coarse.network.depth, fine.network.depth
    index: dict[str, Any] = {}
    if not same_index:
        rows, columns = coarse.network.coupling.prolongation(fine.network.coupling)
        states = coarse.network.index.prolongation(fine.network.index)
        index = {"states": states, "rows": rows, "columns": columns}

    def apply(u: PETSc.Vec) -> PETSc.Vec:
        return prolong(*spaces, u, **index)

    return apply


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

    problem: Callable[[Resolution], NetworkAction]
    schedule: Schedule
    on_step: Callable[[Search, NetworkAction, Iterate], None] = lambda *_: None
    on_stage: Callable[[Search, NetworkAction, Stage], None] = lambda *_: None
    _actions: dict[Resolution, NetworkAction] = field(default_factory=dict, init=False)

    def action(self, level: Resolution) -> NetworkAction:
        """Action of a level; made once, and only the newest two are kept."""
        if level not in self._actions:
            self._actions = dict(list(self._actions.items())[-1:])
            self._actions[level] = self.problem(level)
        return self._actions[level]

    def prepare(self) -> None:
        """Raise now whatever is wrong with the input, before anything is done."""
        action = self.action(self.schedule.levels[0])
        if self.schedule.sgd is not None:
            self.schedule.sgd.batches(action)

    def begin(
        self,
        start: Callable[[NetworkAction], PETSc.Vec],
        improve: Callable[[NetworkAction, PETSc.Vec], None] = lambda *_: None,
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
                iterate: Iterate, action: NetworkAction = action, gradient: list[float] = gradient
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
        self, search: Search, action: NetworkAction, monitor: Callable[[Iterate], None]
    ) -> Outcome:
        schedule = self.schedule
        tolerance = schedule.goal(search) * search.reference
        common: dict[str, Any] = {"tolerance": tolerance, "monitor": monitor}
        common["offset"] = search.iteration
        if search.method == "newton":
            most = schedule.polish_iterations
            return polish(action, search.u, iterations=most, **common)
        if schedule.sgd is not None:
            return schedule.sgd.minimise(action, search.u, number=search.stage, **common)
        return minimise(action, search.u, search.memory, iterations=schedule.iterations, **common)

    def _estimate(self, search: Search, action: NetworkAction) -> Indicators | None:
        """Where the error is at the end of a stage, if that is asked for."""
        return None if self.schedule.place is None else estimate(action, search.u)

    def _advance(
        self, search: Search, action: NetworkAction, indicators: Indicators | None
    ) -> bool:
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
