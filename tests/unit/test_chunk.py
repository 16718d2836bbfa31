"""The width of chunks: the time that is predicted, and what is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI
from problems import network

from fem_deepest.action.slab import chunk
from fem_deepest.action.slab.batch import Batch, chunk_count
from fem_deepest.action.slab.chunk import Costs, choose_chunk
from fem_deepest.action.slab.schedule import there_and_back
from fem_deepest.spaces import ProcessGrid
from fem_deepest.spaces.slabs import Slabs


def _makespan(chunks: int, slabs: int, there: float, back: float) -> float:
    """End of the last sweep, event by event: each begins when slab and chunk are ready."""
    todo = [there_and_back(chunks, slabs, slab) for slab in range(slabs)]
    free, done = [0.0] * slabs, dict[tuple[int, int, bool], float]()
    while any(todo):
        for slab, sweeps in enumerate(todo):
            while sweeps:
                number, returns = sweeps[0]
                before = slab + 1 if returns else slab - 1
                if returns and slab == slabs - 1:
                    needs = (slab, number, False)
                else:
                    needs = (before, number, returns)
                if 0 <= needs[0] < slabs and needs not in done:
                    break
                free[slab] = max(free[slab], done.get(needs, 0.0)) + (back if returns else there)
                done[(slab, *sweeps.pop(0))] = free[slab]
    return max(free)


@pytest.mark.parametrize("width, chunks", [(1, 24), (5, 5), (24, 1)])
@pytest.mark.parametrize("slabs", [1, 2, 5])
def test_predicted_time_is_that_of_the_schedule(width: int, chunks: int, slabs: int) -> None:
    costs = Costs([1, 10, 24], [1.0, 4.0, 8.0], node=0.5, message=(0.0, 0.0))
    assert chunk_count(24, 1, width) == chunks
    sizes = {"samples": 24, "cells": 3, "slabs": slabs, "neurons": 7}
    cell = costs.cell(width) + 0.5
    exact = _makespan(chunks, slabs, 3.0 * cell / 3.0, 3.0 * 2.0 * cell / 3.0)
    assert costs.evaluation(width, **sizes) == pytest.approx(exact, rel=1e-12)
    slow = Costs(costs.widths, costs.times, 0.5, (2.0, 1e-3))
    message = 2.0 * (2.0 + 8e-3 * 7 * width) if slabs > 1 else 0.0
    expected = exact + (chunks + slabs - 1) * message
    assert slow.evaluation(width, **sizes) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "times, node, expected",
    [
        ([1.0, 10.0], 0.0, 10),  # nothing to be gained by width; less than 6 are as dear as 6
        ([5.0, 5.0], 0.0, 60),  # a sweep costs the same for any width
        ([1.0, 10.0], 1.0, 60),  # a gather for each chunk
        ([1.0, 10.0], 0.2, 30),  # within 2 % of the widest: 10 + 0.2 C
    ],
)
def test_choice_of_the_width(
    times: list[float], node: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = Costs([6, 60], times, node, (0.0, 0.0))
    monkeypatch.setattr(Costs, "measure", lambda *_: costs)
    net, grid = network(cells=6), ProcessGrid.create(MPI.COMM_SELF)
    assert choose_chunk(net, Slabs(grid, 6), 60) == expected
    monkeypatch.setattr(chunk, "_SHARE", 0.0)
    assert choose_chunk(net, Slabs(grid, 6), 60) == 1


def test_measured_times_are_times() -> None:
    slabs = Slabs(ProcessGrid.create(MPI.COMM_SELF), 4)
    costs = Costs.measure(network(scheme_name="rk2"), slabs, 100)
    assert costs.widths == [32, 100] and min(costs.times) > 0.0
    assert costs.node == 0.0 and costs.message == (0.0, 0.0)
    assert 1 <= choose_chunk(network(), slabs, 100) <= 100


@pytest.mark.parametrize("samples, width", [(13, 4), (1, 5), (40, 1)])
def test_chunks_are_as_wide_as_asked_for(samples: int, width: int) -> None:
    slabs = Slabs(ProcessGrid.create(MPI.COMM_SELF), 4)
    inputs = np.arange(2.0 * samples).reshape(samples, 2)
    batch = Batch.deal(slabs, inputs, inputs, width)
    assert sum(batch.widths) == samples and max(batch.widths) <= width
    assert max(batch.widths) - min(batch.widths) <= 1
    parts = [batch.columns(inputs, c) for c in range(len(batch.widths))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), inputs.T)
