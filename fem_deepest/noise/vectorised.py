"""Normals of many Philox counters by vectorised NumPy, in chunks that stay in the cache.

Each counter gives two numbers (Box and Muller). Logarithm, sine and cosine are polynomials in exactly
rounded operations (IEEE 754: + - * / sqrt). Library functions may round differently in vector
registers and in what is left over at the end of an array; a number would depend on where it lies in
memory. :mod:`~fem_deepest.noise.compiled` is the same in C, to the last bit.

Box, Muller (1958), doi:10.1214/aoms/1177706645.

Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Words = NDArray[np.uint64]

MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = 0x9E3779B9, 0xBB67AE85
_CHUNK = 8192  # counters at a time: all buffers stay in the second-level cache

_12, _32, _63 = (np.uint64(n) for n in (12, 32, 63))
_ONE = np.uint64(0x3FF0000000000000)  # the bits of 1.0
ROOT = np.int64(0x3FE6A09E667F3BCD)  # the bits of sqrt(1/2)

# Chebyshev approximations, highest power first, errors relative to the value 2e-16 and less:
# -4 artanh(s)/s in s^2 for |s| <= 3 - 2 sqrt(2); sqrt(2) sin(pi x/2)/x and sqrt(2) cos(pi x/2) in x^2
# for |x| <= 1/2.
ARTANH = (
    -0.33675627137797287,
    -0.36243844007787285,
    -0.4444686984281641,
    -0.571428320319513,
    -0.8000000012354611,
    -1.333333333331057,
    -4.000000000000001,
)
SINE = (
    7.967585563362772e-08,
    -5.089250235931372e-06,
    0.00022689805134235255,
    -0.006621000189652891,
    0.1127023928582841,
    -0.9135311874994271,
    2.221441469079183,
)
COSINE = (
    6.583583005207542e-07,
    -3.563837306438805e-05,
    0.0013000298886953307,
    -0.029505417413671225,
    0.3587428584324977,
    -1.7447160499096936,
    1.414213562373095,
)
MINUS_2_LN_2 = -1.3862943611198906


def fill(
    seed: int, stream: int, keys: Words, step: int, samples: Words, width: int, out: Array
) -> None:
    """Fill ``out`` (m * width, S) with the normals of the keys (m,), the step and the samples (S,).

    The arguments are those of :func:`fem_deepest.noise.philox.normals`, checked.
    """
    rows = keys.size
    target = out.reshape(rows, width, samples.size)
    blocks = (width + 1) // 2
    # The words that step, sample and block make, (blocks, S), the same for all keys.
    word = samples << np.uint64(8) | np.arange(blocks, dtype=np.uint64)[:, None]
    word |= np.uint64(step << 32)
    for columns in _slices(samples.size, max(1, _CHUNK // blocks)):
        tail = word[:, columns]
        for some in _slices(rows, max(1, _CHUNK // max(1, tail.size))):
            _pairs(seed, stream, keys[some], tail, target[some, :, columns])


def _slices(size: int, length: int) -> list[slice]:
    return [slice(i, min(i + length, size)) for i in range(0, size, length)]


@lru_cache(maxsize=2)
def _workspace(size: int) -> list[Words]:
    return [np.empty(size, dtype=np.uint64) for _ in range(6)]


@lru_cache(maxsize=64)
def schedule(seed: int, stream: int) -> list[tuple[np.uint64, np.uint64]]:
    """The keys of the ten rounds, in the upper halves of 64 bits."""
    return [(_upper(stream + n * WEYL[0]), _upper(seed + n * WEYL[1])) for n in range(10)]


def _upper(word: int) -> np.uint64:
    return np.uint64(word % 2**32 << 32)


def rounds(
    a: Words, b: Words, p: Words, q: Words, keys: Sequence[tuple]
) -> tuple[Words, Words, Words, Words]:
    """Rounds on the counters ``(a >> 32, a, b >> 32, b)``; returns the new ones and two free arrays."""
    for k, l in keys:
        np.right_shift(a, _32, out=p)
        np.multiply(p, MULTIPLIERS[0], out=p)
        np.right_shift(b, _32, out=q)
        np.multiply(q, MULTIPLIERS[1], out=q)
        np.left_shift(a, _32, out=a)
        np.bitwise_xor(q, a, out=q)
        np.bitwise_xor(q, k, out=q)
        np.left_shift(b, _32, out=b)
        np.bitwise_xor(p, b, out=p)
        np.bitwise_xor(p, l, out=p)
        a, b, p, q = q, p, a, b
    return a, b, p, q


def _pairs(seed: int, stream: int, keys: Words, tail: Words, target: Array) -> None:
    """Normals of the counters ``keys x tail`` into the target (rows, width, S)."""
    rows, flat = keys.size, tail.ravel()
    size = rows * flat.size
    a, b, p, q, u, v = (w[:size] for w in _workspace(max(size, _CHUNK)))
    (k, l), *later = schedule(seed, stream)
    # The first round acts on keys and tails apart. The longer axis is the inner one.
    long = flat.size <= rows
    tails, names = (flat[:, None], keys) if long else (flat, keys[:, None])
    shape = (flat.size, rows) if long else (rows, flat.size)
    np.bitwise_xor((tails >> _32) * MULTIPLIERS[1] ^ k, names << _32, out=a.reshape(shape))
    np.bitwise_xor(tails << _32 ^ l, (names >> _32) * MULTIPLIERS[0], out=b.reshape(shape))
    pair = target.shape[1] > 1
    for part, z in enumerate(_box_muller(*rounds(a, b, p, q, later), u, v, pair)):
        z = z.reshape(shape).T if long else z.reshape(shape)
        place = target[:, part::2]
        place[...] = z.reshape(rows, *tail.shape)[:, : place.shape[1]]


def _horner(coefficients: Sequence[float], z: Array, out: Array) -> Array:
    np.multiply(z, coefficients[0], out=out)
    for c in coefficients[1:-1]:
        np.add(out, c, out=out)
        np.multiply(out, z, out=out)
    return np.add(out, coefficients[-1], out=out)


def _box_muller(
    a: Words, b: Words, p: Words, q: Words, u: Words, v: Words, pair: bool
) -> list[Array]:
    """One or two independent normals from the words ``a`` and ``b``; all arrays are overwritten.

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
    np.subtract(m, ROOT, out=k)
    np.right_shift(k, np.int64(52), out=k)
    np.copyto(v_, k)
    np.left_shift(k, np.int64(52), out=k)
    np.subtract(m, k, out=m)
    np.subtract(p_, 1.0, out=q_)
    np.add(p_, 1.0, out=p_)
    s = np.divide(q_, p_, out=q_)
    r = _horner(ARTANH, np.multiply(s, s, out=p_), a_)
    np.multiply(r, s, out=r)
    np.multiply(v_, MINUS_2_LN_2, out=v_)
    np.add(r, v_, out=r)
    np.sqrt(r, out=r)
    np.left_shift(b, _63, out=q)
    np.bitwise_xor(a, q, out=a)
    np.right_shift(b, _12, out=b)
    np.bitwise_or(b, _ONE, out=b)
    x = np.subtract(b_, 1.5, out=q_)
    z = np.multiply(x, x, out=p_)
    sine = _horner(SINE, z, u_)
    np.multiply(sine, x, out=sine)
    if pair:
        cosine = _horner(COSINE, z, v_)
        np.multiply(cosine, sine, out=v_)
        np.multiply(v_, r, out=v_)
    np.multiply(sine, sine, out=u_)
    np.subtract(1.0, u_, out=u_)
    np.multiply(u_, r, out=u_)
    return [u_, v_] if pair else [u_]
