"""Trainings on levels with more and more depth cells and neurons, that several tests share."""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

import fem_deepest
from fem_deepest._petsc import PETSc
from fem_deepest.configuration.train import Config
from fem_deepest.runs.problem import Problem, make_schedule
from fem_deepest.runs.train import load_data
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.solve.schedule import Schedule
from fem_deepest.spaces import ProcessGrid

INDEX: dict[str, dict[str, Any]] = {
    "P0": {"index": "interval", "neurons": 12},
    "P1": {"index": "interval", "element": "P1", "mass": "consistent", "neurons": 13},
    "rectangle": {"index": "rectangle", "mass": "consistent", "shape": [3, 5], "lift": "linear"},
    "channels": {"index": "interval", "element": "P1", "channels": 2, "neurons": 10},
}
NEURONS: dict[str, list[Any]] = {
    "P0": [3, 6, 12],
    "P1": [4, 7, 13],
    "rectangle": [[2, 3], [3, 5]],
    "channels": [4, 6, 10],
}


def configuration(kind: str, *, nested: bool = True, **sections: Any) -> Config:
    """A small training on a neuron index of :data:`INDEX`, through the levels of :data:`NEURONS`."""
    values: dict[str, dict[str, Any]] = {
        "data": {"name": "donut", "samples": 25},
        "network": {"cells": 4, "lift": "linear", "scheme": "rk2", "grading": 1.5} | INDEX[kind],
        "action": {"lambda": 1e-2, "ell": 0.3 if kind != "P0" else 0.0},
        "solve": {"tolerance": 1e-2, "levels": [2, 4]},
    }
    values["solve"] |= {"neurons": NEURONS[kind]} if nested else {"levels": [4]}
    for name, section in sections.items():
        values[name] |= section
    return fem_deepest.load(values)


def iteration(
    config: Config,
    comm: MPI.Intracomm = MPI.COMM_SELF,
    schedule: Schedule | None = None,
    **more: Any,
) -> NestedIteration:
    """The nested iteration of a configuration."""
    problem, grid = Problem.create(config, *load_data(config)), ProcessGrid.create(comm)
    return NestedIteration(
        lambda level: problem.action(level, grid), schedule or make_schedule(config), **more
    )


def gathered(v: PETSc.Vec) -> np.ndarray:
    """All entries in the order of the numbering, on every rank."""
    return np.concatenate(v.comm.tompi4py().allgather(v.array_r.copy()))
