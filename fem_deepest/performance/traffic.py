"""Messages and bytes of an evaluation with sharded weights, from rank to rank.

A gather of the rows of a node on ``P_d`` ranks is ``P_d - 1`` messages of every rank with its own rows, a
reduction as many with those of the others: over all ranks ``8 r c (P_d - 1)`` bytes each. A slab gathers
the nodes of its cells for every sweep, but for the few that it still has where a sweep turns back; it
reduces them for every chunk. The states of a chunk go down from slab to slab and the costates up.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, prod

from fem_deepest.action.network.ends import SCALARS
from fem_deepest.action.slab.gathers import kept_nodes, nodes_of_cell
from fem_deepest.action.slab.schedule import in_flight
from fem_deepest.performance.layout import Layout
from fem_deepest.performance.machine import NUMBER
from fem_deepest.spaces.chain import piece_length
from fem_deepest.spaces.grid import block_count, deal, subtrees


@dataclass(frozen=True)
class Volume:
    """Messages of one kind, over all ranks.

    Attributes:
        messages: Number of them.
        bytes: Bytes altogether.
    """

    messages: int
    bytes: int

    def __add__(self, other: Volume) -> Volume:
        return Volume(self.messages + other.messages, self.bytes + other.bytes)


@dataclass(frozen=True)
class Kind:
    """An evaluation.

    Attributes:
        points: Points whose weights are gathered: the control, and a direction.
        down: Fields that go towards the output.
        up: Fields that go towards the input.
        scalars: Numbers that are summed over all ranks.
    """

    points: int
    down: int
    up: int
    scalars: int


GRADIENT = Kind(1, 1, 1, SCALARS + 2)
HESSIAN = Kind(2, 2, 2, SCALARS + 1)
GAUSS_NEWTON = Kind(2, 2, 1, SCALARS + 1)


def nodes_of_slab(layout: Layout, cells: int) -> int:
    """Nodes whose weights so many cells need."""
    return cells + len(nodes_of_cell(layout.workload.scheme.abscissae, 0)) - 1


def gathers_of_slab(layout: Layout, slab: int) -> int:
    """Gathers in a gradient: those of every sweep, less what is still there where one turns.

    The slab begins with ``a = min(C, P_t - s)`` sweeps forward and ends with as many backward, which do
    not turn; the other ``2 C + 1 - 2 a`` sweeps begin where the one before ended.
    """
    nodes = nodes_of_slab(layout, layout.cells_of(slab))
    kept = kept_nodes(layout.workload.scheme.abscissae)
    if layout.data == 1:
        return 0
    if nodes <= kept:
        return nodes
    ahead = in_flight(layout.chunks, layout.slabs, slab)
    turns = 2 * layout.chunks + 1 - 2 * ahead
    return 2 * layout.chunks * nodes - turns * kept


def gathers(layout: Layout, kind: Kind = GRADIENT) -> Volume:
    """Weights of cells for the sweeps."""
    count = kind.points * sum(gathers_of_slab(layout, s) for s in range(layout.slabs))
    return _shared(layout, count, min(layout.data, layout.workload.rows))


def reductions(layout: Layout, _: Kind = GRADIENT) -> Volume:
    """Gradients in them, summed over the data ranks."""
    nodes = sum(nodes_of_slab(layout, layout.cells_of(s)) for s in range(layout.slabs))
    return _shared(layout, layout.chunks * nodes, _reducing(layout, layout.workload.rows))


def states(layout: Layout, kind: Kind = GRADIENT) -> Volume:
    """States and costates between the slabs."""
    w, between = layout.workload, layout.slabs - 1
    # Chunks that are not empty.
    filled = sum(min(hi - lo, layout.chunks) for lo, hi in pairwise(deal(w.samples, layout.data)))
    fields = (kind.down + kind.up) * between
    return Volume(2 * between * filled, fields * NUMBER * w.neurons * w.samples)


def ghosts(layout: Layout, kind: Kind = GRADIENT) -> Volume:
    """Weights of the node between two slabs, and their gradients, where a step needs its right end."""
    right = any(c != 0.0 for c in layout.workload.scheme.abscissae)
    between = (layout.slabs - 1) * right * (kind.points + 1)
    rows = min(layout.data, layout.workload.rows)
    return Volume(between * rows, between * NUMBER * layout.workload.node)


def copies(layout: Layout) -> Volume:
    """Whole weights: the parameters to every rank."""
    others = layout.data - 1
    return Volume(others, others * NUMBER * layout.workload.parameters)


def trees(layout: Layout) -> Volume:
    """Whole weights: the sums of blocks to the first rank, from each the largest subtrees that it has."""
    w, data = layout.workload, layout.data
    count = block_count(w.samples, data)
    others = list(pairwise(deal(count, data)))[1:]
    roots = sum(len(list(subtrees(0, count, *part))) for part in others)
    sums = w.cells * w.slots * w.node + prod(w.readout) + prod(w.lift) + SCALARS
    return Volume(roots, roots * NUMBER * sums)


def ends(layout: Layout, kind: Kind = GRADIENT) -> Volume:
    """Lift and readout: gathered before and their gradients reduced after an evaluation."""
    w, others = layout.workload, layout.data - 1
    volume = Volume(0, 0)
    for rows, columns in (w.lift, w.readout):
        if rows * columns:
            messages = (kind.points * min(rows, layout.data) + _reducing(layout, rows)) * others
            volume += Volume(messages, (kind.points + 1) * others * NUMBER * rows * columns)
    return volume


def sums(layout: Layout, kind: Kind = GRADIENT) -> Volume:
    """Action, score and whether something failed, summed over all ranks."""
    ranks = layout.ranks if layout.ranks > 1 else 0
    return Volume(ranks, ranks * NUMBER * kind.scalars)


def product(layout: Layout) -> Volume:
    """The product with the prior: the nodes at both sides of the ends of slabs (``ell = 0``)."""
    between, w = layout.slabs - 1, layout.workload
    rows = min(layout.data, w.rows)
    return Volume(2 * between * rows, 2 * between * NUMBER * w.node)


def solve(layout: Layout) -> Volume:
    """A solve with the prior: elimination and substitution go from slab to slab in pieces of a node."""
    between, w = layout.slabs - 1, layout.workload
    pieces = sum(pieces_of(layout, rows * w.columns) for rows in rows_of(layout))
    return Volume(2 * between * pieces, 2 * between * NUMBER * w.node)


def rows_of(layout: Layout) -> list[int]:
    """Rows of the data ranks."""
    return [hi - lo for lo, hi in pairwise(deal(layout.workload.rows, layout.data))]


def pieces_of(layout: Layout, entries: int) -> int:
    """Pieces of so many entries of a node, see :class:`.Chain`."""
    return ceil(entries / piece_length(entries, layout.slabs))


KINDS = {
    "gathers": gathers,
    "reductions": reductions,
    "states": states,
    "ghosts": ghosts,
    "ends": ends,
    "sums": sums,
}


def total(layout: Layout, kind: Kind = GRADIENT) -> Volume:
    """All messages of an evaluation, but of its prior."""
    if not layout.sharded:
        return copies(layout) + trees(layout)
    return sum((volume(layout, kind) for volume in KINDS.values()), Volume(0, 0))


def _shared(layout: Layout, count: int, senders: int) -> Volume:
    """So many gathers or reductions of a node."""
    others = layout.data - 1
    return Volume(count * senders * others, count * NUMBER * layout.workload.node * others)


def _reducing(layout: Layout, rows: int) -> int:
    """Data ranks that send something in a reduction: all but one that has the only row."""
    return layout.data - (rows == 1)
