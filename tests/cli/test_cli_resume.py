"""Interrupted runs: Ctrl-C, a kill, ``--resume``, ``--force``."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
from launch import SIGNALLED, contents, history, start, timeless

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.runs.train import Run

POLISH = ("--set", "solve.polish=true")
EVERY_STEP = ("--set", "output.checkpoint_minutes=0")


def status(directory):
    return json.loads((directory / "run.json").read_text())["status"]


def same_end(one, other):
    """The same history and the same result to the last bit (1e-10 is asked for)."""
    assert timeless(one) == timeless(other)
    a, b = Run.load(one), Run.load(other)
    assert np.array_equal(a.model.flat, b.model.flat)
    assert a.metrics == b.metrics
    assert a.status == b.status
    own = [
        [{k: v for k, v in stage.items() if k != "seconds"} for stage in run.stages]
        for run in (a, b)
    ]
    assert own[0] == own[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of three stages: 2 cells, 4 cells, Newton."""
    from launch import TINY

    import fem_deepest

    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(TINY)
    run = fem_deepest.train(
        folder / "tiny.toml", out=folder / "out", settings=["solve.polish=true"]
    )
    assert run.status == "converged"
    assert len(run.stages) == 3
    return run


@pytest.fixture
def signalled(monkeypatch):
    """Sends this process a signal at one gradient of the next run."""

    def arm(call, number=signal.SIGINT):
        gradient, calls = NetworkAction.gradient, []

        def counted(self, u, g):
            calls.append(None)
            if len(calls) == call:
                os.kill(os.getpid(), number)
            return gradient(self, u, g)

        monkeypatch.setattr(NetworkAction, "gradient", counted)

    yield arm


# The whole run has some 200 gradients: in either level, in Newton's method, at the first step.
@pytest.mark.parametrize("part", [0.0, 0.3, 0.75, 1.0])
def test_resumed_run_ends_like_an_uninterrupted_one(
    command, tiny, tmp_path, whole, signalled, monkeypatch, part
):
    last = int(history(whole.directory)[-1]["evaluations"])
    out = tmp_path / "out"
    # One gradient at the start is not counted.
    signalled(2 + int(part * (last - 2)))
    ended = command("train", tiny, "--out", out, *POLISH)
    monkeypatch.undo()
    assert ended.code == 130
    assert f"Interrupted; the checkpoint is in {out}, go on with --resume." in ended.out
    assert ended.out.splitlines()[-1].startswith("interrupted: action")
    assert status(out) == "interrupted"
    assert Run.load(out).status == "interrupted"
    rows = history(out)
    assert 0 < len(rows) < len(history(whole.directory))
    assert abs(int(rows[-1]["evaluations"]) - part * last) < 10

    ended = command("train", tiny, "--out", out, "--resume", *POLISH)
    assert ended.code == 0
    assert "resuming at" in ended.out
    same_end(out, whole.directory)


def test_run_interrupted_again_and_again(command, tiny, tmp_path, whole, signalled, monkeypatch):
    out, times = tmp_path / "out", 0
    while times < 12:
        signalled(40)
        code = command("train", tiny, "--out", out, "--resume", *POLISH).code
        monkeypatch.undo()
        if code != 130:
            break
        times += 1
    assert times >= 3
    assert code == 0
    same_end(out, whole.directory)


def test_batch_system_that_ends_the_job_leaves_a_checkpoint(tiny, tmp_path):
    out = tmp_path / "out"
    words = (int(signal.SIGTERM), 0, 30, "train", tiny, "--out", out)
    ended = start(*words, script=SIGNALLED)
    assert ended.returncode == 130, ended
    assert "Interrupted; the checkpoint is in" in ended.stdout
    assert ended.stderr == ""
    assert status(out) == "interrupted"
    assert 20 < int(history(out)[-1]["evaluations"]) <= 31


def test_killed_run_goes_on_from_its_last_checkpoint(command, tiny, tmp_path, whole):
    out = tmp_path / "out"
    words = ("train", tiny, "--out", out, *POLISH, *EVERY_STEP)
    ended = start(int(signal.SIGKILL), 0, 25, *words, script=SIGNALLED)
    assert ended.returncode == -signal.SIGKILL
    assert status(out) == "interrupted"
    assert len(history(out)) > 15
    # A line that was being written, which the checkpoint does not know of.
    with (out / "history.csv").open("a") as file:
        file.write("lmvm,2,99")
    assert command("train", tiny, "--out", out, "--resume", *POLISH).code == 0
    same_end(out, whole.directory)


@pytest.mark.parametrize("damage", ["cut off", "changed"])
def test_damaged_checkpoint_is_replaced_by_the_one_before(command, tiny, tmp_path, whole, damage):
    out = tmp_path / "out"
    words = ("train", tiny, "--out", out, *POLISH, *EVERY_STEP)
    assert start(int(signal.SIGKILL), 0, 25, *words, script=SIGNALLED).returncode == -9
    path, rows = out / "checkpoint.h5", len(history(out))
    content = bytearray(path.read_bytes())
    if damage == "changed":
        content[len(content) // 2] ^= 1
    path.write_bytes(content if damage == "changed" else content[:-9])
    ended = command("predict", out, "--data", tiny)
    assert ended.code == 2
    assert "checkpoint.h5 is not a whole checkpoint" in ended.err
    assert "go on with --resume, from the one before it" in ended.err
    ended = command("train", tiny, "--out", out, "--resume", *POLISH)
    assert ended.code == 0
    told = [line for line in ended.out.splitlines() if "not a whole checkpoint" in line]
    assert len(told) == 1
    assert told[0].endswith(f"; going on from the one before it, {out / 'checkpoint.previous.h5'}")
    # Killed in the evaluation after the last step, which the previous one does not know of.
    assert f"resuming at {int(history(whole.directory)[rows - 2]['evaluations'])} " in ended.out
    same_end(out, whole.directory)


def test_killed_run_without_a_checkpoint_begins_again(command, tiny, tmp_path, whole):
    out = tmp_path / "out"
    words = ("train", tiny, "--out", out, *POLISH)
    assert start(int(signal.SIGKILL), 0, 25, *words, script=SIGNALLED).returncode == -9
    assert not (out / "checkpoint.h5").exists()
    assert len(history(out)) > 15
    assert command("train", tiny, "--out", out, "--resume", *POLISH).code == 0
    same_end(out, whole.directory)


def test_resume_of_nothing_begins(command, tiny, tmp_path, whole):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "new"):
        out = tmp_path / name
        ended = command("train", tiny, "--out", out, "--resume", *POLISH)
        assert ended.code == 0
        assert "resuming" not in ended.out
        same_end(out, whole.directory)


def test_resume_of_a_finished_run_changes_nothing(command, tiny, tmp_path, whole):
    out = tmp_path / "out"
    assert command("train", tiny, "--out", out, *POLISH).code == 0
    before = timeless(out)
    assert command("train", tiny, "--out", out, "--resume", *POLISH).code == 0
    assert timeless(out) == before
    same_end(out, whole.directory)


def test_run_that_ran_out_of_iterations_goes_on(command, tiny, tmp_path):
    """Tolerances and numbers of iterations may change at a restart."""
    few = ("--set", "network.cells=2", "--set", "solve.iterations=20")
    assert command("train", tiny, "--out", tmp_path / "out", *few).code == 3
    more = ("--set", "network.cells=2")
    assert command("train", tiny, "--out", tmp_path / "out", "--resume", *more).code == 0
    assert command("train", tiny, "--out", tmp_path / "whole", *more).code == 0
    same_end(tmp_path / "out", tmp_path / "whole")


def test_stationary_point_can_be_asked_for_later(command, tiny, tmp_path, whole):
    out = tmp_path / "out"
    assert command("train", tiny, "--out", out).code == 0
    assert command("train", tiny, "--out", out, "--resume", *POLISH).code == 0
    assert Run.load(out).status == "converged"
    assert Run.load(out).stages[-1]["gradient_relative"] <= 1e-8
    assert Run.load(out).metrics["action"] == pytest.approx(whole.metrics["action"], rel=1e-10)


def test_force_begins_again(command, tiny, tmp_path):
    out, few = tmp_path / "out", ("--set", "solve.iterations=5")
    assert command("train", tiny, "--out", out, *few).code == 3
    (out / "notes.txt").write_text("mine")
    first = timeless(out)
    assert command("train", tiny, "--out", out, "--force", *few).code == 3
    assert timeless(out) == first
    assert contents(out)["notes.txt"] == b"mine"
    # Another network may be put in its place.
    assert command("train", tiny, "--out", out, "--force", *few, "--set", "network.neurons=3").code
    assert Run.load(out).model.network.index.neurons == 3


def test_failure_of_a_resumed_run_keeps_its_checkpoint(command, tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"
    command("train", tiny, "--out", out, "--set", "solve.iterations=20")
    monkeypatch.setattr(NetworkAction, "gradient", lambda *_: float("nan"))
    ended = command("train", tiny, "--out", out, "--resume")
    monkeypatch.undo()
    assert ended.code == 4
    assert command("train", tiny, "--out", out, "--resume").code == 0
