"""The unknowns of an action that is dealt out over ranks, in the order that one rank gives them.

Where neurons are spread over ranks, a vector holds those of the first part of the index, then those of
the second; where weights are sharded, each rank's part of them. What is kept in a file, drawn or compared
has to be the same on any number of ranks: the order of a :class:`.ControlSpace` on one rank.
"""

from __future__ import annotations

from math import prod
from typing import Protocol

import numpy as np

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.spaces import ControlSpace, SlabSpace
from fem_deepest.spaces.common_order import CommonOrder, Integers
from fem_deepest.spaces.spread import SpreadSpace


class Dealt(Protocol):
    """An action whose unknowns have a layout."""

    @property
    def space(self) -> ControlSpace | SlabSpace:
        """Layout of the unknowns."""


class Numbering(CommonOrder):
    """Where the entries of a control are in the vector of the same action on one rank."""

    @classmethod
    def of(cls, action: Dealt) -> Numbering | None:
        """That of an action with sharded weights, or with an index that is spread; none for others.

        Collective.
        """
        if isinstance(action.space, SlabSpace):
            return cls(action.space.create(), action.space.numbers)
        if isinstance(action, NetworkAction) and isinstance(action.network.index, SpreadSpace):
            return cls(action.create(), _spread(action, action.network.index))
        return None


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
