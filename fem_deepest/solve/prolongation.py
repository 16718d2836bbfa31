"""Prolongation of controls from one level of a nested iteration to the next, on any ranks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.numbering import Numbering
from fem_deepest.network.network import Network
from fem_deepest.spaces import ControlSpace, SlabSpace, prolong
from fem_deepest.spaces.slab_prolongation import prolong_slabs


class Level(Protocol):
    """An action of a network on some level."""

    @property
    def network(self) -> Network:
        """The network."""

    @property
    def space(self) -> ControlSpace | SlabSpace:
        """Layout of its controls."""


def prolongation(
    coarse: Level, fine: Level, *, same_index: bool
) -> Callable[[PETSc.Vec], PETSc.Vec]:
    """The interpolation of controls from one action to another, see :func:`.prolong`.

    Args:
        coarse: The action whose controls go in.
        fine: The action whose controls come out.
        same_index: Whether both have the same neuron index.

    Sharded weights may be on a grid of another shape on the finer level; of the same ranks.

    Raises:
        InputError: The neurons of one index cannot be interpolated to the other.

    Not collective; what it gives is.
    """
    old, new, depths = coarse.space, fine.space, (coarse.network.depth, fine.network.depth)
    index: dict[str, Any] = {}
    if not same_index:
        rows, columns = coarse.network.coupling.prolongation(fine.network.coupling)
        states = coarse.network.index.prolongation(fine.network.index)
        index = {"states": states, "rows": rows, "columns": columns}

    def apply(u: PETSc.Vec) -> PETSc.Vec:
        if isinstance(old, SlabSpace):
            assert isinstance(new, SlabSpace)
            if old.grid.shape == new.grid.shape:
                return prolong_slabs(old, new, *depths, u, **index)
            there = new.on(old.grid)
            return redealt(prolong_slabs(old, there, *depths, u, **index), there, new)
        assert isinstance(new, ControlSpace)
        return prolong(old, new, *depths, u, **index)

    return apply


def redealt(u: PETSc.Vec, old: SlabSpace, new: SlabSpace) -> PETSc.Vec:
    """The control on a grid of another shape, on the same ranks; ``u`` is destroyed. Collective."""
    one, other = (Numbering(space.create(), space.numbers) for space in (old, new))
    v = one.common(u)
    u.destroy()
    result = other.control(v)
    for done in (v, one, other):
        done.destroy()
    return result
