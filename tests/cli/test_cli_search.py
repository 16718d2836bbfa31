"""``[search]`` of a training: noise before the solve, how it goes on, what it refuses."""

from __future__ import annotations

import pytest
from launch import TINY, history, record, start, timeless

SEARCH = """\
[search]
steps = 30
step = 5.0
start = 1e-3
end = 1e-5
replicas = 2
"""

# Sends SIGTERM to itself in the gradient of this number: the first argument.
STOPPED = """\
import os, signal, sys
call = int(sys.argv.pop(1))
import fem_deepest.cli.main as command
from fem_deepest.action.network.action import NetworkAction
gradient, calls = NetworkAction.gradient, [0]
def counted(self, u, g):
    calls[0] += 1
    if calls[0] == call:
        os.kill(os.getpid(), signal.SIGTERM)
    return gradient(self, u, g)
NetworkAction.gradient = counted
command.main()
"""


@pytest.fixture
def searched(tmp_path):
    path = tmp_path / "searched.toml"
    path.write_text(TINY + SEARCH)
    return path


def test_noise_is_a_stage_before_the_solve(searched, tmp_path, command) -> None:
    out = tmp_path / "out"
    ended = command("train", searched, "--out", out, "--set", "output.figures=true")
    assert ended.code == 0, ended.err
    values, rows = record(out), history(out)
    noise, *solves = values["stages"]
    assert noise["stage"] == "noise"
    assert noise["cells"] == solves[0]["cells"] == 2
    assert noise["evaluations"] >= 2 * 31  # both replicas: the start, and one a step
    assert values["evaluations"] == noise["evaluations"] + sum(s["evaluations"] for s in solves)
    assert [row["stage"] for row in rows[:30]] == ["noise"] * 30
    # The first level begins where the search has ended.
    first = next(row for row in rows if row["stage"] == "lmvm")
    assert float(first["action"]) == noise["action"]
    assert not (out / "noise.h5").exists()
    assert str(out / "figures" / "history.png") in command("plot", out).out


def test_without_temperature_it_is_descent_from_the_same_start(searched, tmp_path, command) -> None:
    """At a temperature of nothing the gradient flow only lowers the action."""
    cold = ("--set", "search.start=1e-30", "--set", "search.end=1e-31", "--set", "search.step=0.5")
    out = tmp_path / "out"
    assert command("train", searched, "--out", out, *cold).code == 0
    actions = [float(row["action"]) for row in history(out)[:30]]
    assert actions == sorted(actions, reverse=True)


@pytest.mark.parametrize("call", [25, 90, 140])
def test_a_stopped_search_goes_on_to_the_same_end(searched, tmp_path, call: int) -> None:
    """Stopped with noise, in the descent of its ends, in the solve."""
    whole, part = tmp_path / "whole", tmp_path / "part"
    ended = start("train", searched, "--out", whole)
    assert ended.returncode == 0, ended.stderr
    assert record(whole)["evaluations"] > 160
    stopped = start(str(call), "train", searched, "--out", part, script=STOPPED)
    assert stopped.returncode == 130, stopped.stderr
    resumed = start("train", searched, "--out", part, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert timeless(part) == timeless(whole)
    assert record(part)["metrics"] == record(whole)["metrics"]
    assert not (part / "noise.h5").exists()


def test_the_same_search_under_mpirun(searched, tmp_path) -> None:
    for ranks in (0, 2):
        ended = start("train", searched, "--out", tmp_path / str(ranks), ranks=ranks)
        assert ended.returncode == 0, ended.stderr
    one, two = (record(tmp_path / d)["metrics"] for d in ("0", "2"))
    assert two == pytest.approx(one, rel=1e-12)


REFUSED = {
    "search.end=1.0": "decreases",
    "search.minibatch=100": "32",
    "search.steps=-1": "search.steps",
    "search.minibatch=8 action.R_f=10.0": "R_f",
}


@pytest.mark.parametrize("settings", REFUSED)
def test_wrong_input_ends_with_two_and_writes_nothing(
    searched, tmp_path, command, settings
) -> None:
    words = [word for setting in settings.split() for word in ("--set", setting)]
    ended = command("train", searched, "--out", tmp_path / "out", *words)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert REFUSED[settings] in ended.err
    assert not (tmp_path / "out").exists()


def test_minibatches_with_noise(searched, tmp_path, command) -> None:
    out = tmp_path / "out"
    ended = command("train", searched, "--out", out, "--set", "search.minibatch=8")
    assert ended.code == 0, ended.err
    # 8 of 32 samples: a quarter of a gradient a step, and that of the start.
    assert int(history(out)[29]["evaluations"]) == 16


def test_a_search_that_explodes_goes_on_from_its_best_iterate(searched, tmp_path, command) -> None:
    """Steps far too long: no iterate and no end is of any use, the best one was the start."""
    out = tmp_path / "out"
    ended = command("train", searched, "--out", out, "--set", "search.step=1e6")
    assert ended.code == 0, ended.err
    noise = record(out)["stages"][0]
    assert max(float(row["action"]) for row in history(out)[:30]) > 1e3
    assert noise["action"] <= noise["noisy"] < 1.0
