"""The levels of a training: depth cells and neurons side by side, and what may be wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Shape = tuple[int, ...]
Neurons = Sequence[int | list[int]]


def paired(cells: list[int], neurons: Neurons | None) -> list[tuple[int, Shape]]:
    """Depth cells and neurons (N,), or rows and columns, of the levels, coarse to fine.

    The last levels of both lists go together; where one has fewer, its coarsest comes more often.
    Without neurons the second ones are empty. Not collective.
    """
    shapes = [(n,) if isinstance(n, int) else tuple(n) for n in neurons or []] or [()]
    count = max(len(cells), len(shapes))
    cells = cells[:1] * (count - len(cells)) + cells
    return list(zip(cells, shapes[:1] * (count - len(shapes)) + shapes, strict=True))


def depth_problem(levels: list[int], cells: int, neurons: Neurons | None) -> str | None:
    """Sentence on levels in depth that do not grow to ``cells``, if so. Not collective."""
    # Beside as many levels of the index, the depth may stay as it is in some of them.
    repeated = neurons is not None and len(neurons) == len(levels)
    rising = levels == (sorted(levels) if repeated else sorted(set(levels)))
    if rising and levels[-1:] == [cells]:
        return None
    return f"solve.levels = {levels} must increase and end with network.cells = {cells}"


def index_problem(
    neurons: Neurons,
    levels: list[tuple[int, Shape]],
    *,
    index: str,
    last: int | list[int] | None,
    first_neurons: str | None,
) -> str | None:
    """Sentence on levels of the neuron index that cannot be, if so. Not collective.

    Args:
        neurons: ``solve.neurons``.
        levels: Those with the depth, see :func:`paired`.
        index: ``network.index``.
        last: Neurons or shape of the network, if they are known.
        first_neurons: A setting that has a meaning for the first neurons alone, if there is one.
    """
    text = f"solve.neurons = {list(neurons)}"
    if index not in ("interval", "rectangle"):
        return (
            f"{text} refines the neuron index, but network.index = '{index}' cannot be refined: "
            "take 'interval' or 'rectangle', or leave it out"
        )
    if first_neurons:
        return (
            f"{text} refines the neuron index, but {first_neurons} takes the first neurons, which are "
            "others on every level: take 'linear' or 'project'"
        )
    sides = 1 if index == "interval" else 2
    if (
        not neurons
        or any(len(shape) != sides for _, shape in levels)
        or last not in (None, neurons[-1])
    ):
        what = "numbers" if sides == 1 else "shapes [rows, columns]"
        return f"{text}, expected {what} that end with that of the network" + (
            f", {last}" if last else ""
        )
    for (cells, shape), (more, finer) in pairwise(levels):
        grows = [b >= a for a, b in zip((cells, *shape), (more, *finer), strict=True)]
        if not all(grows) or (cells, shape) == (more, finer):
            return (
                f"{text} gives a level of {more} depth cells and {list(finer)} neurons after one of "
                f"{cells} and {list(shape)}; every level must be finer than the one before"
            )
    return None
