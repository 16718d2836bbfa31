"""Between two stages all ranks save or none does, whatever the clocks of their hosts say."""

from __future__ import annotations

from types import SimpleNamespace

from mpi4py import MPI

import fem_deepest
from fem_deepest.cli import train_session

WORLD = MPI.COMM_WORLD
CONFIG = {
    "data": {"name": "spiral", "samples": 20},
    "network": {"neurons": 3, "cells": 4},
    "solve": {"levels": [2, 4], "iterations": 2},
    "output": {"figures": False, "fields": False},
}


def test_ranks_whose_clocks_differ_save_together(tmp_path, monkeypatch):
    calls = iter(range(10**6))
    # The clock of the last rank goes faster by minutes at each look.
    step = 100.0 if WORLD.rank == WORLD.size - 1 else 0.0
    clock = SimpleNamespace(monotonic=lambda: step * next(calls))
    monkeypatch.setattr(train_session, "time", clock)
    saved = list[int]()
    save = train_session.TrainSession._save

    def count(session, search):
        saved.append(search.stage)
        save(session, search)

    monkeypatch.setattr(train_session.TrainSession, "_save", count)
    path = WORLD.bcast(tmp_path / "run", root=0)
    # Not every so many minutes either: those are by the clock of rank 0 already.
    run = fem_deepest.train(CONFIG, out=path, settings=["output.checkpoint_minutes=1e6"])
    assert len(run.stages) == 2
    assert WORLD.allgather(saved) == [saved] * WORLD.size
