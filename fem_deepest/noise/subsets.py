"""Random subsets of ``0, ..., K - 1`` from the counter-based generator: batches of stochastic gradients.

The subset of a step is a simple random sample, drawn without replacement, independently of those of
other steps: the first ``B`` different ones in a sequence of independent uniform numbers,

    floor(K u_0), floor(K u_1), ...,     u_2c, u_2c+1  of 53 bits from the counter (c, step, number)

under the key (stream, seed); for ``B > K/2`` these are the ones that are left out. So it takes time
proportional to ``B``, it is there at once for any step, and it is the same on every rank. A number
comes up more often than another by at most ``K 2^-53``. See :mod:`fem_deepest.noise.philox`.

Nothing here is collective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.philox import SAMPLES, SEEDS, STEPS, STREAMS, philox4x32

Indices = NDArray[np.int64]

STREAM = STREAMS - 1  # that no noise of a run uses
_AHEAD = 64  # steps whose subsets are drawn together: NumPy takes 0.2 ms for the first one,
_ENTRIES = 2**16  # unless they would have more entries than this,
_KEPT = 2**22  # or those of all runs more than this
_RUNS = 4096  # whose subsets are kept
_NONE: Indices = np.empty((0, 0), dtype=np.int64)


class Subsets:
    """Subsets of one size, one for each step.

    Args:
        seed: Seed of the run, below 2^32.
        total: ``K``.
        size: ``B``, from 1 to ``K``.

    Raises:
        InputError: A number is out of its range.
    """

    def __init__(self, seed: int, total: int, size: int) -> None:
        _check("seed", seed, SEEDS)
        if not 1 <= size <= total:
            raise InputError(
                f"a batch of {size} out of {total} samples; take at least one, and no more than "
                "there are"
            )
        self.seed, self.total, self.size = seed, total, size
        self._drawn: dict[int, tuple[int, Indices]] = {}

    def __call__(self, step: int, number: int = 0) -> Indices:
        """The subset of a step, (B,), increasing; do not change it.

        Args:
            step: Number of the step, below 2^32.
            number: Number of the run among independent ones of the same seed, below 2^24.

        Raises:
            InputError: A number is out of its range.
        """
        begin, drawn = self._drawn.get(number, (0, _NONE))
        if not 0 <= step - begin < len(drawn):
            _check("step", step, STEPS)
            _check("number", number, SAMPLES)
            entries = min(_ENTRIES, _KEPT // (len(self._drawn) + 1))
            ahead = min(max(entries // self.size, 1), _AHEAD)
            begin, drawn = step, self._draw(range(step, min(step + ahead, STEPS)), number)
            if number not in self._drawn and len(self._drawn) == _RUNS:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[number] = begin, drawn
        return drawn[step - begin]

    def _draw(self, steps: range, number: int) -> Indices:
        """The subsets of these steps, (steps, B)."""
        left, rows = self.total - self.size, len(steps)
        if left >= self.size:
            return np.sort(self._first(steps, number, self.size), axis=1)
        kept = np.ones((rows, self.total), dtype=bool)
        np.put_along_axis(kept, self._first(steps, number, left), False, axis=1)
        return np.nonzero(kept)[1].reshape(rows, self.size)

    def _first(self, steps: range, number: int, count: int) -> Indices:
        """The first ``count`` different numbers of the sequences of these steps, (steps, count)."""
        # K log(K / (K - count)) are needed on average, at most 1.39 count.
        length = 2 * (count + 8)
        while True:
            candidates = self._sequence(steps, number, length)
            order = np.argsort(candidates, axis=1, kind="stable")
            ordered = np.take_along_axis(candidates, order, axis=1)
            again = np.zeros(candidates.shape, dtype=bool)
            again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
            new = np.empty_like(again)
            np.put_along_axis(new, order, ~again, axis=1)
            rank = np.cumsum(new, axis=1)
            if rank[:, -1].min() >= count:
                return candidates[new & (rank <= count)].reshape(len(steps), count)
            length *= 2

    def _sequence(self, steps: range, number: int, length: int) -> Indices:
        """The first ``length`` (even) numbers of the sequences of these steps, (steps, length)."""
        counter = np.zeros((len(steps), length // 2, 4), dtype=np.uint64)
        counter[..., 1] = np.arange(length // 2)
        counter[..., 2] = np.array(steps)[:, None]
        counter[..., 3] = number << 8
        words = philox4x32(counter, [STREAM, self.seed]).astype(np.uint64)
        bits = (words[..., 0::2] << np.uint64(32) | words[..., 1::2]) >> np.uint64(11)
        return (self.total * (bits.reshape(len(steps), length) * 2.0**-53)).astype(np.int64)


def _check(name: str, value: int, end: int) -> None:
    if not 0 <= value < end:
        raise InputError(
            f"the {name} of a batch is {value}, expected a whole number from 0 and below {end}"
        )
