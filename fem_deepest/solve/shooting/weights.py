"""The sharded weights of a rank's slab as a whole, and sums over samples and slabs back to the shards."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.network.network import Network
from fem_deepest.solve.shooting.interfaces import Interfaces
from fem_deepest.spaces import Parameters, Shapes
from fem_deepest.spaces.slab_space import SlabSpace
from fem_deepest.spaces.slabs import all_rows

Array = NDArray[np.float64]


class SlabWeights:
    """Between a :class:`.SlabSpace` and what the sweeps of one slab of the depth need.

    That is the weights at *all* nodes of its cells, the right end included, which belongs to the next
    slab, with all rows; the readout on the last slab, the lift on the first one. What other slabs have
    never comes here.

    Args:
        space: Layout of the unknown.
        network: The whole network.
        interfaces: Neighbours in depth.

    Every method is collective on the grid.
    """

    def __init__(self, space: SlabSpace, network: Network, interfaces: Interfaces) -> None:
        self._space, self._interfaces, self._data = space, interfaces, space.grid.data
        shapes, cells = network.shapes, space.slabs.cells
        self._shapes = Shapes(
            (len(cells) + 1, *shapes.theta[1:]),
            shapes.readout if interfaces.last else (0, shapes.readout[1]),
            shapes.lift if interfaces.first else (0, shapes.lift[1]),
        )

    def zeros(self) -> Parameters:
        """Room for sums: weights at the nodes of the slab (m + 1), readout and lift."""
        return Parameters.view(np.zeros(self._shapes.size), self._shapes)

    def gather(self, array: Array) -> Parameters:
        """The weights of the slab, copied from the arrays of its ranks and of the next one."""
        own, out = self._space.parameters(array), self.zeros()
        nodes = len(own.theta)
        theta = np.empty((self._shapes.theta[0], *own.theta.shape[1:]))
        theta[:nodes] = own.theta
        behind = self._interfaces.up(own.theta[0])
        if not self._interfaces.last:
            theta[-1] = behind
        out.theta[...] = all_rows(self._data, theta.swapaxes(0, 1), self._shapes.theta[1]).swapaxes(
            0, 1
        )
        out.readout[...] = all_rows(self._data, own.readout, self._shapes.readout[0])
        out.lift[...] = all_rows(self._data, own.lift, self._shapes.lift[0])
        return out

    def add(self, sums: Parameters, array: Array) -> None:
        """Add the sums over samples, of all ranks that have a weight, to its owner's."""
        own, space = self._space.parameters(array), self._space
        for part in (sums.theta, sums.readout, sums.lift):
            if self._data.size > 1:
                self._data.Allreduce(MPI.IN_PLACE, part, op=MPI.SUM)
        theta = sums.theta[:, space.rows.start : space.rows.stop]
        own.theta[...] += theta[: len(own.theta)]
        own.theta[0] += self._interfaces.down(theta[-1])
        own.readout[...] += sums.readout[space.readout_rows.start : space.readout_rows.stop]
        own.lift[...] += sums.lift[space.lift_rows.start : space.lift_rows.stop]
