"""Predicted scaling: the best grid for more and more ranks, of a fixed or of a growing problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from fem_deepest.performance.choose import Estimate, estimates
from fem_deepest.performance.machine import Machine
from fem_deepest.performance.workload import Workload

CELLS = 4  # depth cells of a rank where the depth grows with the ranks


@dataclass(frozen=True)
class Scaling:
    """The fastest grids of a family of problems.

    Attributes:
        ranks: Numbers of ranks, ascending from one.
        best: The fastest grid that fits for each, or the fastest of all where none fits.
    """

    ranks: list[int]
    best: list[Estimate]

    @property
    def seconds(self) -> list[float]:
        """Of an iteration."""
        return [e.iteration.seconds for e in self.best]

    @property
    def efficiency(self) -> list[float]:
        """See :attr:`.Estimate.efficiency`."""
        return [e.efficiency for e in self.best]


def strong(
    workload: Workload, machine: Machine, ranks: int, *, weights: str = "auto", width: int = 0
) -> Scaling:
    """One problem on 1, 2, 4, ..., ``ranks`` ranks. Not collective."""
    return _scaling(lambda _: workload, machine, ranks, weights, width)


def weak_in_samples(
    workload: Workload, machine: Machine, ranks: int, *, weights: str = "auto", width: int = 0
) -> Scaling:
    """As many samples on each rank as there are on ``ranks`` ranks. Not collective."""
    each = ceil(workload.samples / ranks)
    return _scaling(lambda p: workload.with_sizes(samples=each * p), machine, ranks, weights, width)


def weak_in_depth(
    workload: Workload, machine: Machine, ranks: int, *, weights: str = "auto", width: int = 0
) -> Scaling:
    """``CELLS`` depth cells for each rank, all samples. Not collective."""
    return _scaling(lambda p: workload.with_sizes(cells=CELLS * p), machine, ranks, weights, width)


def _scaling(
    problem: Callable[[int], Workload],
    machine: Machine,
    ranks: int,
    weights: str,
    width: int,
) -> Scaling:
    doubled = [2**i for i in range(ranks.bit_length()) if 2**i < ranks]
    counts = [*doubled, ranks]
    best = [estimates(problem(p), machine, p, weights=weights, width=width)[0] for p in counts]
    return Scaling(counts, best)
