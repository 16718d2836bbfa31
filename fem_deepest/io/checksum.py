"""A checksum of numbered entries, that ranks compute each of its own part, and add up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_GAMMA, _FIRST, _SECOND = (
    np.uint64(number) for number in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
_PIECE = 1 << 14  # entries at a time, which stay in the cache


def checksum(values: NDArray[np.float64], first: int = 0) -> int:
    """``sum_i mix(bits_i + (first + i + 1) gamma)`` modulo 2^64.

    The numbers are part of it, so entries that are exchanged are noticed, and the sum over the parts of
    a vector is that of the vector, however it is cut. ``mix`` is one to one: another value of one entry
    gives another sum for certain, other values of several with a probability of 1 - 2^-64.

    Args:
        values: Entries (n,).
        first: Number of the first of them.

    The finaliser of SplitMix64: Steele, Lea and Flood (2014), doi:10.1145/2660193.2660195.

    Not collective.
    """
    bits, total = np.ascontiguousarray(values).view(np.uint64), 0
    for start in range(0, bits.size, _PIECE):
        part = bits[start : start + _PIECE]
        z = np.arange(first + start + 1, first + start + 1 + part.size, dtype=np.uint64)
        z *= _GAMMA
        z += part
        for shift, factor in ((30, _FIRST), (27, _SECOND)):
            z ^= z >> np.uint64(shift)
            z *= factor
        z ^= z >> np.uint64(31)
        total += int(z.sum())
    return total & 0xFFFFFFFFFFFFFFFF
