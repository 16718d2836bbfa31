"""Search for low stationary points: noise that is cooled, then descent without noise.

Every column is a search of its own: it starts somewhere, follows the annealed flow, and its best iterate
(and its last one) is taken down to a stationary point by a solver. Gradient evaluations are counted column
by column, those of the descent included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.annealed.flow import Accept, AnnealedFlow, FlowState
from fem_deepest.annealed.landscape import Landscape, Minibatched, Numbers
from fem_deepest.annealed.schedule import Schedule
from fem_deepest.annealed.timestepper import FlowStepper, stay
from fem_deepest.errors import InputError

Array = NDArray[np.float64]
Ends = tuple[Literal["best", "last"], ...]

_FAR = 1e3  # an action so many times above what noise can lift it to is of an explosion


class Descent(NamedTuple):
    """Ends of a descent.

    Attributes:
        U: Where it ended, (n, S).
        values: ``A`` there, (S,).
        converged: Whether it is a stationary point, (S,).
        gradients: What it cost, in gradients, (S,).
    """

    U: Array
    values: Array
    converged: NDArray[np.bool_]
    gradients: Array


class Descend(Protocol):
    """A solver that goes down from a block of starts."""

    def __call__(self, U: Array) -> Descent:
        """Descend from each column of ``U``, (n, S). Collective on the ranks of the landscape."""


@dataclass(frozen=True)
class Plan:
    """Numbers of the noisy part.

    Attributes:
        schedule: Temperatures.
        steps: Steps with noise; 0 is descent alone.
        step: ``k``.
        implicitness: ``vartheta``.
        accept: Rule of acceptance.
        noise: "prior" or "white".
        look: See :class:`.AnnealedFlow`.
        ends: Iterates that are taken down; of their ends the lowest is kept. The temperature lifts the
            action by ``theta/2`` for each unknown, so the best iterate may be the start for long.
        seed: Seed.

    Raises:
        InputError: The number of steps is negative, or there is no such end.
    """

    schedule: Schedule
    steps: int
    step: float
    implicitness: float = 0.5
    accept: Accept = "always"
    noise: Literal["prior", "white"] = "prior"
    look: int = 1
    ends: Ends = ("best", "last")
    seed: int = 0

    def flow(
        self,
        landscape: Landscape,
        U0: Array | FlowState,
        numbers: Numbers | None = None,
        seed: int | None = None,
    ) -> AnnealedFlow:
        """The flow with these numbers, see :class:`.AnnealedFlow`; its columns are 0, 1, .. if None.

        Collective on the ranks of the landscape.
        """
        block = U0.U if isinstance(U0, FlowState) else U0
        return AnnealedFlow(
            landscape,
            self.schedule,
            step=self.step,
            U0=U0,
            implicitness=self.implicitness,
            accept=self.accept,
            noise=self.noise,
            numbers=range(block.shape[1]) if numbers is None else numbers,
            seed=self.seed if seed is None else seed,
            look=self.look,
        )

    def obeying_options(self, prefix: str = "") -> Plan:
        """The plan with the numbers that ``-ts_dt`` and ``-ts_max_steps`` give instead. Not collective."""
        data = PETSc.Options(prefix)
        return replace(
            self,
            step=data.getReal("ts_dt", self.step),
            steps=data.getInt("ts_max_steps", self.steps),
        )

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"a search got {self.steps} steps with noise, expected 0 or more")
        if not self.ends or not set(self.ends) <= {"best", "last"}:
            raise InputError(f"a search descends from {self.ends}, expected 'best', 'last' or both")


class Found(NamedTuple):
    """What a search has found, column by column.

    Attributes:
        U: Stationary points, (n, S).
        values: ``A`` there, (S,).
        converged: Whether the descent reached its tolerance, (S,).
        gradients: All gradients, noise and descents, (S,).
        noisy: Lowest action of the noisy part, (S,).
        lost: Whether the noisy part has exploded, see :func:`exploded`, (S,).
    """

    U: Array
    values: Array
    converged: NDArray[np.bool_]
    gradients: Array
    noisy: Array
    lost: NDArray[np.bool_]


def search(
    landscape: Landscape,
    starts: Array | FlowState,
    plan: Plan,
    descend: Descend,
    *,
    numbers: Numbers | None = None,
    watch: Callable[[AnnealedFlow], None] = stay,
) -> Found:
    """Noise from ``starts``, then descent.

    The noisy part is a TS: ``-ts_*`` options are obeyed, see :class:`.FlowStepper`.

    Args:
        landscape: The action on blocks.
        starts: (n, S), or the state of a flow that was interrupted: it goes on bit for bit.
        plan: Numbers of the noisy part.
        descend: A solver, see :mod:`fem_deepest.annealed.descent`.
        numbers: Numbers of the columns, (S,), which name their noise; 0, 1, .. if None.
        watch: Told the flow after every step; it may keep ``flow.state``, and an exception that it
            raises ends the search.

    Raises:
        InputError: See :class:`.AnnealedFlow`.
        NumericalFailure: The action of a start is not finite.

    Collective on the ranks of the landscape.
    """
    flow = plan.flow(landscape, starts, numbers)
    stepper = FlowStepper(flow, plan.steps, watch=watch)
    try:
        stepper.solve()
    finally:
        stepper.destroy()
    return descended(flow, descend, plan.ends)


def exploded(flow: AnnealedFlow) -> NDArray[np.bool_]:
    """Where a flow has left all that its temperature explains, (S,).

    Noise at ``theta`` lifts the action of a quadratic well by ``theta/2`` for each of the ``n`` unknowns,
    in the mean. A column whose action is not finite, or a thousand times above both its lowest and
    ``n theta`` of the first step, has exploded: the step is too long for the part of the gradient that
    is explicit. From there it cannot move, or only further away.

    Collective on the ranks of the landscape.
    """
    many = flow.numbers.size
    one = np.ones((flow.landscape.rows, many))
    theta = flow.schedule.temperature(0, flow.schedule.start(many))
    scale = np.abs(flow.best.values) + theta * flow.landscape.inner(one, one)
    with np.errstate(invalid="ignore"):
        return np.asarray(~(flow.values - flow.best.values <= _FAR * scale))


def descended(flow: AnnealedFlow, descend: Descend, ends: Ends = ("best", "last")) -> Found:
    """Iterates of a flow taken down in one block; the lower end of each column.

    Args:
        flow: The flow.
        descend: A solver.
        ends: Which iterates.

    Collective on the ranks of the landscape.
    """
    columns: NDArray[np.int64] = np.arange(flow.numbers.size)
    starts: dict[str, tuple[NDArray[np.int64], Array]] = {
        "best": (columns, flow.best.U),
        "last": (columns, flow.U),
    }
    if len(ends) > 1 and not isinstance(flow.landscape, Minibatched):
        # Where the last iterate is the best one there is nothing else to find.
        new = np.flatnonzero(flow.values != flow.best.values)
        starts["last"] = new, flow.U[:, new]
    owner = np.concatenate([starts[end][0] for end in ends])
    down = descend(np.concatenate([starts[end][1] for end in ends], axis=1))
    gradients = flow.gradients + np.bincount(owner, down.gradients, columns.size)
    # Stationary points first, then by their actions.
    order = np.lexsort((down.values, ~down.converged, owner))
    lowest = order[np.unique(owner[order], return_index=True)[1]]
    return Found(
        down.U[:, lowest],
        down.values[lowest],
        down.converged[lowest],
        gradients,
        flow.best.values,
        exploded(flow),
    )
