"""How a workload is dealt out on a grid slabs x data, as numbers: who has how much."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from fem_deepest.action.slab.batch import chunk_count
from fem_deepest.action.slab.schedule import in_flight
from fem_deepest.errors import InputError
from fem_deepest.network.network import TILE
from fem_deepest.performance.workload import Workload
from fem_deepest.spaces.grid import deal


@dataclass(frozen=True)
class Layout:
    """A grid for a workload.

    Attributes:
        workload: Sizes.
        slabs: Slabs of the depth ``P_t``.
        data: Ranks over the samples ``P_d``.
        chunks: Chunks ``C`` of the samples of a rank.
        sharded: Whether every rank has its part of the parameters alone, or a copy of them all.

    Raises:
        InputError: More slabs than cells, or several of them for copies.
    """

    workload: Workload
    slabs: int
    data: int
    chunks: int
    sharded: bool = True

    def __post_init__(self) -> None:
        if self.slabs > self.workload.cells:
            raise InputError(
                f"{self.slabs} slabs were asked for of a depth of {self.workload.cells} cells, expected "
                "at least one cell in each; take fewer slabs or more cells"
            )
        if self.slabs > 1 and not self.sharded:
            raise InputError(
                f"{self.slabs} slabs were asked for with a copy of the weights on every rank, expected "
                "one; take parallel.weights = 'sharded'"
            )

    @classmethod
    def of_width(
        cls, workload: Workload, slabs: int, data: int, width: int, sharded: bool = True
    ) -> Layout:
        """The grid with chunks of at most ``width`` samples."""
        return cls(workload, slabs, data, chunk_count(workload.samples, data, width), sharded)

    @property
    def ranks(self) -> int:
        """``P_t P_d``."""
        return self.slabs * self.data

    @property
    def name(self) -> str:
        """``P_t x P_d`` as ``[parallel] grid`` has it."""
        return f"{self.slabs}x{self.data}"

    @property
    def samples(self) -> int:
        """Samples of the data rank that has most."""
        return ceil(self.workload.samples / self.data)

    @property
    def width(self) -> int:
        """Samples of the widest chunk."""
        return ceil(self.samples / self.chunks)

    @property
    def cells(self) -> int:
        """Cells of the longest slab."""
        return ceil(self.workload.cells / self.slabs)

    def cells_of(self, slab: int) -> int:
        """Cells of a slab."""
        edges = deal(self.workload.cells, self.slabs)
        return edges[slab + 1] - edges[slab]

    @property
    def in_flight(self) -> int:
        """Chunks whose states the first slab keeps: forward passes before the first one backward."""
        return in_flight(self.chunks, self.slabs, 0)

    @property
    def parameters(self) -> int:
        """Parameters that a rank owns, at most."""
        w = self.workload
        if not self.sharded:
            return w.parameters
        last = ceil(w.readout[0] / self.data) * w.readout[1]
        first = ceil(w.lift[0] / self.data) * w.lift[1]
        field = ceil(w.rows / self.data) * w.columns
        if self.slabs == 1:
            return (w.cells + 1) * field + first + last
        return max(self.cells * field + first, (self.cells_of(self.slabs - 1) + 1) * field + last)

    @property
    def control(self) -> int:
        """Numbers of a vector of the solver on a rank, at most."""
        w = self.workload
        forced = self.cells * w.neurons * w.forced + w.neurons * w.initial
        return self.parameters + forced * self.samples


def tile(samples: int) -> int:
    """Samples that go through the whole depth together where every rank has all weights."""
    return min(TILE, samples)


def factorisations(ranks: int) -> list[tuple[int, int]]:
    """All ``(slabs, data)`` with this product, few slabs first."""
    low = [d for d in range(1, int(ranks**0.5) + 1) if ranks % d == 0]
    slabs = sorted({*low, *(ranks // d for d in low)})
    return [(s, ranks // s) for s in slabs]
