"""``[parallel]``: the same training on every grid of ranks, with whole and with sharded weights."""

from __future__ import annotations

import numpy as np
import pytest
from launch import TINY, history, record, start

from fem_deepest.runs.train import Run

# Well posed, so that the last bits of a sum do not grow: some thirty iterations of two levels, two
# Newton steps; model errors and a soft input, so that every rank has unknowns of its samples too.
STRONG = ["action.lambda=1e-1", "action.R_0=10.0", "action.R_f=30.0", "solve.polish=true"]
SAME = [word for setting in STRONG for word in ("--set", setting)]

SIGNALLED = """\
import os, signal, sys
from mpi4py import MPI
import fem_deepest.cli.main as command
from fem_deepest.cli.train_session import TrainSession
step, calls = TrainSession._step, [0]
def counted(self, *arguments):
    calls[0] += 1
    if calls[0] == 12 and MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1:
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


def train(folder, name, grid, weights="sharded", *more, script=None):
    """The command on so many ranks as the grid has."""
    a, b = map(int, grid.split("x"))
    words = ["train", folder / "tiny.toml", "--out", folder / name, *SAME, *more]
    words += ["--set", f"parallel.grid={grid}", "--set", f"parallel.weights={weights}"]
    return start(*words, ranks=a * b if a * b > 1 else 0, script=script)


@pytest.fixture(scope="module")
def whole(folder):
    ended = train(folder, "whole", "1x1", "whole")
    assert ended.returncode == 0, ended
    return folder / "whole"


def same(one, other):
    """The action to 1e-12 and the same iterations, all the way."""
    assert len(history(one)) == len(history(other)) > 20
    for a, b in zip(history(one), history(other), strict=True):
        for key in ("stage", "cells", "iteration", "evaluations"):
            assert a[key] == b[key]
        assert float(b["action"]) == pytest.approx(float(a["action"]), rel=1e-12)
    one, other = Run.load(one), Run.load(other)
    assert other.metrics == pytest.approx(one.metrics, rel=1e-12)
    for a, b in zip(one.stages, other.stages, strict=True):
        assert (a["iterations"], a["evaluations"], a["hessians"]) == (
            b["iterations"],
            b["evaluations"],
            b["hessians"],
        )
    scale = np.abs(one.model.flat).max()
    np.testing.assert_allclose(other.model.flat, one.model.flat, rtol=0.0, atol=1e-9 * scale)


@pytest.mark.parametrize("grid", ["1x1", "1x2", "2x1", "1x3", "3x1", "2x2", "4x1"])
def test_the_result_does_not_depend_on_the_grid(folder, whole, grid):
    ended = train(folder, grid, grid)
    assert ended.returncode == 0, ended
    same(whole, folder / grid)
    values = record(folder / grid)
    assert (values["grid"], values["parallel"]["weights"]) == (grid, "sharded")
    assert values["parallel"]["chunk"] >= 1
    assert f"grid {grid}, sharded weights" in ended.stdout


def test_a_run_goes_on_with_another_grid_and_with_whole_weights(folder, whole):
    ended = train(folder, "moved", "2x1", script=SIGNALLED)
    assert "Interrupted; the checkpoint is in" in ended.stdout, ended
    rows = len(history(folder / "moved"))
    assert 5 < rows < len(history(whole))
    ended = train(folder, "moved", "1x3", "sharded", "--resume", script=SIGNALLED)
    assert "Interrupted; the checkpoint is in" in ended.stdout, ended
    assert rows < len(history(folder / "moved")) < len(history(whole))
    ended = train(folder, "moved", "1x1", "whole", "--resume")
    assert ended.returncode == 0, ended
    same(whole, folder / "moved")


def test_whole_weights_become_sharded(folder, whole):
    ended = train(folder, "back", "1x1", "whole", script=SIGNALLED)
    assert "Interrupted; the checkpoint is in" in ended.stdout, ended
    ended = train(folder, "back", "2x1", "sharded", "--resume")
    assert ended.returncode == 0, ended
    same(whole, folder / "back")


@pytest.mark.parametrize("grid, weights", [("1x4", "whole"), ("2x2", "sharded")])
def test_a_rank_without_samples_does_its_part(folder, grid, weights):
    few = ["--set", "data.samples=3", "--set", "data.test_fraction=0.0"]
    ended = train(folder, f"few {weights}", grid, weights, *few)
    assert ended.returncode == 0, ended
    if not (folder / "few").exists():
        train(folder, "few", "1x1", "whole", *few)
    one, other = record(folder / "few"), record(folder / f"few {weights}")
    assert other["metrics"] == pytest.approx(one["metrics"], rel=1e-12)


@pytest.mark.parametrize(
    "settings, parts",
    [
        (["grid=2x1"], ["'2x1' is for 2 ranks, but there are 1", "mpirun -n 2"]),
        (["grid=two"], ["parallel.grid"]),
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
