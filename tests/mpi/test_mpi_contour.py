"""Contours on a mesh that is spread over the ranks: the histogram, the flow, and a checkpoint."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from contours import phase_field, problem
from mpi4py import MPI

import fem_deepest
from fem_deepest.annealed.schedule import Geometric
from fem_deepest.contours import synthetic
from fem_deepest.contours.flow import ContourFlow, good_step
from fem_deepest.contours.noise import normal_noise
from fem_deepest.contours.truth import Truth

CONFIG: dict[str, Any] = {
    "seed": 2,
    "image": {"name": "variance", "pixels": 20},
    "contour": {"nu": 0.05, "region": "gaussian"},
    "mesh": {"cells": 12},
    "noise": {"strength": 0.4, "length": 0.2},
    "temperature": {"start": 1e-1, "end": 1e-3},
    "time": {"steps": 10},
    "replicas": {"number": 2},
    "output": {"figures": False, "frames": 2},
}


def flown(comm: MPI.Intracomm) -> dict[str, np.ndarray]:
    """Numbers of a short flow."""
    field = phase_field(10, comm=comm)
    made = synthetic.create("discs", 24)
    energy = problem(field, made.image, nu=0.01)
    flow = ContourFlow(
        energy,
        field.start(made.start, 3),
        dt=good_step(energy),
        noise=normal_noise(field.V, "matern", strength=0.3, seed=1, length=0.3),
        schedule=Geometric(1e-2, 1e-3, 6),
        samples=range(3),
    )
    flow.advance(6)
    return {
        "levels": energy.seen.whole,
        "energies": flow.energies,
        "best": flow.best.values,
        "length": field.length(flow.U),
        "area": field.area(flow.U),
        "dice": Truth(field, made.truth).dice(flow.U),
        "bound": np.array([field.heat.bound]),
    }


def test_the_same_contours_on_any_number_of_ranks() -> None:
    many, one = flown(MPI.COMM_WORLD), flown(MPI.COMM_SELF)
    for name, values in one.items():
        assert np.abs(many[name] - values).max() < 1e-11, name


def test_a_checkpoint_of_one_rank_goes_on_on_all(tmp_path: Path) -> None:
    folder = Path(MPI.COMM_WORLD.bcast(str(tmp_path), root=0))
    whole = fem_deepest.flow(CONFIG, out=tmp_path / "whole", comm=MPI.COMM_SELF)
    if MPI.COMM_WORLD.rank == 0:
        # The checkpoint of the last step with noise: the descent is done again, by all ranks.
        shutil.copytree(tmp_path / "whole", folder / "rest")
    MPI.COMM_WORLD.barrier()
    rest = fem_deepest.flow(CONFIG, out=folder / "rest", resume=True)
    assert rest.status == whole.status
    for name, value in whole.metrics.items():
        assert abs(rest.metrics[name] - value) < 1e-9, name
    assert np.abs(rest.energies - whole.energies).max() < 1e-11
