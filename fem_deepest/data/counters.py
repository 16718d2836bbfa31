"""Random numbers of samples by their numbers: sample ``k`` has the same ones wherever it is asked for.

Counter-based, see :mod:`fem_deepest.noise.philox`: there is no state, so a set has no first sample that
others depend on, and any rank makes any part of it. Nothing here is collective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.noise.philox import WIDTH, normals, philox4x32

__all__ = ["gaussians", "uniforms"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_STREAMS = 0xDA7A0000  # those of a flow begin at 0


def gaussians(seed: int, stream: int, numbers: Integers, width: int) -> Floats:
    """Standard normals of samples, (k, width).

    Args:
        seed: Below 2^32.
        stream: What they are for, from 0 and below 2^16.
        numbers: Of the samples, (k,), from 0.
        width: Numbers of a sample.
    """
    keys = np.asarray(numbers, dtype=np.uint64)
    found = np.empty((keys.size, width))
    for step, low in enumerate(range(0, width, WIDTH)):
        some = min(WIDTH, width - low)
        drawn = normals(seed, keys, step, _STREAMS + stream, width=some)
        found[:, low : low + some] = drawn.reshape(keys.size, some)
    return found


def uniforms(seed: int, stream: int, numbers: Integers, attempt: Integers | int = 0) -> Floats:
    """Two uniform numbers of [0, 1) of samples, (k, 2), multiples of ``2^-53``.

    Args:
        seed: As for :func:`gaussians`, as the others.
        stream: No stream of :func:`gaussians`.
        numbers: Of the samples, (k,).
        attempt: Each one has its own numbers, below 2^32; one for all samples or (k,).
    """
    keys = np.asarray(numbers, dtype=np.uint64)
    counter = np.empty((keys.size, 4), dtype=np.uint64)
    counter[:, 0], counter[:, 1] = keys >> np.uint64(32), keys & np.uint64(0xFFFFFFFF)
    counter[:, 2], counter[:, 3] = attempt, 0
    words = philox4x32(counter, np.array([_STREAMS + stream, seed], dtype=np.uint64))
    pairs = words.astype(np.uint64).reshape(-1, 2, 2)
    return np.asarray((pairs[..., 0] << np.uint64(21) | pairs[..., 1] >> np.uint64(11)) * 2.0**-53)
