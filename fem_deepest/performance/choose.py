"""The grid slabs x data that is fastest among those that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fem_deepest.errors import InputError
from fem_deepest.performance import cost, memory
from fem_deepest.performance.cost import Cost
from fem_deepest.performance.layout import Layout, factorisations
from fem_deepest.performance.machine import Machine, Placement
from fem_deepest.performance.workload import Workload

WIDTHS = (
    8,
    12,
    16,
    24,
    32,
    48,
    64,
    96,
    128,
    192,
    256,
    384,
    512,
    768,
    1024,
)  # chunks that are tried
USABLE = 0.9  # part of a node's memory that the ranks may have
MOST = 1 << 20  # ranks, in the search for enough of them


@dataclass(frozen=True)
class Estimate:
    """What the model says of one grid.

    Attributes:
        layout: Grid, chunks, weights.
        gradient: Seconds of a gradient.
        iteration: Seconds of an iteration of the quasi-Newton method.
        memory: Bytes of the rank that has most.
        available: Bytes that a rank may have.
        efficiency: Time of the products of a gradient, dealt out evenly at the full speed of all cores,
            over that of an iteration.
    """

    layout: Layout
    gradient: Cost
    iteration: Cost
    memory: float
    available: float
    efficiency: float

    @classmethod
    def of(cls, layout: Layout, machine: Machine) -> Estimate:
        """The estimate of a layout."""
        place = Placement(machine, layout.ranks)
        iteration = cost.iteration(layout, place)
        ideal = layout.workload.flops() / (layout.ranks * machine.flops)
        return cls(
            layout,
            cost.gradient(layout, place),
            iteration,
            memory.bytes_of_rank(layout),
            USABLE * machine.memory / place.here,
            ideal / iteration.seconds,
        )

    @property
    def fits(self) -> bool:
        """Whether the ranks of a node have room on it."""
        return self.memory <= self.available


def layouts(
    workload: Workload, ranks: int, *, weights: str = "auto", width: int = 0
) -> Iterator[Layout]:
    """All grids of so many ranks with chunks of several widths.

    Args:
        workload: Sizes.
        ranks: ``P``.
        weights: "whole", "sharded", or "auto" for both.
        width: Samples of a chunk; 0: several are tried.
    """
    if weights != "sharded":
        yield Layout(workload, 1, ranks, 1, sharded=False)
    if weights == "whole":
        return
    for slabs, data in factorisations(ranks):
        if slabs > workload.cells:
            continue
        seen = set()
        for k in [width] if width else WIDTHS:
            layout = Layout.of_width(workload, slabs, data, k)
            if layout.chunks not in seen:
                seen.add(layout.chunks)
                yield layout


def estimates(
    workload: Workload, machine: Machine, ranks: int, *, weights: str = "auto", width: int = 0
) -> list[Estimate]:
    """One estimate for each grid, with its best chunks, the fastest grid that fits first.

    Not collective.
    """
    best: dict[tuple[str, bool], Estimate] = {}
    for layout in layouts(workload, ranks, weights=weights, width=width):
        found, key = Estimate.of(layout, machine), (layout.name, layout.sharded)
        if key not in best or _rank(found) < _rank(best[key]):
            best[key] = found
    return sorted(best.values(), key=_rank)


def best_grid(
    workload: Workload, machine: Machine, ranks: int, *, weights: str = "auto", width: int = 0
) -> Estimate:
    """The fastest grid that fits; the first of :func:`fitting`."""
    return fitting(workload, machine, ranks, weights=weights, width=width)[0]


def fitting(
    workload: Workload, machine: Machine, ranks: int, *, weights: str = "auto", width: int = 0
) -> list[Estimate]:
    """The :func:`estimates`, if the first of them fits.

    Args:
        workload: Sizes.
        machine: The nodes.
        ranks: Number of ranks.
        weights: "whole", "sharded", or "auto" for the faster of them.
        width: Samples of a chunk; 0: the best of several.

    Raises:
        InputError: No grid of so many ranks fits, with what would.

    Not collective.
    """
    found = estimates(workload, machine, ranks, weights=weights, width=width)
    if found[0].fits:
        return found
    least = min(found, key=lambda e: e.memory / e.available)
    enough = enough_ranks(workload, machine, ranks, weights=weights, width=width)
    mend = "fewer neurons, cells or pairs (solve.memory)"
    if enough:
        mend = f"{enough} ranks"
    elif weights == "whole":
        mend = "parallel.weights = 'sharded'"
    raise InputError(
        f"{ranks} ranks on nodes '{machine.name}' need {gigabytes(least.memory)} each at least (grid "
        f"{least.layout.name}), but have {gigabytes(least.available)}; take {mend}"
    )


def enough_ranks(
    workload: Workload, machine: Machine, ranks: int, *, weights: str = "auto", width: int = 0
) -> int:
    """The least doubling of ``ranks`` that has a grid that fits; 0 if none has. Not collective."""
    while weights != "whole" and ranks < MOST:
        ranks *= 2
        if machine.nodes and ranks > machine.nodes * machine.cores:
            return 0
        if estimates(workload, machine, ranks, weights="sharded", width=width)[0].fits:
            return ranks
    return 0


def gigabytes(size: float) -> str:
    """Bytes as text."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"


def _rank(estimate: Estimate) -> tuple[bool, float]:
    return not estimate.fits, estimate.iteration.seconds
