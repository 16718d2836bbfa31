"""Many chains: batches of them dealt out over the ranks, kept from time to time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError, Interrupted, NumericalFailure
from fem_deepest.sample.chains import Chains, Observables
from fem_deepest.sample.kernel import Kernel
from fem_deepest.sample.pcn import PreconditionedCrankNicolson
from fem_deepest.sample.target import Target
from fem_deepest.spaces.tasks import blocks, dealt

Array = NDArray[np.float64]

_SEGMENT = 100  # draws between two questions whether to stop


class Setting(NamedTuple):
    """What a rank needs for its chains.

    Attributes:
        target: The measure.
        kernel: Makes a kernel with its first step size; called for each batch.
        observe: What is kept, see :meth:`.Chains.draw`.
    """

    target: Target
    kernel: Callable[[], Kernel]
    observe: Observables


@dataclass(frozen=True)
class Plan:
    """Numbers of a run.

    Attributes:
        chains: Chains.
        batch: Chains side by side, a task of one rank. They share a step size.
        relax: Iterations of pCN that take the draws of the prior to where the mass is. Langevin
            proposals can stay for ever where the gradient is large.
        warmup: Iterations in which the step is tuned; 0 leaves it as it is.
        draws: Iterations after that.
        thin: One of so many is kept.
        acceptance: Target of the tuning; that of the kernel if None.
        seed: Seed.
    """

    chains: int = 16
    batch: int = 16
    relax: int = 500
    warmup: int = 500
    draws: int = 1000
    thin: int = 1
    acceptance: float | None = None
    seed: int = 0


class Kept(NamedTuple):
    """A batch that is being drawn: all that it needs to go on bit for bit.

    Attributes:
        v: Where the chains are, (n, S).
        iteration: Number of the next iteration, which names its noise.
        step: Frozen step size.
        drawn: Iterations since the warm-up.
        accepted: Sum of their acceptance probabilities, (S,).
        values: By name, (S, draws, ...).
    """

    v: Array
    iteration: int
    step: float
    drawn: int
    accepted: Array
    values: dict[str, Array]


class Keeper(Protocol):
    """Keeps batches, and knows when to stop."""

    def load(self, first: int) -> Kept | None:
        """What is kept of the batch whose first chain has this number. Not collective."""

    def save(self, first: int, kept: Kept, done: bool) -> None:
        """Keep it, at once if it is done, or when it is time. Not collective."""

    @property
    def asked(self) -> bool:
        """Whether this rank has been asked to stop."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Chains in the order of their numbers, the same on every rank.

    Attributes:
        values: By name, (chains, draws, ...).
        acceptance: Mean acceptance probability, (chains,).
        steps: Frozen step sizes, (chains,).
        gradients: Gradients of one chain while drawing.
    """

    values: dict[str, Array]
    acceptance: Array
    steps: Array
    gradients: int


def sample(
    make: Callable[[], Setting],
    plan: Plan,
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    on_batch: Callable[[int, float], None] = lambda batch, acceptance: None,
    keeper: Keeper | None = None,
) -> Sample:
    """Run all chains of a plan.

    Args:
        make: Called once on each rank that has work; its meshes live on ``MPI.COMM_SELF``.
        plan: The numbers.
        comm: All ranks. The result does not depend on their number.
        on_batch: Told the number of each finished batch of this rank and its acceptance.
        keeper: Keeps the batches; with it a run that was interrupted goes on where it was.

    Raises:
        FemDeepestError: What one rank raised, on all of them; ``Interrupted`` if one was asked to stop.

    Collective.
    """
    setting = cache(make)

    def compute(numbers: range) -> tuple[Kept, int]:
        kept = _batch(setting(), plan, np.array(numbers), keeper)
        on_batch(numbers.start // plan.batch, float(kept.accepted.mean()) / plan.draws)
        return kept, setting().kernel().gradients

    found = dealt(blocks(range(plan.chains), plan.batch), compute, comm)
    parts, each = [kept for kept, _ in found], found[0][1]
    return Sample(
        {name: np.concatenate([p.values[name] for p in parts]) for name in parts[0].values},
        np.concatenate([p.accepted / plan.draws for p in parts]),
        np.concatenate([np.full(p.accepted.size, p.step) for p in parts]),
        each * plan.draws,
    )


def _batch(setting: Setting, plan: Plan, numbers: NDArray[np.int64], keeper: Keeper | None) -> Kept:
    first, kernel = int(numbers[0]), setting.kernel()
    kept = keeper.load(first) if keeper is not None else None
    if kept is None:
        chains = _warm(setting, plan, numbers, kernel)
        kept = _kept(chains, 0, np.zeros(numbers.size), {})
    else:
        if kept.drawn > plan.draws:
            raise InputError(
                f"{kept.drawn} iterations of a chain are kept, {plan.draws} are asked for; ask for as "
                "many or more"
            )
        kernel.step = kept.step
        chains = Chains(setting.target, kernel, numbers, plan.seed, kept.v)
        chains.iteration = kept.iteration
    while kept.drawn < plan.draws:
        if keeper is not None and keeper.asked:
            keeper.save(first, kept, True)
            raise Interrupted
        count = min(_SEGMENT * plan.thin, plan.draws - kept.drawn)
        more = chains.draw(count, setting.observe, plan.thin)
        values = {
            name: np.concatenate([kept.values[name], x], axis=1) if kept.drawn else x
            for name, x in more.items()
        }
        kept = _kept(chains, kept.drawn + count, kept.accepted + count * chains.accepted, values)
        if keeper is not None:
            keeper.save(first, kept, kept.drawn == plan.draws)
    return kept


def _warm(setting: Setting, plan: Plan, numbers: NDArray[np.int64], kernel: Kernel) -> Chains:
    """Chains whose step is tuned."""
    walk = PreconditionedCrankNicolson(setting.target, 0.2)
    chains = Chains(setting.target, walk, numbers, plan.seed)
    if not np.isfinite(chains.state.potential).all():
        raise NumericalFailure("the potential is not finite at a draw of the prior")
    chains.tune(plan.relax)
    chains.use(kernel)
    chains.tune(plan.warmup, plan.acceptance)
    return chains


def _kept(chains: Chains, drawn: int, accepted: Array, values: dict[str, Array]) -> Kept:
    step = chains.kernel.step
    return Kept(chains.state.v, chains.iteration, step, drawn, accepted, values)
