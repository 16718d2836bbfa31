"""The unknowns of an action that is dealt out over ranks, in the order that one rank gives them.

Where neurons are spread over ranks, a vector holds those of the first part of the index, then those of
the second; where weights are sharded, each rank's part of them. What is kept in a file, drawn or compared
has to be the same on any number of ranks: the order of a :class:`.ControlSpace` on one rank.
"""

from __future__ import annotations

from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.spaces import ControlSpace, SlabSpace
from fem_deepest.spaces.spread import SpreadSpace

Integers = NDArray[np.int64]


class Dealt(Protocol):
    """An action whose unknowns have a layout."""

    @property
    def space(self) -> ControlSpace | SlabSpace:
        """Layout of the unknowns."""


class Numbering:
    """Where the entries of a control are in the vector of the same action on one rank.

    Args:
        template: A control; it is kept, until :meth:`destroy`.
        entries: Number there of every entry of this rank.

    Attributes:
        entries: These numbers.
        size: Entries of all ranks.

    Collective on the ranks of the control: the construction and every method.
    """

    def __init__(self, template: PETSc.Vec, entries: Integers) -> None:
        self._template, self.entries = template, entries
        self.size: int = template.getSize()

    @classmethod
    def of(cls, action: Dealt) -> Numbering | None:
        """That of an action with sharded weights, or with an index that is spread; none for others."""
        if isinstance(action.space, SlabSpace):
            return cls(action.space.create(), action.space.numbers)
        if isinstance(action, NetworkAction) and isinstance(action.network.index, SpreadSpace):
            return cls(action.create(), _spread(action, action.network.index))
        return None

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

    def destroy(self) -> None:
        """Give the template up: on several ranks PETSc keeps what Python merely forgets."""
        self._template.destroy()

    def _scatter(self, v: PETSc.Vec) -> tuple[PETSc.Scatter, PETSc.IS]:
        comm = self._template.getComm()
        places = PETSc.IS().createGeneral(self.entries.astype(PETSc.IntType), comm=comm)
        first, last = self._template.getOwnershipRange()
        mine = PETSc.IS().createStride(last - first, first, 1, comm=comm)
        scatter = PETSc.Scatter().create(self._template, mine, v, places)
        mine.destroy()
        return scatter, places


def _spread(action: NetworkAction, index: SpreadSpace) -> Integers:
    """Entries of a part of the neuron index in the vector of the whole one."""
    network, space, grid = action.network, action.space, action.grid
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
    return np.concatenate([*pieces, np.empty(0, np.int64)])


def _numbers(shape: tuple[int, ...]) -> Integers:
    return np.arange(prod(shape)).reshape(shape)
