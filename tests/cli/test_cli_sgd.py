"""``[solve] method = "sgd"``: what it ends with, and that it goes on where it was stopped."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
from launch import history, start, timeless

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.runs.train import Run

SGD = (
    *("--set", "solve.method=sgd", "--set", "solve.batch=8", "--set", "solve.epochs=12"),
    *("--set", "solve.check=2"),
)


def _same_end(one, other):
    assert timeless(one) == timeless(other)
    a, b = Run.load(one), Run.load(other)
    np.testing.assert_array_equal(a.model.flat, b.model.flat)
    assert (a.metrics, a.status) == (b.metrics, b.status)


def test_epochs_that_end_are_no_convergence(command, tiny, tmp_path):
    out = tmp_path / "out"
    ended = command("train", tiny, "--out", out, *SGD)
    assert ended.code == 3
    assert "NOT CONVERGED" in ended.out
    values = json.loads((out / "run.json").read_text())
    assert values["status"] == "not_converged"
    # 32 samples are four batches of eight; a look at the whole action every other epoch.
    assert [(s["stage"], s["cells"], s["iterations"]) for s in values["stages"]] == [
        ("sgd", 2, 48),
        ("sgd", 4, 48),
    ]
    assert {s["reason"] for s in values["stages"]} == {"diverged_maxits"}
    rows = history(out)
    assert [int(r["iteration"]) for r in rows] == 2 * [0, 8, 16, 24, 32, 40, 48]
    # Twelve epochs of batches and seven gradients of everything on each level.
    assert [int(s["evaluations"]) for s in values["stages"]] == [19, 19]
    assert int(rows[-1]["evaluations"]) == values["evaluations"] == 38
    assert float(rows[-1]["action"]) < 0.95 * float(rows[0]["action"])


def test_a_tolerance_that_is_met_is_convergence(command, tiny, tmp_path):
    """Near a strong prior; and Newton's method goes on from there, if it is asked for."""
    strong = ("action.lambda=1.0", "solve.eta=0.5", "solve.tolerance=0.05", "solve.polish=true")
    words = [word for setting in strong for word in ("--set", setting)]
    ended = command("train", tiny, "--out", tmp_path / "out", *SGD, *words)
    assert ended.code == 0
    stages = json.loads((tmp_path / "out" / "run.json").read_text())["stages"]
    assert [s["stage"] for s in stages] == ["sgd", "sgd", "newton"]
    assert all(s["converged"] for s in stages)
    assert 0 < stages[0]["iterations"] < 48
    assert 1e-8 < stages[1]["gradient_relative"] <= 0.05
    assert stages[2]["gradient_relative"] <= 1e-8


@pytest.mark.parametrize("call", [40, 75])  # of 48 batches and 7 whole gradients on each level
def test_a_stopped_run_goes_on_with_the_same_batches(command, tiny, tmp_path, monkeypatch, call):
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert command("train", tiny, "--out", whole, *SGD).code == 3
    gradient, calls = NetworkAction.gradient, []

    def counted(self, u, g):
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return gradient(self, u, g)

    with monkeypatch.context() as patched:
        patched.setattr(NetworkAction, "gradient", counted)
        assert command("train", tiny, "--out", out, *SGD).code == 130
    assert 0 < len(history(out)) < len(history(whole))
    assert command("train", tiny, "--out", out, "--resume", *SGD).code == 3
    _same_end(out, whole)


def test_more_epochs_may_be_asked_for_later(command, tiny, tmp_path):
    one_level, more = ("--set", "network.cells=2"), ("--set", "solve.epochs=20")
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert command("train", tiny, "--out", out, *SGD, *one_level).code == 3
    assert command("train", tiny, "--out", out, "--resume", *SGD, *more, *one_level).code == 3
    assert command("train", tiny, "--out", whole, *SGD, *more, *one_level).code == 3
    _same_end(out, whole)


def test_it_goes_on_with_another_number_of_ranks(command, tiny, tmp_path):
    """The batches, and so the iterates, do not depend on it to the last bit."""
    out, whole, fewer = tmp_path / "out", tmp_path / "whole", ("--set", "solve.epochs=6")
    one_level = ("--set", "network.cells=2")
    assert command("train", tiny, "--out", out, *SGD, *one_level, *fewer).code == 3
    ended = start("train", tiny, "--out", out, "--resume", *SGD, *one_level, ranks=2)
    assert ended.returncode == 3, ended
    assert command("train", tiny, "--out", whole, *SGD, *one_level).code == 3
    _same_end(out, whole)


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        (("solve.batch=33",), "a batch of 33 out of 32 samples"),
        (("action.R_f=10.0",), "R_f = 10"),
        (("action.R_0=10.0",), "R_0 = 10"),
        (("solve.nu=1.5",), "solve.nu: got 1.5"),
        (("solve.eta=0.0",), "solve.eta: got 0.0"),
        (("solve.method=adam",), "'lmvm' or 'sgd'"),
        (("seed=4294967296",), "seed of a batch"),
    ],
)
def test_what_cannot_be_done_is_refused(command, tiny, tmp_path, settings, fragment):
    words = [word for setting in settings for word in ("--set", setting)]
    ended = command("train", tiny, "--out", tmp_path / "out", *SGD, *words)
    assert ended.code == 2
    assert fragment in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change", ["solve.eta=0.2", "solve.nu=0.6", "solve.batch=4", "solve.gradient=euclidean"]
)
def test_another_method_is_another_run(command, tiny, tmp_path, change):
    out = tmp_path / "out"
    assert command("train", tiny, "--out", out, *SGD).code == 3
    ended = command("train", tiny, "--out", out, "--resume", *SGD, "--set", change)
    assert ended.code == 2
    assert f"it has {change.split('=')[0].split('.')[1]} = " in ended.err
    ended = command("train", tiny, "--out", out, "--resume", *SGD, "--set", "solve.method=lmvm")
    assert ended.code == 2
    assert "it has method = sgd, the configuration lmvm" in ended.err


def test_steps_that_are_too_long_are_a_failure(command, tiny, tmp_path):
    """The plain gradient, which knows nothing of scales, and a prior that is steep."""
    steep = ("action.lambda=1e3", "solve.gradient=euclidean", "solve.eta=10.0", "solve.nu=0.0")
    words = [word for setting in steep for word in ("--set", setting)]
    ended = command("train", tiny, "--out", tmp_path / "out", *SGD, *words)
    assert ended.code == 4
    assert "stochastic gradient descent diverges" in ended.out
    assert "take a smaller eta" in ended.out
    assert np.abs(Run.load(tmp_path / "out").model.flat).max() < 1e10


def test_a_study_whose_runs_diverge_has_failed(command, tmp_path):
    config, out = tmp_path / "study.toml", tmp_path / "out"
    config.write_text(
        'study = {name = "sgd_strong", values = [16, 64], problems = ["quadratic"]}\n'
        "quadratic = {eta = 200.0, runs = 10}\n"
    )
    ended = command("study", config, "--out", out)
    assert ended.code == 4
    assert "stochastic gradient descent diverges: in step" in ended.out
    assert json.loads((out / "run.json").read_text())["status"] == "failed"
