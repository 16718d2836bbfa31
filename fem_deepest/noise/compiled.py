"""Normals of many Philox counters in C, compiled at the first use.

The algorithm of :mod:`~fem_deepest.noise.vectorised` with the same operations in the same order, hence
the same bits, three times as fast. It is compiled by the C compiler that FFCx needs for its forms as
well (``CC``, or ``cc``) and kept in the cache folder (``XDG_CACHE_HOME``); where that does not work,
NumPy does it.

Nothing here is collective.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.noise import vectorised

Array = NDArray[np.float64]
Words = NDArray[np.uint64]

# Contracted to fused operations, products and sums would be rounded once instead of twice.
_FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fPIC", "-shared"]
_SECONDS = 60

_SOURCE = r"""
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { N = 64 };  /* counters at a time, in vector registers */

static inline double number(uint64_t bits) { double x; memcpy(&x, &bits, 8); return x; }
static inline uint64_t bits(double x) { uint64_t b; memcpy(&b, &x, 8); return b; }

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
static void pairs(uint32_t k, uint32_t l, const uint64_t *restrict a,
                  const uint64_t *restrict b, double *restrict x, double *restrict y)
{
  uint64_t key[20];
  for (int round = 0; round < 10; ++round, k += @WEYL0@u, l += @WEYL1@u) {
    key[2 * round] = (uint64_t)k << 32;
    key[2 * round + 1] = (uint64_t)l << 32;
  }
  for (int i = 0; i < N; ++i) {
    uint64_t c = a[i], d = b[i];
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const uint64_t p = (c >> 32) * @M0@u, q = (d >> 32) * @M1@u;
      c = q ^ (c << 32) ^ key[2 * round];
      d = p ^ (d << 32) ^ key[2 * round + 1];
    }
    const double u = 2.0 - number(c >> 12 | 0x3FF0000000000000u);
    /* 1024 more than the exponent, as a shift of a positive number; 2^52 + it, as a double. */
    const uint64_t e = (bits(u) - @ROOT@u + (1024ull << 52)) >> 52;
    const double exponent = number(0x4330000000000000u | e) - 4503599627371520.0;
    const double m = number(bits(u) - ((e - 1024) << 52));
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    double r = @ARTANH@;
    r = sqrt(r * s + exponent * @MINUS_2_LN_2@);
    r = number(bits(r) ^ d << 63);
    const double t = number(d >> 12 | 0x3FF0000000000000u) - 1.5, w = t * t;
    const double sine = @SINE@ * t;
    const double cosine = @COSINE@;
    x[i] = (1.0 - sine * sine) * r;
    y[i] = cosine * sine * r;
  }
}

void fill(uint32_t seed, uint32_t stream, const uint64_t *keys, int64_t rows, uint32_t step,
          const uint64_t *samples, int64_t columns, int64_t width, double *out)
{
  const int64_t blocks = (width + 1) / 2, size = rows * blocks * columns;
  uint64_t a[N], b[N];
  double x[N], y[N];
  double *place[N];
  int second[N];
  int64_t row = 0, block = 0, column = 0;
  for (int64_t begin = 0; begin < size; begin += N) {
    const int n = size - begin < N ? (int)(size - begin) : N;
    for (int i = 0; i < n; ++i) {
      a[i] = keys[row];
      b[i] = (uint64_t)step << 32 | samples[column] << 8 | (uint64_t)block;
      place[i] = out + (row * width + 2 * block) * columns + column;
      second[i] = 2 * block + 1 < width;
      if (++column == columns) {
        column = 0;
        if (++block == blocks) { block = 0; ++row; }
      }
    }
    for (int i = n; i < N; ++i) a[i] = b[i] = 0;
    pairs(stream, seed, a, b, x, y);
    for (int i = 0; i < n; ++i) {
      place[i][0] = x[i];
      if (second[i]) place[i][columns] = y[i];
    }
  }
}
"""


def fill(
    seed: int, stream: int, keys: Words, step: int, samples: Words, width: int, out: Array
) -> bool:
    """As :func:`.vectorised.fill`; whether it could be done."""
    library = _library()
    if library is None or not out.flags.c_contiguous:
        return False
    own = np.ascontiguousarray(keys)
    library.fill(
        seed,
        stream,
        own.ctypes.data,
        own.size,
        step,
        samples.ctypes.data,
        samples.size,
        width,
        out.ctypes.data,
    )
    return True


def available() -> bool:
    """Whether the numbers are drawn in C; compiles at the first call."""
    return _library() is not None


def _source() -> str:
    """The source with the constants of the vectorised version, which Python writes exactly."""
    text = _SOURCE
    for name, variable in (("ARTANH", "z"), ("SINE", "w"), ("COSINE", "w")):
        first, *others = getattr(vectorised, name)
        horner = repr(first)
        for c in others:
            horner = f"({horner} * {variable} + {c!r})"
        text = text.replace(f"@{name}@", horner)
    values: dict[str, object] = {
        "WEYL0": vectorised.WEYL[0],
        "WEYL1": vectorised.WEYL[1],
        "M0": int(vectorised.MULTIPLIERS[0]),
        "M1": int(vectorised.MULTIPLIERS[1]),
        "ROOT": int(vectorised.ROOT),
        "MINUS_2_LN_2": repr(vectorised.MINUS_2_LN_2),
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text


@lru_cache(maxsize=1)
def _library() -> Any:
    """The compiled library, or None."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    source = _source()
    name = hashlib.sha256(repr((source, _FLAGS, compiler, platform.machine())).encode()).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fem-deepest"
    path = cache / f"normals-{name[:16]}.so"
    try:
        if not path.exists():
            cache.mkdir(parents=True, exist_ok=True)
            # Other ranks may do the same: each compiles for itself, and the name changes hands at once.
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                (Path(folder) / "normals.c").write_text(source)
                command = [compiler, *_FLAGS, "normals.c", "-o", "normals.so", "-lm"]
                subprocess.run(
                    command, cwd=folder, check=True, capture_output=True, timeout=_SECONDS
                )
                os.replace(Path(folder) / "normals.so", path)
        library = ctypes.CDLL(str(path))
    except (OSError, RuntimeError, subprocess.SubprocessError):  # no compiler, no home, no room
        return None
    word, number, pointer = ctypes.c_uint32, ctypes.c_int64, ctypes.c_void_p
    library.fill.argtypes = [word, word, pointer, number, word, pointer, number, number, pointer]
    library.fill.restype = None
    return library
