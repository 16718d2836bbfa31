"""Seconds of an evaluation and of an iteration on a grid slabs x data.

Sharded weights: a slab takes ``t = t_forward + t_backward`` for a chunk of samples, with the gathers and
reductions of its cells, and the pipeline of ``P_t`` slabs and ``C`` chunks ``(C + P_t - 1) t``: what is
beyond ``C t`` is the wait for the pipeline to fill and to drain. A gather and the computation beside it
take together

    max(computation, transfer) + (1 - overlap) min(computation, transfer).

Whole weights: every rank does its samples, then the sums go to the first rank, which alone has prior and
vectors.

Where more ranks than cores are at work on a node, each is slower by the most that share a core; a rank
that waits does not count (it yields its core). ``_FRESH`` and ``_EXCHANGE`` are fitted to iterations and
gradients of 256 neurons measured on one to four ranks, the other counts to CPU times of one rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from fem_deepest.network.network import TILE
from fem_deepest.performance import traffic
from fem_deepest.performance.layout import Layout
from fem_deepest.performance.machine import NUMBER, Placement
from fem_deepest.performance.workload import Sweep
from fem_deepest.spaces.grid import block_count

_REDUCTIONS = 16  # sums over all ranks in an iteration
_VECTORS = 50  # passes over vectors in an iteration beside those over the pairs
_FRESH = 80  # passes that the pages of an iteration's new vectors and temporaries take as long as
_SOLVES = 3  # of the prior in an iteration: direction, norm of the gradient, its change
_ELIMINATION = 7  # passes over a vector in a solve
_PAIRS = 9  # passes over vectors for each pair: seven in the direction, two in a push
_STEPS = 40  # calls of a chunk in a cell there and back, beside those of the sweeps themselves
_EXCHANGE = 40  # calls of a gather or a reduction
_PRODUCT = 10  # passes of the product with the prior, and over the gradient


@dataclass(frozen=True)
class Cost:
    """Where the seconds of the slowest rank go.

    Attributes:
        compute: Products, activations, vectors, prior.
        waiting: For the pipeline to fill and drain, or for the first rank.
        transfer: Messages, as far as they are not behind the computation.
    """

    compute: float
    waiting: float
    transfer: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.compute + self.waiting + self.transfer

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.compute + other.compute,
            self.waiting + other.waiting,
            self.transfer + other.transfer,
        )


def gradient(layout: Layout, place: Placement) -> Cost:
    """A gradient, its product with the prior included."""
    return _sharded(layout, place) if layout.sharded else _whole(layout, place)


def iteration(layout: Layout, place: Placement) -> Cost:
    """An iteration of the quasi-Newton method with all its pairs, one gradient in it."""
    memory = layout.workload.memory
    sweep = Sweep(layout.workload, place.machine, _stream(layout, place))
    passes = sweep.vectors(layout.control, _VECTORS + _FRESH + _PAIRS * memory)
    transfer = place.reduction(_REDUCTIONS)
    found = gradient(layout, place)
    if not layout.sharded:
        return found + Cost(passes + _SOLVES * _eliminate(layout, sweep), 0.0, transfer)
    found += Cost(passes * place.slower(place.here), 0.0, transfer)
    solve = _solve(layout, place, sweep)
    return found + Cost(_SOLVES * solve.compute, _SOLVES * solve.waiting, _SOLVES * solve.transfer)


def _solve(layout: Layout, place: Placement, sweep: Sweep) -> Cost:
    """A solve with the prior: recurrences through the slabs and back, a node in pieces."""
    w, seconds = layout.workload, _eliminate(layout, sweep) * place.slower(place.here)
    if layout.slabs == 1:
        return Cost(seconds, 0.0, 0.0)
    entries = ceil(w.rows / layout.data) * w.columns
    pieces = traffic.pieces_of(layout, entries)
    hop = place.point(NUMBER * entries / pieces, layout.data)
    step = 0.5 * seconds / pieces + hop
    return Cost(seconds, 2.0 * (layout.slabs - 1) * step, 2.0 * pieces * hop)


def _sharded(layout: Layout, place: Placement) -> Cost:
    w, m = layout.workload, place.machine
    sweep, k, slabs = Sweep(w, m, place.stream), layout.width, layout.slabs
    compute = layout.cells * (sweep.forward(k) + sweep.backward(k) + _STEPS * m.call)
    ends = sweep.enter(k) + sweep.leave(k) if slabs == 1 else max(sweep.enter(k), sweep.leave(k))
    compute += ends
    node = place.collective(NUMBER * w.node, layout.data)
    # The slab in the middle of its sweeps gathers least; the first one does not turn while it fills.
    gathered = max(traffic.gathers_of_slab(layout, s) for s in {0, slabs - 1}) / layout.chunks
    reduced = traffic.nodes_of_slab(layout, layout.cells) if layout.data > 1 else 0
    compute += sweep.vectors(w.node, 3 * reduced)
    if layout.data > 1:
        compute += (gathered + reduced) * _EXCHANGE * m.call
    transfer = (gathered + reduced) * node
    hop = place.point(NUMBER * w.neurons * k, layout.data) if slabs > 1 else 0.0
    transfer += 2.0 * hop
    hidden = m.overlap * min(compute, transfer)
    # So many slabs are at work in a step of the pipeline, each with all its data ranks.
    steps, full = layout.chunks + slabs - 1, min(slabs, layout.chunks)
    slow = 2.0 * sum(place.slower(place.here * busy / slabs) for busy in range(1, full))
    slow += (steps - 2 * (full - 1)) * place.slower(place.here * full / slabs)
    total = (compute + transfer - hidden) * slow
    work = layout.chunks * place.slower(place.here * full / slabs)
    after = sweep.vectors(layout.control, _PRODUCT) * place.slower(place.here)
    return Cost(
        compute * work + after,
        total - (compute + transfer - hidden) * work,
        (transfer - hidden) * work + place.reduction(2),
    )


def _eliminate(layout: Layout, sweep: Sweep) -> float:
    """The computation of a solve with the prior on the own part."""
    w = layout.workload
    seconds = sweep.vectors(layout.control, _ELIMINATION)
    if w.mixed:  # to the modes of rows and columns and back
        seconds += 4.0 * layout.parameters * (w.columns + w.rows) / sweep.machine.flops
    return seconds


def _whole(layout: Layout, place: Placement) -> Cost:
    w, m, data = layout.workload, place.machine, layout.data
    sweep = Sweep(w, m, place.stream)
    blocks = block_count(w.samples, data)
    wide = w.samples / blocks
    tiles = max(ceil(wide / TILE), 1)
    k = wide / tiles
    own = ceil(blocks / data)
    compute = own * tiles * w.cells * (sweep.forward(k) + sweep.backward(k))
    compute += own * tiles * (sweep.enter(k) + sweep.leave(k))
    sums = w.cells * w.slots * w.node
    # The sums of blocks are added in pairs; the parameters are copied, and stages made of them.
    compute += sweep.vectors(sums, 3 * own) + sweep.vectors(w.parameters, 4)
    compute *= place.slower(place.here)
    alone = Sweep(w, m, m.stream)
    first = alone.vectors(w.parameters, 20)
    if data == 1:
        return Cost(compute + first, 0.0, 0.0)
    roots, received = vars(traffic.trees(layout)).values()
    transfer = (NUMBER * w.parameters * min(2.0, log2(data)) + received) / place.link
    if place.nodes > 1:
        outside = received * (1.0 - place.here / data)
        transfer += (NUMBER * w.parameters + outside) / m.node_link
    transfer += (roots + log2(data)) * m.node_latency
    waiting = first + alone.vectors(sums, 3 * roots)
    return Cost(compute, waiting, transfer + place.reduction(2))


def _stream(layout: Layout, place: Placement) -> float:
    """Bytes/s of the vectors of the solver: all ranks read at once, or the first one alone."""
    return place.stream if layout.sharded else place.machine.stream
