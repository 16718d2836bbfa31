"""Ranks that work on their own: one is asked to leave, all do, and another number of them goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest.cli import anneal_session
from fem_deepest.cli.anneal import anneal
from fem_deepest.cli.sample import sample_posterior
from fem_deepest.io.chains import ChainFiles

WORLD, SELF = MPI.COMM_WORLD, MPI.COMM_SELF

PATHS = {
    "seed": 3,
    "data": {"components": [0, 2], "times": 6, "interval": 0.05, "noise": 0.5},
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


def signalled(calls: int, before):
    """The function; in this call on the last rank alone a signal comes."""
    made = []

    def call(*arguments):
        made.append(None)
        if len(made) == calls and WORLD.rank == WORLD.size - 1:
            signal.raise_signal(signal.SIGUSR1)
        return before(*arguments)

    return call


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
