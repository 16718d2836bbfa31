"""What nested iteration goes through: its levels, its stages, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import Parts
from fem_deepest.solve.adaptivity import Indicators, Placement, adapted
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.solve.network.sgd import BatchDescent
from fem_deepest.solve.outcome import Outcome
from fem_deepest.spaces import Resolution


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
