"""Chunks of samples that go through the slabs of the depth in turn, there and back.

Every slab sweeps a chunk through its cells and sends it on, states and their tangents towards the output,
costates and their derivatives towards the input, see :mod:`.schedule` for the order. Messages do not
block: the next chunk and the weights of the next cell come while a cell computes.

What fails on one rank must not leave others waiting. A chunk that has failed goes on as numbers that are
none, which nothing is computed with; all ranks learn of it at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.slab.line import Line
from fem_deepest.action.slab.reductions import Reductions
from fem_deepest.action.slab.schedule import Sweep, there, there_and_back
from fem_deepest.action.slab.traffic import Traffic
from fem_deepest.errors import NumericalFailure
from fem_deepest.spaces.slabs import Slabs

Array = NDArray[np.float64]

_DOWN, _UP = 33, 34  # tags of states and of costates


class Work(Protocol):
    """What is done with a chunk; ``fields`` (fields, N, k) go through the cells in place.

    Attributes:
        down: Number of fields towards the output.
        up: Number of fields towards the input.
    """

    down: int
    up: int

    def next(self) -> None:
        """Have the weights of the next cell at hand. Collective on the data ranks of the slab."""

    def enter(self, chunk: int, fields: Array) -> None:
        """Fields at the input, in the first slab."""

    def cell(self, chunk: int, fields: Array, cell: int) -> None:
        """Through a cell of the slab."""

    def leave(self, chunk: int, fields: Array) -> None:
        """The fields are at the output, in the last slab."""

    def turn(self, chunk: int, fields: Array) -> None:
        """Fields at the output on the way back, in the last slab."""

    def cell_back(
        self, chunk: int, fields: Array, cell: int, gradient: Sequence[Array], fresh: bool
    ) -> None:
        """Back through a cell; its gradient is added, or written over what there is."""

    def exit(self, chunk: int, fields: Array) -> None:
        """The fields are back at the input, in the first slab."""


class Pipeline:
    """The way of the chunks on this rank.

    Args:
        slabs: How the network is dealt out.
        neurons: ``N``.
        widths: Numbers of samples of the chunks.
        traffic: Counts what is sent.

    Attributes:
        failure: What failed on this rank, or nothing.
        dead: Chunks that have failed here or before.

    Collective on the grid: every method.
    """

    def __init__(self, slabs: Slabs, neurons: int, widths: list[int], traffic: Traffic) -> None:
        self._slabs, self._depth = slabs, slabs.grid.depth
        self._neurons, self._widths, self._traffic = neurons, widths, traffic
        self._cells = range(len(slabs.cells))
        self._lines: dict[tuple[int, int], Line] = {}
        self.failure, self.dead = "", set[int]()

    def sweeps(self, returns: bool) -> list[Sweep]:
        """The sweeps of this slab in order, there or there and back. Not collective."""
        chunks = len(self._widths)
        if not returns:
            return there(chunks)
        return there_and_back(chunks, self._depth.size, self._depth.rank)

    def run(self, work: Work, reductions: Reductions | None) -> None:
        """Send all chunks through.

        Args:
            work: What is done with them.
            reductions: Takes the gradients; without it there is no way back.
        """
        self.failure, self.dead = "", set[int]()
        for chunk, back in self.sweeps(reductions is not None):
            if back and reductions is not None:
                self._back(chunk, work, reductions)
            else:
                self._there(chunk, work)
        for line in self._lines.values():
            line.end()

    def _there(self, chunk: int, work: Work) -> None:
        line = self._line(_DOWN, work.down)
        fields = line.arrive(chunk)
        if self._slabs.first:
            self._guard(work.enter, chunk, fields)
        else:
            self._look(chunk, fields)
        for cell in self._cells:
            work.next()
            self._guard(work.cell, chunk, fields, cell)
            self._poke()
        if self._slabs.last:
            self._guard(work.leave, chunk, fields)
        self._send(line, chunk, fields)

    def _back(self, chunk: int, work: Work, reductions: Reductions) -> None:
        line = self._line(_UP, work.up)
        fields = line.arrive(chunk)
        if self._slabs.last:
            self._guard(work.turn, chunk, fields)
        else:
            self._look(chunk, fields)
        for cell in reversed(self._cells):
            work.next()
            gradient, fresh = reductions.target(cell)
            done = self._guard(work.cell_back, chunk, fields, cell, gradient, fresh)
            if fresh and not done:
                for one in gradient:
                    one[...] = 0.0
            reductions.done(cell)
            self._poke()
        if self._slabs.first:
            self._guard(work.exit, chunk, fields)
        self._send(line, chunk, fields)

    def _guard(self, call: Callable[..., None], chunk: int, *arguments: object) -> bool:
        """Do what there is to do with a chunk, if it has samples and has not failed."""
        if not self._widths[chunk] or chunk in self.dead:
            return False
        try:
            call(chunk, *arguments)
        except NumericalFailure as error:
            self.failure = self.failure or str(error)
            self.dead.add(chunk)
            return False
        return True

    def _look(self, chunk: int, fields: Array) -> None:
        """Whether the chunk has failed before it came here."""
        if fields.size and np.isnan(fields[0, 0, 0]):
            self.dead.add(chunk)

    def _send(self, line: Line, chunk: int, fields: Array) -> None:
        if chunk in self.dead:
            fields[...] = np.nan
        line.leave(chunk)

    def _poke(self) -> None:
        for line in self._lines.values():
            line.poke()

    def _line(self, tag: int, fields: int) -> Line:
        if (tag, fields) not in self._lines:
            rank = self._depth.rank
            before = None if self._slabs.first else rank - 1
            after = None if self._slabs.last else rank + 1
            self._lines[tag, fields] = Line(
                self._depth,
                *((before, after) if tag == _DOWN else (after, before)),
                tag,
                fields=fields,
                neurons=self._neurons,
                widths=self._widths,
                traffic=self._traffic,
            )
        return self._lines[tag, fields]
