"""Counter-based random numbers: Philox4x32-10, and standard normals made from it.

A counter-based generator is a function of a counter and a key, without a state: any number of any
stream is there at once, on any rank, in any order. Here

    key     = (stream, seed)                    32 bits each
    counter = (key of the cell, step, sample and block)    64, 32, 24 + 8 bits

and each counter gives two standard normals (Box and Muller), the ``block``-th pair of its cell. All maps
are injective: two different draws never share a counter.

Logarithm, sine and cosine are polynomials in exactly rounded operations (IEEE 754: + - * / sqrt).
Library functions round differently in vector registers and in what is left over at the end of an
array, so that a number would depend on where it lies in memory.

Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011),
doi:10.1145/2063384.2063405; Box, Muller (1958), doi:10.1214/aoms/1177706645.

Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]
Words = NDArray[np.uint64]

SEEDS = STREAMS = STEPS = 2**32
SAMPLES = 2**24
WIDTH = 2 * 2**8

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_CHUNK = 8192  # counters at a time: all buffers stay in the second-level cache

_12, _32, _63 = (np.uint64(n) for n in (12, 32, 63))
_ONE = np.uint64(0x3FF0000000000000)  # the bits of 1.0
_ROOT = np.int64(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)

# Chebyshev approximations, highest power first, errors relative to the value 2e-16 and less:
# -4 artanh(s)/s in s^2 for |s| <= 3 - 2 sqrt(2); sqrt(2) sin(pi x/2)/x and sqrt(2) cos(pi x/2) in x^2
# for |x| <= 1/2.
_ARTANH = (
    -0.33675627137797287,
    -0.36243844007787285,
    -0.4444686984281641,
    -0.571428320319513,
    -0.8000000012354611,
    -1.333333333331057,
    -4.000000000000001,
)
_SINE = (
    7.967585563362772e-08,
    -5.089250235931372e-06,
    0.00022689805134235255,
    -0.006621000189652891,
    0.1127023928582841,
    -0.9135311874994271,
    2.221441469079183,
)
_COSINE = (
    6.583583005207542e-07,
    -3.563837306438805e-05,
    0.0013000298886953307,
    -0.029505417413671225,
    0.3587428584324977,
    -1.7447160499096936,
    1.414213562373095,
)
_MINUS_2_LN_2 = -1.3862943611198906


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
    a[...], b[...] = c[..., 0] << _32 | c[..., 1], c[..., 2] << _32 | c[..., 3]
    keys = [(k[..., 0] + n * _WEYL[0] << _32, k[..., 1] + n * _WEYL[1] << _32) for n in range(10)]
    a, b = _rounds(a, b, p, q, keys)
    low = np.uint64(0xFFFFFFFF)
    return np.stack([a >> _32, a & low, b >> _32, b & low], axis=-1).astype(np.uint32)


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
    rows = keys.size
    if out is None:
        out = np.empty((rows * width, sample.size))
    target = out.reshape(rows, width, sample.size)
    blocks = (width + 1) // 2
    # The words that step, sample and block make, (blocks, S), the same for all keys.
    word = sample.astype(np.uint64) << np.uint64(8) | np.arange(blocks, dtype=np.uint64)[:, None]
    word |= np.uint64(step << 32)
    for columns in _slices(sample.size, max(1, _CHUNK // blocks)):
        tail = word[:, columns]
        for some in _slices(rows, max(1, _CHUNK // max(1, tail.size))):
            _pairs(seed, stream, keys[some, None, None], tail, target[some, :, columns])
    return out


def _slices(size: int, length: int) -> list[slice]:
    return [slice(i, min(i + length, size)) for i in range(0, size, length)]


@lru_cache(maxsize=2)
def _workspace(size: int) -> list[Words]:
    return [np.empty(size, dtype=np.uint64) for _ in range(6)]


@lru_cache(maxsize=64)
def _schedule(seed: int, stream: int) -> list[tuple[np.uint64, np.uint64]]:
    """The keys of the ten rounds, in the upper halves of 64 bits."""
    return [(_upper(stream + n * _WEYL[0]), _upper(seed + n * _WEYL[1])) for n in range(10)]


def _upper(word: int) -> np.uint64:
    return np.uint64(word % 2**32 << 32)


def _rounds(a: Words, b: Words, p: Words, q: Words, keys: Sequence[tuple]) -> tuple[Words, Words]:
    """Ten rounds on the counters ``(a >> 32, a, b >> 32, b)``; all four arrays are overwritten."""
    for k, l in keys:
        np.right_shift(a, _32, out=p)
        np.multiply(p, _MULTIPLIERS[0], out=p)
        np.right_shift(b, _32, out=q)
        np.multiply(q, _MULTIPLIERS[1], out=q)
        np.left_shift(a, _32, out=a)
        np.bitwise_xor(q, a, out=q)
        np.bitwise_xor(q, k, out=q)
        np.left_shift(b, _32, out=b)
        np.bitwise_xor(p, b, out=p)
        np.bitwise_xor(p, l, out=p)
        a, b, p, q = q, p, a, b
    return a, b


def _pairs(seed: int, stream: int, keys: Words, tail: Words, target: Array) -> None:
    """Normals of the counters ``keys x tail`` into the target (rows, width, S)."""
    shape = (keys.shape[0], *tail.shape)
    size = shape[0] * tail.size
    a, b, p, q, u, v = (w[:size] for w in _workspace(max(size, _CHUNK)))
    a.reshape(shape)[...] = keys
    b.reshape(shape)[...] = tail
    a, b = _rounds(a, b, p, q, _schedule(seed, stream))
    x, y = _box_muller(a, b, p, q, u, v)
    target[:, 0::2] = x.reshape(shape)
    target[:, 1::2] = y.reshape(shape)[:, : target.shape[1] // 2]


def _horner(coefficients: Sequence[float], z: Array, out: Array) -> Array:
    np.multiply(z, coefficients[0], out=out)
    for c in coefficients[1:-1]:
        np.add(out, c, out=out)
        np.multiply(out, z, out=out)
    return np.add(out, coefficients[-1], out=out)


def _box_muller(a: Words, b: Words, p: Words, q: Words, u: Words, v: Words) -> tuple[Array, Array]:
    """Two independent normals from the words ``a`` and ``b``; all six arrays are overwritten.

    ``r = sqrt(-2 ln u)`` with ``u`` in (0, 1] from 52 bits of ``a``; with ``x`` in [-1/2, 1/2) from 52
    bits of ``b`` the angle is ``pi x``, and the sign of ``r``, the last bit of ``b``, does the other half
    of the circle. ``sin`` and ``cos`` of ``pi x`` come from those of ``pi x/2``.
    """
    a_, b_, p_, q_, u_, v_ = (w.view(np.float64) for w in (a, b, p, q, u, v))
    m, k = p.view(np.int64), q.view(np.int64)
    np.right_shift(a, _12, out=a)
    np.bitwise_or(a, _ONE, out=a)
    np.subtract(2.0, a_, out=p_)
    # u = 2^k m with sqrt(1/2) <= m < sqrt(2); ln m = 2 artanh(s), s = (m - 1)/(m + 1).
    np.subtract(m, _ROOT, out=k)
    np.right_shift(k, np.int64(52), out=k)
    np.copyto(v_, k)
    np.left_shift(k, np.int64(52), out=k)
    np.subtract(m, k, out=m)
    np.subtract(p_, 1.0, out=q_)
    np.add(p_, 1.0, out=p_)
    s = np.divide(q_, p_, out=q_)
    r = _horner(_ARTANH, np.multiply(s, s, out=p_), a_)
    np.multiply(r, s, out=r)
    np.multiply(v_, _MINUS_2_LN_2, out=v_)
    np.add(r, v_, out=r)
    np.sqrt(r, out=r)
    np.left_shift(b, _63, out=q)
    np.bitwise_xor(a, q, out=a)
    np.right_shift(b, _12, out=b)
    np.bitwise_or(b, _ONE, out=b)
    x = np.subtract(b_, 1.5, out=q_)
    z = np.multiply(x, x, out=p_)
    sine = _horner(_SINE, z, u_)
    np.multiply(sine, x, out=sine)
    cosine = _horner(_COSINE, z, v_)
    np.multiply(cosine, sine, out=v_)
    np.multiply(sine, sine, out=u_)
    np.subtract(1.0, u_, out=u_)
    return np.multiply(u_, r, out=u_), np.multiply(v_, r, out=v_)
