"""The order in which a slab takes the chunks of its samples: one forward, one backward.

Slab ``s`` of ``P_t`` begins with ``min(C, P_t - s)`` forward sweeps, so that the chunk it then sweeps back
has just come back to it, and goes on with one backward and one forward sweep in turn (PipeDream-Flush:
Narayanan et al. 2021, doi:10.48550/arXiv.2006.09503). All slabs are at work but for ``P_t - 1`` chunks at
the two ends, whatever ``C``, and the states of no more chunks are kept than there are slabs to come.
"""

from __future__ import annotations

from typing import NamedTuple


class Sweep(NamedTuple):
    """One chunk through the slab.

    Attributes:
        chunk: Number of the chunk.
        back: Whether it is the way back.
    """

    chunk: int
    back: bool


def in_flight(chunks: int, slabs: int, slab: int) -> int:
    """Chunks whose states a slab keeps at the same time, ``min(C, P_t - s)``."""
    return min(chunks, slabs - slab)


def there_and_back(chunks: int, slabs: int, slab: int) -> list[Sweep]:
    """The sweeps of a gradient or of a product with the Hessian on one slab, in order."""
    ahead = in_flight(chunks, slabs, slab)
    sweeps = [Sweep(chunk, False) for chunk in range(ahead)]
    for chunk in range(chunks):
        sweeps.append(Sweep(chunk, True))
        if chunk + ahead < chunks:
            sweeps.append(Sweep(chunk + ahead, False))
    return sweeps


def there(chunks: int) -> list[Sweep]:
    """The sweeps of a value."""
    return [Sweep(chunk, False) for chunk in range(chunks)]
