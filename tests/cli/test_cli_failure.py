"""What fails on one rank alone ends all ranks, with its message and its exit code."""

from __future__ import annotations

import time

import pytest
from launch import TINY, record, start

# Runs the command; the last rank fails alone in one call of a function.
FAILING = """\
import sys
from importlib import import_module
from mpi4py import MPI
import fem_deepest._ranks as ranks
import fem_deepest.cli.main as command
from fem_deepest.errors import InputError, NumericalFailure
ranks.GRACE = 1.0
module, owner, name, call, kind = sys.argv[1:6]
sys.argv[1:6] = []
place = import_module(module)
place = getattr(place, owner) if owner else place
function, calls = getattr(place, name), [0]
def failing(*arguments, **named):
    calls[0] += 1
    if calls[0] == int(call) and MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1:
        raise {
            "input": InputError, "os": OSError, "memory": MemoryError, "number": NumericalFailure
        }[kind]("injected")
    return function(*arguments, **named)
setattr(place, name, failing)
command.main()
"""

SWEEP = "fem_deepest.action.network.tiles", "Tiles", "gradient", 30
SLAB = "fem_deepest.network.flow", "Flow", "adjoint", 40
READING = "fem_deepest.data", "", "load", 1
WRITING = "fem_deepest.io.checkpoint", "", "write", 3


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("failure") / "tiny.toml"
    path.write_text(TINY + "checkpoint_minutes = 0\n")
    return path


@pytest.mark.parametrize(
    "ranks, place, kind, code",
    [
        (2, SWEEP, "memory", 1),
        (3, SWEEP, "input", 2),
        (3, READING, "input", 2),
        (2, WRITING, "os", 1),
    ],
)
def test_a_failure_of_the_last_rank_ends_all(config, tmp_path, ranks, place, kind, code):
    words = (*map(str, place), kind, "train", config, "--out", tmp_path / "out")
    begun = time.monotonic()
    ended = start(*words, script=FAILING, ranks=ranks)
    assert time.monotonic() - begun < 60.0  # 3 s of an idle machine, and no wait for ever
    assert ended.returncode == code, ended
    assert f"rank {ranks - 1} of {ranks} failed alone: " in ended.stderr
    name = {"memory": "MemoryError: injected", "os": "OSError: injected"}.get(kind)
    assert ended.stderr.count(name or "fem-deepest: injected") == 1, ended


@pytest.mark.parametrize("ranks, kind, code", [(3, "memory", 1), (2, "number", 4)])
def test_a_failure_in_a_slab_ends_all(config, tmp_path, ranks, kind, code):
    """What is no finite number is known to all ranks at the end of the sweeps; the run is written."""
    words = ("train", config, "--out", tmp_path / "out", "--set", f"parallel.grid={ranks}x1")
    ended = start(*map(str, SLAB), kind, *words, script=FAILING, ranks=ranks)
    assert ended.returncode == code, ended
    if kind == "memory":
        assert f"rank {ranks - 1} of {ranks} failed alone: " in ended.stderr
        assert ended.stderr.count("MemoryError: injected") == 1
    else:
        assert "Numerical failure: injected. The last good iterate is kept." in ended.stdout
        assert record(tmp_path / "out")["status"] == "failed"


def test_ranks_that_find_different_faults_all_say_theirs():
    script = """\
from mpi4py import MPI
from fem_deepest._ranks import Ending
rank = MPI.COMM_WORLD.rank
raise SystemExit(Ending(MPI.COMM_WORLD)(2 + rank, f"fault {rank // 2}"))
"""
    ended = start(script=script, ranks=3)
    assert ended.returncode != 0
    assert [line for line in ended.stderr.splitlines() if "fault" in line] == [
        "rank 0, 1: fault 0",
        "rank 2: fault 1",
    ]


def test_a_script_that_fails_on_one_rank_ends_on_all():
    script = """\
import fem_deepest
from mpi4py import MPI
if MPI.COMM_WORLD.rank == 1:
    raise fem_deepest.InputError("injected")
MPI.COMM_WORLD.Barrier()
"""
    ended = start(script=script, ranks=2)
    assert ended.returncode == 2, ended
    assert ended.stderr.count("rank 1 of 2: Traceback") == 1
    assert ended.stderr.count("InputError: injected") == 1
