"""Training and test part of samples that no rank has together: each sample is dealt by its number.

The samples are dealt in packs of ``1024`` in a row. The test part has ``T(k) = ceil(f k)`` of the first
``k`` samples at the end of every pack, so of all ``K`` as many as :func:`.split` takes; which of a pack
is decided by its lowest values of a hash of seed and number (Philox4x32-10, see :mod:`.philox`). So the
part and the place of a sample follow from its number alone: nothing is counted, stored or sent, and the
split is the same on any number of ranks. Both parts keep the order of the samples. It is not stratified:
the share of a class differs between the parts as it does by chance, and it is another split than that of
data in memory.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.philox import philox4x32

__all__ = ["PACK", "Deal"]

Integers = NDArray[np.int64]

PACK = 1024
_STREAM = 0x5B117001  # no noise has it


@dataclass(frozen=True)
class Deal:
    """Which samples are for training, which for testing.

    Attributes:
        samples: ``K``.
        fraction: ``f``, in [0, 1).
        seed: Below 2^32.

    Raises:
        InputError: A part without samples, or a number out of range.

    Not collective.
    """

    samples: int
    fraction: float
    seed: int

    def __post_init__(self) -> None:
        if not 0.0 <= self.fraction < 1.0:
            raise InputError(
                f"test_fraction is {self.fraction}; expected a number from 0 to below 1, such as 0.2."
            )
        if not 0 <= self.seed < 2**32:
            raise InputError(
                f"the seed is {self.seed}; expected a whole number from 0 to {2**32 - 1}."
            )
        if self.tests >= self.samples:
            raise InputError(
                f"test_fraction {self.fraction} of {self.samples} samples leaves none for training; "
                "give more samples or a smaller test_fraction."
            )

    @property
    def tests(self) -> int:
        """Size of the test part."""
        return self._tests(self.samples)

    def _tests(self, first: int) -> int:
        """``T``: test samples among the first so many."""
        return math.ceil(self.fraction * first)

    def size(self, test: bool) -> int:
        """Samples of a part."""
        return self.tests if test else self.samples - self.tests

    def _before(self, pack: int, test: bool) -> int:
        """Samples of a part in the packs before this one."""
        first = min(pack * PACK, self.samples)
        tests = self._tests(first)
        return tests if test else first - tests

    def numbers(self, test: bool, first: int, last: int) -> Integers:
        """Numbers of the samples ``first .. last - 1`` of a part, increasing.

        Args:
            test: The test part, or that for training.
            first: From 0.
            last: At most the size of the part.
        """
        if first >= last or self.fraction == 0.0:
            return np.arange(first, last, dtype=np.int64)
        packs = range(-(-self.samples // PACK))

        def before(pack: int) -> int:
            return self._before(pack, test)

        low = bisect_right(packs, first, key=before) - 1
        high = bisect_right(packs, last - 1, key=before)
        found = np.concatenate([self._of_pack(pack, test) for pack in range(low, high)])
        start = first - before(low)
        return found[start : start + last - first]

    def _of_pack(self, pack: int, test: bool) -> Integers:
        numbers = np.arange(pack * PACK, min((pack + 1) * PACK, self.samples), dtype=np.int64)
        tests = self._before(pack + 1, True) - self._before(pack, True)
        for_test = np.zeros(numbers.size, dtype=bool)
        for_test[np.argsort(self._hash(numbers), kind="stable")[:tests]] = True
        return numbers[for_test == test]

    def _hash(self, numbers: Integers) -> NDArray[np.uint64]:
        counter = np.zeros((numbers.size, 4), dtype=np.uint64)
        counter[:, 0] = numbers.astype(np.uint64) >> np.uint64(32)
        counter[:, 1] = numbers.astype(np.uint64) & np.uint64(0xFFFFFFFF)
        words = philox4x32(counter, np.array([_STREAM, self.seed], dtype=np.uint64))
        return words[:, 0].astype(np.uint64) << np.uint64(32) | words[:, 1]
