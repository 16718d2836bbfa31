"""Unknowns dealt out in slabs: every one of them on one rank of any grid, played in one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from problems import network, network_action

from fem_deepest.action.network.numbering import Numbering
from fem_deepest.errors import InputError
from fem_deepest.spaces import ProcessGrid, Shapes, Slabs, SlabSpace


class _Rank:
    """A communicator that is never used for messages."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


def _grids(slabs: int, width: int) -> list[ProcessGrid]:
    """The grid as each of its ranks sees it."""
    make: Any = _Rank
    return [
        ProcessGrid(make(0, 1), make(r, width), (slabs, width), depth=make(s, slabs))
        for s in range(slabs)
        for r in range(width)
    ]


def test_a_slab_has_its_cells_with_their_left_nodes() -> None:
    parts = [Slabs(grid, 7) for grid in _grids(3, 1)]
    assert [list(part.cells) for part in parts] == [[0, 1], [2, 3], [4, 5, 6]]
    assert [list(part.nodes) for part in parts] == [[0, 1], [2, 3], [4, 5, 6, 7]]
    assert [(part.first, part.last) for part in parts] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    assert all(part.node_edges == [0, 2, 4, 8] for part in parts)


def test_rows_are_dealt_out_evenly() -> None:
    parts = [Slabs(grid, 1).share(5) for grid in _grids(1, 3)]
    assert parts == [range(1), range(1, 3), range(3, 5)]
    assert [len(Slabs(grid, 1).share(2)) for grid in _grids(1, 3)] == [0, 1, 1]


@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("grid", [(1, 1), (1, 3), (3, 1), (2, 2), (3, 5)])
def test_numbers_are_those_of_one_rank(grid: tuple[int, int], forced: bool, initial: bool) -> None:
    """700 samples: in blocks of 116 or 117 on one rank. Every entry is the number of its own place."""
    options = {"R_f": 5.0 if forced else np.inf, "R_0": 4.0 if initial else np.inf}
    action = network_action(lift="linear", cells=4, neurons=4, count=700, **options)
    whole = action.space
    places = np.arange(whole.local_size, dtype=float)
    p = whole.parameters(places)
    tiles = [whole.forcing(places, tile) for tile in range(len(whole.tiles))]
    xi_0, xi = (np.concatenate(parts, axis=-1) for parts in zip(*tiles, strict=True))
    found = []
    for part in _grids(*grid):
        space = SlabSpace(part, action.network.shapes, 700, 3, initial=initial, forced=forced)
        own = space.numbers.astype(float)
        assert own.size == space.local_size
        q, slabs = space.parameters(own), space.slabs
        rows = slice(space.rows.start, space.rows.stop)
        np.testing.assert_array_equal(q.theta, p.theta[list(slabs.nodes), rows])
        np.testing.assert_array_equal(q.readout, p.readout[list(space.readout_rows)])
        np.testing.assert_array_equal(q.lift, p.lift[list(space.lift_rows)])
        first = space.samples.start
        for chunk, width in enumerate(space.tiles):
            a_0, a = space.forcing(own, chunk)
            samples = slice(first, first + width)
            np.testing.assert_array_equal(a_0, xi_0[: len(a_0), samples])
            np.testing.assert_array_equal(a, xi[space.cells.start : space.cells.stop, :, samples])
            first += width
        assert first == space.samples.stop
        assert max(space.tiles) - min(space.tiles) <= 1
        found.append(own)
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), places)


def test_the_common_order_and_back() -> None:
    space = SlabSpace(
        ProcessGrid.create(MPI.COMM_SELF), network().shapes, 20, 3, initial=True, forced=True
    )
    numbering = Numbering(space.create(), space.numbers)
    u = space.create()
    u.array[...] = np.random.default_rng(0).standard_normal(u.getSize())
    v = numbering.common(u)
    assert not np.array_equal(v.array_r, u.array_r)  # the tiles are others
    np.testing.assert_array_equal(v.array_r[space.numbers], u.array_r)
    np.testing.assert_array_equal(numbering.control(v).array_r, u.array_r)


def test_what_cannot_be_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = Shapes((3, 4, 5), (0, 5), (4, 0))
    with pytest.raises(InputError, match="3 slabs were asked for of a depth of 2 cells"):
        SlabSpace(_grids(3, 1)[0], shapes, 5, 1, initial=False, forced=False)
    make: Any = _Rank
    grid = ProcessGrid(make(0, 2), make(0, 1), (2, 1), index=make(0, 2))
    with pytest.raises(InputError, match="neuron index in 2 parts"):
        Slabs(grid, 4)
    monkeypatch.setattr("fem_deepest.spaces.slab_space._MOST", 60 + 5 * 4 * 3)
    assert SlabSpace(_grids(2, 1)[0], shapes, 5, 1, initial=True, forced=True).has_forcings
    with pytest.raises(InputError, match=r"a network of 121 unknowns .* end at 120"):
        SlabSpace(_grids(2, 1)[0], shapes._replace(readout=(1, 1)), 5, 1, initial=True, forced=True)
