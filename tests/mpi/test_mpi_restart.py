"""One rank is asked to leave: all do, at the same step, and another number of ranks goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI

import fem_deepest
from fem_deepest.cli import anneal_session
from fem_deepest.cli.anneal import anneal
from fem_deepest.cli.sample import sample_posterior
from fem_deepest.io.chains import ChainFiles
from fem_deepest.io.rundir import RunDirectory

STEPS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "path": (
        fem_deepest.flow,
        {
            "mesh": {"domain": "rectangle", "cells": 4},
            "equation": {"name": "allen_cahn", "diffusion": 0.01},
            "time": {"scheme": "imex", "steps": 8},
            "output": {"figures": False, "frames": 1},
        },
    ),
    "contours": (
        fem_deepest.flow,
        {
            "image": {"name": "variance", "pixels": 12},
            "contour": {"nu": 0.05, "region": "gaussian"},
            "mesh": {"cells": 6},
            "time": {"steps": 8},
            "output": {"figures": False, "frames": 1},
        },
    ),
    "action": (
        fem_deepest.flow,
        {
            "action": {"name": "double_well", "cells": 8},
            "flow": {"step": 0.5, "steps": 100},
            "temperature": {"start": 0.3, "end": 0.003},
            "output": {"figures": False, "fields": False},
        },
    ),
    "training": (
        fem_deepest.train,
        {
            "data": {"name": "donut", "samples": 20},
            "network": {"neurons": 2, "cells": 2},
            "solve": {"iterations": 20},
            "output": {"figures": False, "fields": False},
        },
    ),
}

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF

PATHS = {
    "seed": 3,
    "data": {"components": [0, 2], "times": 7, "interval": 0.05, "noise": 0.5},
    "dynamics": {"states": 5},
    "anneal": {"paths": 2 * WORLD.size, "batch": 1, "R_f0": 0.1, "alpha": 10.0, "rungs": 4},
    "output": {"figures": False},
}
BRIDGES = {
    "bridge": {"cells": 8},
    "chains": {"chains": 2 * WORLD.size, "batch": 1, "relax": 20, "warmup": 20, "draws": 200},
    "check": {"ess": 1.0, "r_hat": 9.0},
    "output": {"figures": False},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One folder for all ranks."""
    return Path(WORLD.bcast(tmp_path, root=0))


class Told:
    """Keeps the lines that it is told."""

    def __init__(self, lines: list[str]) -> None:
        self.note = lines.append

    def step(self, progress: object) -> None:
        pass


def signalled(calls: int, before):
    """The function; in this call on the last rank alone a signal comes."""
    made = []

    def call(*arguments):
        made.append(None)
        if len(made) == calls and WORLD.rank == WORLD.size - 1:
            signal.raise_signal(signal.SIGUSR1)
        return before(*arguments)

    return call


@pytest.mark.parametrize("name", STEPS)
def test_ranks_that_step_together(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    verb, config = STEPS[name]
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append", signalled(3, RunDirectory.append))
        part = verb(config, out=folder / "part", comm=WORLD)
    assert part.status == "interrupted"
    WORLD.barrier()
    assert (folder / "part" / "checkpoint.h5").exists()
    told: list[str] = []
    rest = verb(config, out=folder / "part", resume=True, comm=WORLD, reporter=Told(told))
    assert rest.status in ("converged", "not_converged")
    assert WORLD.rank > 0 or any("resuming at" in line for line in told)


def test_annealing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = signalled(3, anneal_session.write_batch)
    with monkeypatch.context() as patch:
        patch.setattr(anneal_session, "write_batch", call)
        part = anneal(PATHS, out=folder / "part", comm=WORLD)
    assert part.status == "interrupted"
    if WORLD.rank == 0:
        whole = anneal(PATHS, out=tmp_path / "whole", comm=SELF)
        rest = anneal(PATHS, out=folder / "part", resume=True, comm=SELF)
        assert rest.status == whole.status
        np.testing.assert_array_equal(rest.record, whole.record)
    WORLD.barrier()


def test_chains(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ChainFiles, "save", signalled(2, ChainFiles.save))
        part = sample_posterior(BRIDGES, out=folder / "part", comm=WORLD)
    assert part.status == "interrupted"
    if WORLD.rank == 0:
        whole = sample_posterior(BRIDGES, out=tmp_path / "whole", comm=SELF)
        rest = sample_posterior(BRIDGES, out=folder / "part", resume=True, comm=SELF)
        assert rest.chains is not None and whole.chains is not None
        for name, values in whole.chains.values.items():
            np.testing.assert_array_equal(rest.chains.values[name], values)
    WORLD.barrier()
