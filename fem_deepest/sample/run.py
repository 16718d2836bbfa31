"""Many chains: batches of them dealt out over the ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import FemDeepestError, NumericalFailure
from fem_deepest.sample.chains import Chains, Observables
from fem_deepest.sample.kernel import Kernel
from fem_deepest.sample.pcn import PreconditionedCrankNicolson
from fem_deepest.sample.target import Target

Array = NDArray[np.float64]


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
) -> Sample:
    """Run all chains of a plan.

    Args:
        make: Called once on each rank that has work; its meshes live on ``MPI.COMM_SELF``.
        plan: The numbers.
        comm: All ranks. The result does not depend on their number.
        on_batch: Told the number of each finished batch of this rank and its acceptance.

    Raises:
        FemDeepestError: What one rank raised, on all of them.

    Collective.
    """
    firsts = range(0, plan.chains, plan.batch)[comm.rank :: comm.size]
    found, error = list[Any](), None
    try:
        setting = make() if len(firsts) else None
        for first in firsts:
            assert setting is not None
            numbers = np.arange(first, min(first + plan.batch, plan.chains))
            found.append((first, _batch(setting, plan, numbers)))
            on_batch(first // plan.batch, float(found[-1][1][1].mean()))
    except FemDeepestError as caught:
        error = caught
    errors = [e for e in comm.allgather(error) if e is not None]
    if errors:
        raise errors[0]
    parts = sorted((p for ps in comm.allgather(found) for p in ps), key=lambda p: p[0])
    values = [p[1][0] for p in parts]
    return Sample(
        {name: np.concatenate([v[name] for v in values]) for name in values[0]},
        np.concatenate([p[1][1] for p in parts]),
        np.concatenate([p[1][2] for p in parts]),
        parts[0][1][3],
    )


def _batch(
    setting: Setting, plan: Plan, numbers: NDArray[np.int64]
) -> tuple[dict[str, Array], Array, Array, int]:
    walk, kernel = PreconditionedCrankNicolson(setting.target, 0.2), setting.kernel()
    chains = Chains(setting.target, walk, numbers, plan.seed)
    if not np.isfinite(chains.state.potential).all():
        raise NumericalFailure("the potential is not finite at a draw of the prior")
    chains.tune(plan.relax)
    chains.use(kernel)
    chains.tune(plan.warmup, plan.acceptance)
    before = chains.gradients
    values = chains.draw(plan.draws, setting.observe, plan.thin)
    steps = np.full(numbers.size, kernel.step)
    return values, chains.accepted, steps, chains.gradients - before
