"""The tests that need several ranks, on 2 and on 3 of them, and a grid of 2 x 2 on 4."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(1500)  # ranks that spin wait long for a core that something else uses
@pytest.mark.parametrize(
    "ranks, tests",
    [
        (2, "tests/mpi"),
        (3, "tests/mpi"),
        (4, "tests/mpi/test_mpi_spread.py::test_samples_and_neurons_are_dealt_out_together"),
        (4, "tests/mpi/test_mpi_slab_action.py::test_action_and_derivatives_are_those_of_one_rank"),
        (4, "tests/mpi/test_mpi_slab_prior.py::test_one_factor_with_a_stiffness"),
    ],
)
def test_on_ranks(ranks: int, tests: str) -> None:
    if "OMPI_COMM_WORLD_SIZE" in os.environ or "PMI_SIZE" in os.environ:
        pytest.skip("already under mpirun")
    if shutil.which("mpirun") is None:
        pytest.skip("there is no mpirun")
    # mpi4py's own runner: an exception on one rank ends all of them.
    command = [
        "mpirun",
        "-n",
        str(ranks),
        sys.executable,
        "-m",
        "mpi4py",
        "-m",
        "pytest",
        tests,
    ]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert " passed" in done.stdout
