"""The unknowns of an action whose neurons are spread over ranks, in the order that one rank gives them.

A vector of such an action holds the neurons of the first part of the index, then those of the second.
What is kept in a file, or compared, has to be the same on any number of ranks: parameters and forcings in
the order of the numbers of the nodes.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.spaces.spread import SpreadSpace

Integers = NDArray[np.int64]


class Numbering:
    """Where the entries of a control are in the vector of the same action on an index that is not spread.

    Args:
        action: An action with a :class:`.SpreadSpace`.

    Attributes:
        entries: Number there of every entry of this rank.
        size: Entries of all ranks.

    Collective on the grid: the construction and every method.
    """

    def __init__(self, action: NetworkAction) -> None:
        network, space, grid = action.network, action.space, action.grid
        index = network.index
        assert isinstance(index, SpreadSpace)
        self._template = action.create()
        self.size = self._template.getSize()
        neurons, states = index.all_neurons, index.states
        shapes = network.shapes
        whole = (
            (shapes.theta[0], index.size, shapes.theta[2]),
            (shapes.readout[0], neurons + 1),
            (neurons, shapes.lift[1]),
        )
        columns = np.append(states, neurons) if network.readout.has_constant else states
        own = (
            np.ix_(np.arange(whole[0][0]), index.number, np.arange(whole[0][2])),
            np.ix_(np.arange(whole[1][0]), columns),
            np.ix_(states, np.arange(whole[2][1])),
        )
        pieces = list[Integers]()
        start = 0
        for shape, places in zip(whole, own, strict=True):
            if grid.owner:
                pieces.append(start + _numbers(shape)[places].ravel())
            start += prod(shape)
        # Tile by tile, in the order of the samples, as a ControlSpace has them.
        zero = np.empty(space.local_size)
        first = action.blocks.local.start
        for tile, width in enumerate(space.tiles):
            initial, forced = (view.shape for view in space.forcing(zero, tile))
            each = (neurons if initial[0] else 0), forced[0] * neurons
            at = start + first * sum(each)
            if initial[0]:
                pieces.append(at + _numbers((neurons, width))[states].ravel())
            pieces.append(
                at + each[0] * width + _numbers((forced[0], neurons, width))[:, states].ravel()
            )
            first += width
        self.entries: Integers = np.concatenate([*pieces, np.empty(0, np.int64)])

    @classmethod
    def of(cls, action: NetworkAction) -> Numbering | None:
        """That of an action whose index is spread over ranks; none for others."""
        return cls(action) if isinstance(action.network.index, SpreadSpace) else None

    def gather(self, u: PETSc.Vec) -> NDArray[np.float64]:
        """The entries of the control ``u`` in the common order, all of them on every rank."""
        v = self.common(u)
        parts = v.getComm().tompi4py().allgather(v.array_r.copy())
        v.destroy()
        return np.concatenate(parts)

    def create(self) -> PETSc.Vec:
        """Zero vector in the common order."""
        return PETSc.Vec().createMPI((PETSc.DECIDE, self.size), comm=self._template.getComm())

    def common(self, u: PETSc.Vec) -> PETSc.Vec:
        """New vector in the common order with the entries of the control ``u``."""
        v = self.create()
        scatter, places = self._scatter(v)
        scatter.scatter(u, v)
        scatter.destroy()
        places.destroy()
        return v

    def control(self, v: PETSc.Vec) -> PETSc.Vec:
        """New control, the inverse of :meth:`common`."""
        u = self._template.duplicate()
        scatter, places = self._scatter(v)
        scatter.scatter(v, u, mode=PETSc.ScatterMode.REVERSE)
        scatter.destroy()
        places.destroy()
        return u

    def _scatter(self, v: PETSc.Vec) -> tuple[PETSc.Scatter, PETSc.IS]:
        comm = self._template.getComm()
        places = PETSc.IS().createGeneral(self.entries.astype(PETSc.IntType), comm=comm)
        first, last = self._template.getOwnershipRange()
        mine = PETSc.IS().createStride(last - first, first, 1, comm=comm)
        scatter = PETSc.Scatter().create(self._template, mine, v, places)
        mine.destroy()
        return scatter, places


def _numbers(shape: tuple[int, ...]) -> Integers:
    return np.arange(prod(shape)).reshape(shape)
