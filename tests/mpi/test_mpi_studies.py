"""Studies on several ranks: all work on each point, one writes, all have the same values."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.studies.named import load_study
from fem_deepest.studies.points import Points
from fem_deepest.studies.study import compute

WORLD = MPI.COMM_WORLD


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that all ranks share."""
    path = WORLD.bcast(tempfile.mkdtemp() if WORLD.rank == 0 else None, root=0)
    yield Path(path)
    WORLD.barrier()
    if WORLD.rank == 0:
        shutil.rmtree(path)


def test_a_point_is_computed_by_all_or_by_none(folder) -> None:
    calls = []

    def sum_of_ranks() -> dict[str, float]:
        calls.append(WORLD.rank)
        return {"sum": WORLD.allreduce(WORLD.rank + 1.0)}

    points = Points(folder / "points", WORLD)
    first = points.get({"x": 1}, sum_of_ranks)
    second = points.get({"x": 1}, sum_of_ranks)
    assert calls == [WORLD.rank]
    assert (first.fresh, second.fresh) == (True, False)
    assert first["sum"] == second["sum"] == WORLD.size * (WORLD.size + 1) / 2
    assert len(set(WORLD.allgather(first.seconds))) == 1


def test_a_point_that_cannot_be_kept_is_told_on_all_ranks(folder) -> None:
    if WORLD.rank == 0:
        (folder / "points").write_text("a file")
    WORLD.barrier()
    with pytest.raises(InputError, match="cannot keep a point"):
        Points(folder / "points", WORLD).get({"x": 1}, lambda: {"y": 1.0})


def test_a_network_study_is_that_of_one_rank(folder) -> None:
    study = load_study(
        {
            "study": {"name": "neurons", "values": [2, 4], "reference": 2},
            "network": {"cells": 2, "depth": 1.0},
        }
    )
    many = compute(study, Points(folder / "many", WORLD))
    one = compute(study, Points(folder / f"one{WORLD.rank}", MPI.COMM_SELF))
    for a, b in zip(many, one, strict=True):
        assert a.converged
        # Sums over samples have the same bits on any number of ranks.
        np.testing.assert_array_equal(a.values["parameters"], b.values["parameters"])


def test_runs_of_stochastic_descent_are_those_of_one_rank(folder) -> None:
    study = load_study(
        {
            "study": {"name": "sgd_strong", "values": [4, 8], "nu": [0.5]},
            "quadratic": {"runs": 700},
            "sgd": {"runs": 12},
        }
    )
    many = compute(study, Points(folder / "many", WORLD))
    one = compute(study, Points(folder / f"one{WORLD.rank}", MPI.COMM_SELF))
    for a, b in zip(many, one, strict=True):
        np.testing.assert_array_equal(a.values["errors"], b.values["errors"])
        assert len(a.values["errors"]) == (700 if a.parameters["problem"] == "quadratic" else 12)


@pytest.mark.parametrize(
    "sections",
    [
        {
            "study": {
                "name": "compare_wells",
                "budget": 60,
                "seeds": 7,
                "part": 5,
                "batch": 2,
                "arms": ["multistart", "noise"],
            },
            "problem": {"cells": 2},
        },
        {
            "study": {"name": "escape", "values": [3.0, 4.0], "samples": 5, "batch": 2},
            "problem": {"cells": 2, "step": 0.3},
        },
    ],
    ids=["comparison", "escape"],
)
def test_seeds_and_paths_are_those_of_one_rank(folder, sections) -> None:
    """Batches are dealt out, and there may be fewer of them than ranks."""
    study = load_study(sections)
    many = compute(study, Points(folder / "many", WORLD))
    one = compute(study, Points(folder / f"one{WORLD.rank}", MPI.COMM_SELF))
    for a, b in zip(many, one, strict=True):
        assert a.values.keys() == b.values.keys()
        for name, values in a.values.items():
            np.testing.assert_array_equal(values, b.values[name])
