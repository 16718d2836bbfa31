"""Tasks of numbered samples, dealt out over the ranks, and what rank 0 does for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from mpi4py import MPI

from fem_deepest.errors import FemDeepestError, InputError

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


def on_root(
    work: Callable[[], T], comm: MPI.Intracomm, unable: Callable[[OSError], str] = str
) -> T:
    """What rank 0 finds, on every rank; what it fails at is raised on all of them. Collective.

    Args:
        work: Called on rank 0; nothing in it may be collective.
        comm: All ranks.
        unable: Sentence for an ``OSError``: a full disk, a file that may not be read.

    Raises:
        FemDeepestError: What ``work`` raised on rank 0; ``InputError`` for an ``OSError``.
    """
    found, failure = None, None
    if comm.rank == 0:
        try:
            found = work()
        except FemDeepestError as error:
            failure = error
        except OSError as error:
            failure = InputError(unable(error))
    found, failure = comm.bcast((found, failure), root=0)
    if failure is not None:
        raise failure
    return cast(T, found)


def on_all(work: Callable[[], T], comm: MPI.Intracomm, unable: Callable[[OSError], str] = str) -> T:
    """What each rank finds for itself; what one fails at is raised on all of them. Collective.

    Args:
        work: Called on every rank; nothing in it may be collective.
        comm: All ranks.
        unable: Sentence for an ``OSError``.

    Raises:
        FemDeepestError: That of the first rank that failed.
    """
    found, failure = None, None
    try:
        found = work()
    except FemDeepestError as error:
        failure = error
    except OSError as error:
        failure = InputError(unable(error))
    if comm.size > 1:
        failure = next(filter(None, comm.allgather(failure)), None)
    if failure is not None:
        raise failure
    return cast(T, found)
