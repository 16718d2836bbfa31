"""Start the command in a process of its own, and read what a run leaves behind."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMOS = ROOT / "demos"

# A second on one core: 32 samples, 4 neurons, 2 and 4 depth cells, some 160 iterations.
TINY = """\
seed = 1
[data]
name = "donut"
samples = 40
[network]
neurons = 4
cells = 4
[action]
lambda = 1e-3
[solve]
tolerance = 1e-2
[output]
figures = false
fields = false
"""

# Runs the command and sends a signal to one rank at one gradient; arguments: signal, rank, call,
# then those of the command.
SIGNALLED = """\
import os, sys
from mpi4py import MPI
number, rank, call = map(int, sys.argv[1:4])
sys.argv[1:4] = []
import fem_deepest.cli.main as command
from fem_deepest.action.network.action import NetworkAction
gradient, calls = NetworkAction.gradient, [0]
def counted(self, u, g):
    calls[0] += 1
    if calls[0] == call and MPI.COMM_WORLD.rank == rank:
        os.kill(os.getpid(), number)
    return gradient(self, u, g)
NetworkAction.gradient = counted
command.main()
"""


def terminated(module: str, owner: str, method: str, call: int) -> str:
    """Script: the command, which sends SIGTERM to itself in this call of a method."""
    return f"""\
import os, signal
import fem_deepest.cli.main as command
from {module} import {owner}
{method}, calls = {owner}.{method}, [0]
def counted(self, *arguments, **named):
    calls[0] += 1
    if calls[0] == {call}:
        os.kill(os.getpid(), signal.SIGTERM)
    return {method}(self, *arguments, **named)
{owner}.{method} = counted
command.main()
"""


def environment(**changes: str) -> dict[str, str]:
    """The environment without what this process's own MPI has put into it."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PMIX_", "PMI_", "OMPI_COMM_", "OMPI_UNIVERSE", "OMPI_APP", "HYDRA"))
    }
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    kept.setdefault("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
    kept.setdefault("OMPI_MCA_rmaps_base_oversubscribe", "1")
    kept.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")
    kept.setdefault("OPENBLAS_NUM_THREADS", "1")
    return kept | changes


def start(
    *words: str | Path, ranks: int = 0, script: str | None = None, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run the command (or a script) with these words; with ``ranks``, under mpirun."""
    program = [sys.executable, *(["-m", "fem_deepest"] if script is None else ["-c", script])]
    launcher = []
    if ranks:
        mpirun = shutil.which("mpirun")
        if mpirun is None:
            pytest.skip("mpirun is missing")
        launcher = [mpirun, "-n", str(ranks)]
    return subprocess.run(
        [*launcher, *program, *map(str, words)],
        env=environment(**changes),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
    )


def record(directory: Path) -> dict[str, Any]:
    """Contents of run.json."""
    return dict(json.loads((directory / "run.json").read_text()))


def history(directory: Path) -> list[dict[str, str]]:
    """Rows of history.csv."""
    with (directory / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def timeless(directory: Path) -> list[dict[str, str]]:
    """Rows of history.csv without their wall time."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history(directory)]


def contents(directory: Path) -> dict[str, bytes]:
    """Every file under a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
