"""The states of the chunks that are under way in a slab, and the sweeps through its cells."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fem_deepest.network.flow import Flow
from fem_deepest.network.network import Network
from fem_deepest.network.variation import Variation
from fem_deepest.spaces.slabs import Slabs

Array = NDArray[np.float64]


@dataclass
class Slot:
    """One chunk under way.

    Attributes:
        arrays: Memory of its stages, for the widest chunk.
        z: Its inputs, in the first slab.
        x: What comes out of the depth, in the last slab: ``x(T)``, and its direction.
        dy: Derivative of the loss in its output, in the last slab.
    """

    arrays: list[Array] = field(default_factory=list)
    z: Array = field(default_factory=lambda: np.empty((0, 0)))
    x: Array = field(default_factory=lambda: np.empty((0, 0, 0)))
    dy: Array = field(default_factory=lambda: np.empty((0, 0)))


class Chunks:
    """Sweeps through the cells of a slab for chunks of some widths, each with the stages of its own.

    Args:
        network: The network.
        slabs: Gives the cells.
        widths: Numbers of samples of the chunks.

    Attributes:
        steps: Depth steps of the slab.

    Nothing here is collective.
    """

    def __init__(self, network: Network, slabs: Slabs, widths: list[int]) -> None:
        self._network, self._widths = network, widths
        self.steps = network.depth.steps[slabs.cells.start : slabs.cells.stop]
        self._flows: dict[int, Flow] = {}
        self._variations: dict[int, Variation] = {}
        self._slots: list[Slot] = []
        self._costates = np.empty(0)
        self._at = (-1, -1)  # width and slot of the stages that the sweeps have now

    def open(self, count: int, tangent: bool) -> None:
        """Have room for so many chunks at a time, with their tangents or without."""
        cells, stages, neurons = (
            self.steps.size,
            self._network.scheme.stages,
            self._network.index.neurons,
        )
        wide = max(self._widths) * stages
        sizes = [cells * (neurons + 1) * wide, *[cells * neurons * wide] * (3 if tangent else 1)]
        self._slots += [Slot() for _ in range(count - len(self._slots))]
        self._count, self._at = count, (-1, -1)
        for slot in self._slots[:count]:
            slot.arrays += [np.empty(size) for size in sizes[len(slot.arrays) :]]
        if tangent and not self._costates.size:
            self._costates = np.empty(neurons * wide)

    def slot(self, chunk: int) -> Slot:
        """The place of a chunk."""
        return self._slots[chunk % self._count]

    def flow(self, chunk: int) -> Flow:
        """Sweeps of a chunk, with its stages."""
        width, arrays = self._widths[chunk], self.slot(chunk).arrays
        if width not in self._flows:
            network = self._network
            self._flows[width] = Flow(
                self.steps,
                network.coupling,
                width,
                network.scheme,
                network.activation,
                network.leak,
                kept=False,
            )
        flow, at = self._flows[width], (width, chunk % self._count)
        if self._at == at:
            return flow
        self._at = at
        cells, stages, neurons, _ = flow.shape
        flow.keep_in(
            _view(arrays[0], (cells, stages, neurons + 1, width)), _view(arrays[1], flow.shape)
        )
        return flow

    def variation(self, chunk: int) -> Variation:
        """Second variation of the sweeps of a chunk, with its stages; the costates are of one cell."""
        width, arrays, flow = self._widths[chunk], self.slot(chunk).arrays, self.flow(chunk)
        if width not in self._variations:
            self._variations[width] = Variation(flow, kept=False)
        one = (1, *flow.shape[1:])
        self._variations[width].keep_in(
            _view(arrays[2], flow.shape), _view(arrays[3], flow.shape), _view(self._costates, one)
        )
        return self._variations[width]


def _view(flat: Array, shape: tuple[int, ...]) -> Array:
    return flat[: int(np.prod(shape))].reshape(shape)
