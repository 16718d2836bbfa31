"""Counter-based random numbers: Philox4x32-10, and standard normals made from it.

A counter-based generator is a function of a counter and a key, without a state: any number of any
stream is there at once, on any rank, in any order. Here

    key     = (stream, seed)                    32 bits each
    counter = (key of the cell, step, sample and block)    64, 32, 24 + 8 bits

and each counter gives two standard normals (Box and Muller), the ``block``-th pair of its cell. All maps
are injective: two different draws never share a counter.

Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011),
doi:10.1145/2063384.2063405.

Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise import compiled, vectorised
from fem_deepest.noise.vectorised import WEYL, rounds

Array = NDArray[np.float64]
Words = NDArray[np.uint64]

SEEDS = STREAMS = STEPS = 2**32
SAMPLES = 2**24
WIDTH = 2 * 2**8


def philox4x32(counter: ArrayLike, key: ArrayLike) -> NDArray[np.uint32]:
    """Ten rounds of Philox4x32: a bijection of the counters for every key.

    Args:
        counter: (..., 4) words of 32 bits.
        key: (..., 2) words of 32 bits; its leading axes broadcast with the counter's.

    Returns:
        (..., 4) words.
    """
    c, k = np.asarray(counter, dtype=np.uint64), np.asarray(key, dtype=np.uint64)
    shape = np.broadcast_shapes(c.shape[:-1], k.shape[:-1])
    a, b, p, q = (np.empty(shape, dtype=np.uint64) for _ in range(4))
    a[...], b[...] = c[..., 0] << np.uint64(32) | c[..., 1], c[..., 2] << np.uint64(32) | c[..., 3]
    keys = [
        (k[..., 0] + n * WEYL[0] << np.uint64(32), k[..., 1] + n * WEYL[1] << np.uint64(32))
        for n in range(10)
    ]
    a, b, _, _ = rounds(a, b, p, q, keys)
    low = np.uint64(0xFFFFFFFF)
    return np.stack([a >> np.uint64(32), a & low, b >> np.uint64(32), b & low], axis=-1).astype(
        np.uint32
    )


def normals(
    seed: int,
    keys: Words,
    step: int,
    stream: int = 0,
    samples: Sequence[int] | NDArray[np.integer] = (0,),
    width: int = 1,
    out: Array | None = None,
) -> Array:
    """Independent standard normals, ``width`` for each key and sample.

    Row ``i * width + j``, column ``s`` is a function of ``(seed, stream, keys[i], step, samples[s], j)``
    alone, to the last bit.

    Args:
        seed: Seed of the run, below 2^32.
        keys: (m,) keys of the cells or of the degrees of freedom, all different.
        step: Number of the time step, below 2^32.
        stream: Number of the noise, below 2^32: two noises of one run differ here.
        samples: (S,) numbers of the samples, below 2^24.
        width: Numbers for each key, at most 512.
        out: (m * width, S), row-major, filled and returned; new if None.

    Raises:
        InputError: A number is out of its range.
    """
    seed, step, stream, width = (index(n) for n in (seed, step, stream, width))
    for name, value, end in (
        ("seed", seed, SEEDS),
        ("step", step, STEPS),
        ("stream", stream, STREAMS),
        ("width", width - 1, WIDTH),
    ):
        if not 0 <= value < end:
            raise InputError(
                f"the {name} of a noise is {value + (name == 'width')}, expected a whole number "
                f"{'from 1 to' if name == 'width' else 'from 0 and below'} {end}"
            )
    sample = np.asarray(samples, dtype=np.int64)
    if sample.ndim != 1 or (sample.size and not 0 <= sample.min() <= sample.max() < SAMPLES):
        raise InputError(
            f"the samples of a noise are {samples}, expected a list of whole numbers from 0 and "
            f"below {SAMPLES}"
        )
    if out is None:
        out = np.empty((keys.size * width, sample.size))
    arguments = (seed, stream, keys, step, sample.astype(np.uint64), width, out)
    if not compiled.fill(*arguments):
        vectorised.fill(*arguments)
    return out


def log_uniforms(
    seed: int, step: int, stream: int, samples: Sequence[int] | NDArray[np.integer]
) -> Array:
    """Logarithms of independent uniform numbers of (0, 1), one for each sample, (S,).

    Half the sum of the squares of two normals is exponential. Raises and keys as :func:`normals`.
    """
    e = normals(seed, np.zeros(1, dtype=np.uint64), step, stream, samples, 2)
    return -0.5 * (e[0] ** 2 + e[1] ** 2)
