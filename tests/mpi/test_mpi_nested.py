"""Nested iteration in depth and along the index, and its checkpoints, on all ranks against one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from levels import configuration, gathered, iteration
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.io import checkpoint
from fem_deepest.io.search import level_of, restore, save
from fem_deepest.runs.start import random_start
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.solve.schedule import Search

Array = NDArray[np.float64]

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
    """Also when it is resumed on all ranks from the checkpoint of every level: then with the same bits.

    Parameters alone have the same bits on any number of ranks. Forcings are distributed, and PETSc adds
    their products in another order on other ranks: a step is then off by n eps at most, n numbers being
    added, and the steps after it make more of that. How much more is what becomes of a start that is
    off by 1e-12.
    """
    section = {"action": {"R_f": R, "R_0": R}} if np.isfinite(R) else {}
    neurons = [3, 6] if kind == "P0" else [4, 7]
    section["network"] = {"cells": 2, "neurons": neurons[-1]}
    section["solve"] = {"tolerance": 0.3, "levels": [2, 2], "neurons": neurons}
    config, kept = configuration(kind, **section), list[Path]()

    def on_stage(search: Search, *_: object) -> None:
        kept.append(folder / f"{len(kept)}.h5")
        save(kept[-1], search, {"signature": {}}, WORLD)

    def run(nest: NestedIteration, off: float = 0.0) -> tuple[Array, int]:
        """The end, and the number of steps."""

        def begin(action: NetworkAction) -> PETSc.Vec:
            u = random_start(action, config)
            u.array_w[:] += off * np.random.default_rng(0).choice([-1.0, 1.0], u.local_size)
            return u

        search = nest.begin(begin)
        stages = nest.run(search)
        return gathered(search.u), sum(stage.outcome.iterations for stage in stages)

    together, _ = run(iteration(config, WORLD, on_stage=on_stage))
    alone, steps = run(iteration(config))
    tolerance = 0.0
    if np.isfinite(R):
        growth = np.abs(run(iteration(config), off=1e-12)[0] - alone).max() / 1e-12
        tolerance = steps * alone.size * 2.0**-53 * growth * np.abs(alone).max()
        assert tolerance < 1e-6
    np.testing.assert_allclose(together, alone, rtol=0.0, atol=tolerance)
    for path in kept[:-1]:
        nest = iteration(config, WORLD)
        meta = checkpoint.read_meta(path)
        again = restore(path, meta, nest.action(level_of(meta)), nest.schedule.memory, WORLD)
        nest.run(again)
        np.testing.assert_array_equal(gathered(again.u), together)
