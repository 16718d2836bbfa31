"""Ranges of samples that are asked for again and again: kept while there is room, else read ahead.

An evaluation goes through its samples in an order, the next one in the same. Of the ranges that do not fit
into memory the next one is read in a thread while the last one is used: that which followed it the time
before. Not collective.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

__all__ = ["Window"]

Pair = tuple[NDArray[Any], NDArray[Any]]
Range = tuple[int, int]

_LATEST = 2  # ranges that are at hand beside those that are kept


class Window:
    """Inputs and targets of ranges of samples.

    Args:
        read: Reads a range; called in a thread where ``concurrent``.
        memory: Bytes of all ranges together that are kept.
        concurrent: Whether a thread may read.
    """

    def __init__(self, read: Callable[[int, int], Pair], memory: int, concurrent: bool) -> None:
        self._read, self._room, self._concurrent = read, memory, concurrent
        self._kept, self._latest = dict[Range, Pair](), dict[Range, Pair]()
        self._after = dict[Range, Range]()
        self._ahead: tuple[Range, Future[Pair]] | None = None
        self._last: Range | None = None
        self._thread: ThreadPoolExecutor | None = None

    def __call__(self, first: int, last: int) -> Pair:
        """The samples ``first .. last - 1``; what is returned is not to be changed.

        Raises:
            InputError: What is wrong with them.
        """
        key = first, last
        if key != self._last:
            if self._last is not None:
                self._after[self._last] = key
            self._last = key
        pair = self._kept.get(key) or self._latest.get(key)
        if pair is None:
            ahead = self._ahead
            if ahead is not None and ahead[0] == key:
                self._ahead = None
                pair = ahead[1].result()
            else:
                pair = self._read(first, last)
            size = _bytes(pair)
            if size > self._room:
                self._forget(first, last)
            if size <= self._room:
                self._room -= size
                self._kept[key] = pair
            else:
                self._latest[key] = pair
                while len(self._latest) > _LATEST:
                    del self._latest[next(iter(self._latest))]
        self._read_after(key)
        return pair

    def _forget(self, first: int, last: int) -> None:
        """Make room for samples that are kept in ranges of another cut, as that of an earlier level."""
        for key in [k for k in self._kept if k[0] < last and first < k[1]]:
            self._room += _bytes(self._kept.pop(key))

    def _read_after(self, key: Range) -> None:
        """Begin with the range that followed this one, if it has to be read."""
        following = self._after.get(key)
        if not self._concurrent or following is None:
            return
        if self._ahead is not None and not self._ahead[1].done():
            return  # one thread; what it reads now is wanted next, or the order has changed
        if following not in self._kept and following not in self._latest:
            self._thread = self._thread or ThreadPoolExecutor(1)
            self._ahead = following, self._thread.submit(self._read, *following)


def _bytes(pair: Pair) -> int:
    return sum(values.nbytes for values in pair)
