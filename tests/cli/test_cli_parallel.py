"""``[parallel]``: the same training on every grid of ranks, with whole and with sharded weights."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from launch import TINY, history, record, start

import fem_deepest
from fem_deepest.cli.train_session import TrainSession
from fem_deepest.runs.train import Run

# Well posed, so that the last bits of a sum do not grow: 14 and 4 iterations on two levels and two Newton
# steps; model errors and a soft input, so that every rank has unknowns of its samples too. Newton stops
# well above where the line search sees nothing but rounding.
SETTINGS = [
    "action.lambda=0.15",
    "action.R_0=30.0",
    "action.R_f=30.0",
    "solve.tolerance=1e-3",
    "solve.polish=true",
    "solve.polish_tolerance=1e-6",
]

# Runs the command; the last rank alone gets a signal at a step, which is in the first level, or after
# so many steps of it in the second.
SIGNALLED = """\
import os, signal
from mpi4py import MPI
import fem_deepest.cli.main as command
from fem_deepest.cli.train_session import TrainSession
step, calls = TrainSession._step, [0]
def counted(self, *arguments):
    calls[0] += 1
    if calls[0] == 8 and MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return step(self, *arguments)
TrainSession._step = counted
command.main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("parallel")
    (path / "tiny.toml").write_text(TINY)
    return path


def settings_of(grid, weights, *more):
    return [*SETTINGS, f"parallel.grid={grid}", f"parallel.weights={weights}", *more]


def here(folder, name, weights, *more, **options):
    """A training in this process, on one rank."""
    settings = settings_of("1x1", weights, *more)
    return fem_deepest.train(folder / "tiny.toml", out=folder / name, settings=settings, **options)


def train(folder, name, grid, weights="sharded", *more, script=None, resume=False):
    """The command on so many ranks as the grid has."""
    ranks = np.prod([int(extent) for extent in grid.split("x")])
    words = [word for one in settings_of(grid, weights, *more) for word in ("--set", one)]
    words += ["--out", folder / name, *["--resume"] * resume]
    return start("train", folder / "tiny.toml", *words, ranks=int(ranks), script=script)


@pytest.fixture(scope="module")
def whole(folder):
    run = here(folder, "whole", "whole")
    assert run.status == "converged"
    assert [stage["iterations"] for stage in run.stages] == [14, 4, 2]
    return run


def same(one, directory):
    """The action to 1e-12 and the same iterations, all the way."""
    rows, found = history(one.directory), history(directory)
    assert len(found) == len(rows)
    for a, b in zip(rows, found, strict=True):
        for key in ("stage", "cells", "iteration", "evaluations"):
            assert a[key] == b[key]
        assert float(b["action"]) == pytest.approx(float(a["action"]), rel=1e-12)
        assert float(b["gradient"]) == pytest.approx(float(a["gradient"]), rel=1e-8)
    other = Run.load(directory)
    assert other.status == "converged"
    assert other.metrics == pytest.approx(one.metrics, rel=1e-12)
    for a, b in zip(one.stages, other.stages, strict=True):
        for key in ("iterations", "evaluations", "hessians"):
            assert a[key] == b[key]
    scale = np.abs(one.model.flat).max()
    np.testing.assert_allclose(other.model.flat, one.model.flat, rtol=0.0, atol=1e-9 * scale)


@pytest.mark.parametrize("grid", ["1x1", "1x2", "2x1", "1x3", "3x1", "2x2", "4x1"])
def test_the_result_does_not_depend_on_the_grid(folder, whole, grid):
    """On a level of two cells, three slabs are one of three ranks, and four are two of two."""
    if grid == "1x1":
        here(folder, grid, "sharded")
    else:
        ended = train(folder, grid, grid)
        assert ended.returncode == 0, ended
        assert f"grid {grid}, sharded weights" in ended.stdout
    same(whole, folder / grid)
    values = record(folder / grid)
    assert (values["grid"], values["parallel"]["weights"]) == (grid, "sharded")
    assert len([stage for stage in values["stages"] if "traffic" in stage]) == 2
    for stage in values["stages"][:2]:
        sent = stage["traffic"]
        assert (sent["messages"], sent["bytes"]) == (sent["model_messages"], sent["model_bytes"])
        assert (sent["bytes"] > 0) == (grid != "1x1")


def test_a_run_goes_on_with_other_grids_and_then_with_whole_weights(folder, whole):
    rows = [0]
    for grid, resume in (("2x1", False), ("1x3", True)):
        ended = train(folder, "moved", grid, script=SIGNALLED, resume=resume)
        assert "Interrupted; the checkpoint is in" in ended.stdout, ended
        rows.append(len(history(folder / "moved")))
        assert rows[-2] + 5 < rows[-1] < len(history(whole.directory))
    here(folder, "moved", "whole", resume=True)
    same(whole, folder / "moved")


def test_whole_weights_become_sharded(folder, whole, monkeypatch):
    step, calls = TrainSession._step, []

    def counted(self, *arguments):
        calls.append(None)
        if len(calls) == 17:  # on the second level
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *arguments)

    monkeypatch.setattr(TrainSession, "_step", counted)
    assert here(folder, "back", "whole").status == "interrupted"
    ended = train(folder, "back", "2x1", resume=True)
    assert ended.returncode == 0, ended
    same(whole, folder / "back")


@pytest.mark.parametrize("grid, weights", [("1x4", "whole"), ("1x4", "sharded")])
def test_a_rank_without_samples_does_its_part(folder, grid, weights):
    few = ["data.samples=3", "data.test_fraction=0.0", "solve.polish=false"]
    if not (folder / "few").exists():
        here(folder, "few", "whole", *few)
    ended = train(folder, f"few {weights}", grid, weights, *few)
    assert ended.returncode == 0, ended
    one, other = record(folder / "few"), record(folder / f"few {weights}")
    assert other["metrics"] == pytest.approx(one["metrics"], rel=1e-12)


@pytest.mark.parametrize(
    "settings, parts",
    [
        (["grid=2x1"], ["'2x1' is for 2 ranks, but there are 1", "mpirun -n 2"]),
        (["grid=two"], ["parallel.grid: got 'two', but it should be 'auto', or ranks in depth"]),
        (["grid=0x2"], ["parallel.grid: got 2, but it should be 'auto', or ranks in depth"]),
        (["weights=half"], ["parallel.weights"]),
    ],
)
def test_a_grid_that_cannot_be_is_refused(command, tiny, tmp_path, settings, parts):
    words = [word for setting in settings for word in ("--set", f"parallel.{setting}")]
    ended = command("train", tiny, "--out", tmp_path / "out", *words)
    assert ended.code == 2
    for part in parts:
        assert part in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "setting, part",
    [
        ("solve.method=sgd", "take 'lmvm'"),
        ("solve.adapt=move", "take 'none'"),
        ("search.steps=10", "take search.steps = 0"),
        ("network.start_readout=regression", "take 'zero'"),
    ],
)
def test_what_sharded_weights_cannot_have_is_refused(command, tiny, tmp_path, setting, part):
    words = ("--set", "parallel.weights=sharded", "--set", setting)
    ended = command("train", tiny, "--out", tmp_path / "out", *words)
    assert ended.code == 2
    assert "the weights would be sharded" in ended.err
    assert part in ended.err
    assert not (tmp_path / "out").exists()
