"""Nested iteration in depth and along the index, and its checkpoints, on all ranks against one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from levels import configuration, gathered, iteration, start
from mpi4py import MPI

from fem_deepest.io import checkpoint
from fem_deepest.io.search import level_of, restore, save
from fem_deepest.solve.nested import Search

WORLD = MPI.COMM_WORLD


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all ranks share."""
    path = WORLD.bcast(tempfile.mkdtemp() if WORLD.rank == 0 else None, root=0)
    yield Path(path)
    WORLD.barrier()
    if WORLD.rank == 0:
        shutil.rmtree(path)


@pytest.mark.parametrize(("kind", "R"), [("P1", np.inf), ("P0", 5.0)], ids=["strong", "weak"])
def test_a_nested_run_is_that_of_one_rank(kind: str, R: float, folder: Path) -> None:
    """Also when it is resumed on all ranks from the checkpoint of every level.

    Parameters alone have the same bits on any number of ranks. Products of forcings are summed over the
    ranks in another order, and some tens of steps make more of that.
    """
    section = {"action": {"R_f": R, "R_0": R}} if np.isfinite(R) else {}
    neurons = [3, 6] if kind == "P0" else [4, 7]
    section["network"] = {"cells": 2, "neurons": neurons[-1]}
    section["solve"] = {"tolerance": 0.3, "levels": [2, 2], "neurons": neurons}
    config, kept = configuration(kind, **section), list[Path]()
    tolerance = 0.0 if np.isinf(R) else 1e-6

    def on_stage(search: Search, *_: object) -> None:
        kept.append(folder / f"{len(kept)}.h5")
        save(kept[-1], search, {"signature": {}}, WORLD)

    ends = []
    for comm in (WORLD, MPI.COMM_SELF):
        nest = iteration(config, comm, on_stage=on_stage if comm is WORLD else lambda *_: None)
        search = nest.begin(lambda action: start(action, config))
        nest.run(search)
        ends.append(gathered(search.u))
    np.testing.assert_allclose(ends[0], ends[1], rtol=0.0, atol=tolerance)
    for path in kept[:-1]:
        nest = iteration(config, WORLD)
        meta = checkpoint.read_meta(path)
        action = nest.action(level_of(meta))
        again = restore(path, meta, action, nest.schedule.memory, WORLD)
        nest.run(again)
        np.testing.assert_allclose(gathered(again.u), ends[1], rtol=0.0, atol=tolerance)
