"""Tasks of numbered samples, dealt out over the ranks; the result does not depend on their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from mpi4py import MPI

from fem_deepest.errors import FemDeepestError

T = TypeVar("T")


def blocks(samples: range, size: int) -> list[range]:
    """Parts of ``samples`` that end at the multiples of ``size``, wherever they begin."""
    edges = [samples.start, *range((samples.start // size + 1) * size, samples.stop, size)]
    return [range(a, b) for a, b in zip(edges, [*edges[1:], samples.stop], strict=True)]


def dealt(parts: Sequence[range], compute: Callable[[range], T], comm: MPI.Intracomm) -> list[T]:
    """What ``compute`` finds for every part, dealt out over the ranks, in the order of the parts.

    Parts do not depend on the number of ranks, so neither does a bit of the result. A failure on one
    rank is raised on all of them. Collective.
    """
    own, failure = list[T](), None
    try:
        own = [compute(part) for part in parts[comm.rank :: comm.size]]
    except FemDeepestError as error:
        failure = error
    found = comm.allgather((own, failure))
    for _, told in found:
        if told is not None:
            raise told
    return [found[i % comm.size][0][i // comm.size] for i in range(len(parts))]
