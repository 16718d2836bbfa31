"""Every rank its part of the samples: parts make the whole, and no bit depends on the ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datafiles import KINDS, numbers, opened, parts, write
from mpi4py import MPI
from problems import network, network_action, random_control

from fem_deepest.action.slab.action import SlabAction
from fem_deepest.data.generated import generated
from fem_deepest.data.lines import LineIndex
from fem_deepest.data.store import write_hdf5
from fem_deepest.data.survey import survey
from fem_deepest.errors import InputError
from fem_deepest.network.loss import CrossEntropy
from fem_deepest.spaces import ProcessGrid

WORLD = MPI.COMM_WORLD
COUNT = 9001


def shared(folder: Path, kind: str, *, wrong: int = -1) -> Path:
    """A file that rank 0 has written, with a value that is none in this row."""
    place = WORLD.bcast(folder)
    if WORLD.rank == 0:
        x, y = numbers(COUNT)
        if wrong >= 0:
            x[wrong, 2] = np.inf
        write(place, kind, x, y)
    WORLD.barrier()
    return place / kind


@pytest.mark.parametrize("kind", KINDS)
def test_parts_make_the_file(tmp_path: Path, kind: str) -> None:
    source = opened(shared(tmp_path, kind), comm=WORLD)
    x, _ = numbers(COUNT)
    assert (source.samples, source.classes) == (COUNT, ("3", "7", "20"))
    own = source.read(*(COUNT * r // WORLD.size for r in (WORLD.rank, WORLD.rank + 1)))
    found = [np.concatenate(WORLD.allgather(part)) for part in own]
    np.testing.assert_array_equal(found[0], x)
    np.testing.assert_array_equal(found[1], np.array([1, 0, 2])[np.arange(COUNT) % 3])
    sums = []
    for comm in (WORLD, MPI.COMM_SELF):
        data = parts(opened(source_path(source), comm=comm), 0.3, comm)
        scaling = survey(data).inputs
        sums.append((data.checksum, scaling.mean.tolist(), scaling.scale.tolist()))
    assert sums[0] == sums[1]


def source_path(source) -> Path:
    """The file of a source."""
    return source._sheet.path if hasattr(source, "_sheet") else source.path


@pytest.mark.parametrize("row", [0, COUNT - 1])
def test_what_is_wrong_in_one_part_is_said_on_all_ranks(tmp_path: Path, row: int) -> None:
    data = parts(opened(shared(tmp_path, "plain.h5", wrong=row), comm=WORLD), comm=WORLD)
    with pytest.raises(InputError, match=f"inf in row {row + 1}, column 'x3'"):
        survey(data)
    with pytest.raises(InputError, match="there is no such file"):
        opened(Path(f"/nowhere/{'a' if WORLD.rank else 'b'}.h5"), comm=WORLD)


def test_a_generated_file_has_the_same_bytes(tmp_path: Path) -> None:
    folder = WORLD.bcast(tmp_path)
    source = generated("teacher", 5000, 2, features=20, outputs=3, kind="regression")
    write_hdf5(source, folder / "all.h5", WORLD)
    if WORLD.rank == 0:
        write_hdf5(source, folder / "one.h5", MPI.COMM_SELF)
        assert (folder / "all.h5").read_bytes() == (folder / "one.h5").read_bytes()
        x, _ = source.read(0, 5000)
        np.testing.assert_array_equal(opened(folder / "all.h5", True).read(0, 5000)[0], x)
    WORLD.barrier()
    with pytest.raises(InputError, match="exists; give --force"):
        write_hdf5(source, folder / "all.h5", WORLD)


@pytest.mark.parametrize("memory", [2**24, 2**14])
def test_action_has_the_bits_of_one_rank_with_all_samples(memory: int) -> None:
    found, options = [], {"inputs": 20, "outputs": 3, "cells": 2, "lift": "linear"}
    for comm in (WORLD, MPI.COMM_SELF):
        source = generated("teacher", 4000, 2, features=20, outputs=3)
        data = parts(source, 0.2, comm, memory)
        pair = data.inputs, data.targets
        if comm is MPI.COMM_SELF:
            pair = tuple(rows[:] for rows in pair)
        action = network_action(comm=comm, data=pair, **options)
        u, g = random_control(action, 1), action.create()
        values = [action.gradient(u, g) for _ in range(2)]
        entries = np.concatenate(WORLD.allgather(g.array)) if comm is WORLD else g.array.copy()
        found.append((values, entries))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("slabs", [1, WORLD.size])
def test_sharded_weights_take_parts_too(slabs: int) -> None:
    grid = ProcessGrid.create(WORLD, depth=slabs)
    source = generated("teacher", 700, 2, features=20, outputs=3)
    values = []
    for memory in (None, 2**24, 2**13):
        data = parts(source, 0.2, WORLD, memory or 0)
        pair = data.inputs, data.targets
        if memory is None:
            pair = tuple(rows[:] for rows in pair)
        net = network(inputs=20, outputs=3, cells=4, lift="linear")
        action = SlabAction(grid, net, CrossEntropy(), *pair, strength=0.1, chunk=64)
        u, g = action.create(), action.create()
        u.array_w[:] = 0.3 * np.sin(1.0 + action.space.numbers)
        for _ in range(2):
            value = action.gradient(u, g)
        values.append((value, g.norm()))
    assert values[0] == values[1] == values[2]


def test_a_file_of_fewer_bytes_than_ranks_is_read(tmp_path: Path) -> None:
    path = WORLD.bcast(tmp_path) / "one.csv"
    if WORLD.rank == 0:
        path.write_text("7")
    WORLD.barrier()
    index = LineIndex.find(path, 0, WORLD)
    assert (index.rows, index.lines(0, 1)) == (1, (["7"], [1]))
