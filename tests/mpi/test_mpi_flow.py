"""One path on any number of ranks, and a checkpoint that another number of ranks goes on from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

import fem_deepest
from fem_deepest._petsc import PETSc
from fem_deepest.io.frames import read_frames

CONFIG: dict[str, Any] = {
    "seed": 3,
    "mesh": {"domain": "rectangle", "cells": 6, "degree": 2},
    "equation": {"name": "allen_cahn", "diffusion": 0.01},
    "noise": {"covariance": "matern", "strength": 0.3, "length": 0.3},
    "time": {"scheme": "imex", "T": 1.0, "steps": 8},
    "output": {"figures": False, "frames": 4},
}
NAMES = ("mean", "norm", "energy", "min", "max")


def shared(tmp_path: Path) -> Path:
    """The folder of rank 0, on all ranks."""
    return Path(MPI.COMM_WORLD.bcast(str(tmp_path), root=0))


def test_the_same_path_on_any_number_of_ranks(tmp_path: Path) -> None:
    folder = shared(tmp_path)
    many = fem_deepest.flow(CONFIG, out=folder / "many")
    one = fem_deepest.flow(CONFIG, out=tmp_path / "one", comm=MPI.COMM_SELF)
    for name in NAMES:
        assert abs(many.metrics[name] - one.metrics[name]) < 1e-11, name
    last = [read_frames(path / "fields")[-1] for path in (folder / "many", tmp_path / "one")]
    values = [f.values[np.lexsort(np.round(f.points.T[:2], 9))] for f in last]
    assert np.abs(values[0] - values[1]).max() < 1e-11


def test_a_checkpoint_of_one_rank_goes_on_on_all(tmp_path: Path) -> None:
    folder = shared(tmp_path)
    options = PETSc.Options()
    options["ts_max_steps"] = 3
    try:
        part = fem_deepest.flow(CONFIG, out=tmp_path / "part", comm=MPI.COMM_SELF)
    finally:
        options.delValue("ts_max_steps")
    assert part.status == "interrupted"
    if MPI.COMM_WORLD.rank == 0:
        shutil.copytree(tmp_path / "part", folder / "rest")
    MPI.COMM_WORLD.barrier()
    rest = fem_deepest.flow(CONFIG, out=folder / "rest", resume=True)
    whole = fem_deepest.flow(CONFIG, out=tmp_path / "whole", comm=MPI.COMM_SELF)
    assert rest.status == "converged"
    for name in NAMES:
        assert abs(rest.metrics[name] - whole.metrics[name]) < 1e-11, name
