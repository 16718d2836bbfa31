"""``fem-deepest anneal`` over networks: levels against a closed form, ranks, resuming, bad input."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from launch import DEMOS, start

import fem_deepest
from fem_deepest.cli.anneal import anneal
from fem_deepest.data.twin import NOISE, isometric
from fem_deepest.io import batches

SMALL = """\
seed = 3
[data]
samples = 4
layers = 6
fresh = 50
[network]
neurons = 10
depth = 4.0
cells = 6
leak = 0.25
readout = "observed"
[action]
lambda = 0.25
R_0 = 4e4
[anneal]
starts = 3
alpha = 100.0
rungs = 3
[output]
figures = false
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same(first, second):
    for name in ("levels.csv", "weights.csv", "fresh.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_published_twin_ends_on_its_plateau(tmp_path):
    """All starts forget their input, and end at the action of a constant predictor.

    With step and leak 1 Euler's method is the published recursion; its layers have ``R_f = 1e11 / 95``
    at the end and its measurements ``R_m / N`` (test_twin_plateau.py has the numbers).
    """
    config = {
        "data": {"name": "published", "samples": 2},
        "network": {
            **{"neurons": 10, "depth": 19.0, "cells": 19, "activation": "sigmoid"},
            **{"leak": 1.0, "readout": "observed"},
        },
        "action": {"R_m": 4000.0, "R_0": 4000.0, "lambda": 1e-2},
        "anneal": {"starts": 2, "R_f0": 1e1 / 95, "alpha": 1e5, "rungs": 3, "decrease": 1e-9},
        "output": {"figures": False},
    }
    run = fem_deepest.anneal(config, out=tmp_path / "out")
    assert run.status == "converged"
    last = [level for level in run.levels if level.beta == 2]
    assert [level.count for level in last] == [2]
    assert last[0].measurement + last[0].model == pytest.approx(0.26035, abs=1e-5)
    assert run.metrics["constant_rmse"] == pytest.approx(0.00181, abs=0.6e-5)
    assert run.metrics["fresh_rmse"] == pytest.approx(0.00181, abs=0.6e-5)


def test_run_directory(command, small, tmp_path):
    out = tmp_path / "out"
    ended = command("anneal", small, "--out", out, "--set", "output.figures=true")
    assert ended.code == 0, ended.err
    assert "isometric: 4 samples" in ended.out
    run = json.loads((out / "run.json").read_text())
    assert [s["R_f"] for s in run["stages"]] == pytest.approx([1.0, 100.0, 1e4])
    assert all(s["converged"] == 3 and s["evaluations"] > s["iterations"] for s in run["stages"])
    table = rows(out / "levels.csv")
    assert sum(int(row["count"]) for row in table if row["beta"] == "2") == 3
    # Ten outputs and ten inputs a sample, four samples: chi-square of 80 over 2 K.
    assert run["metrics"]["expected_measurement"] == 80 / 8
    assert run["metrics"]["expected_measurement_deviation"] == pytest.approx(np.sqrt(160) / 8)
    twin, fresh = isometric(4, 6), isometric(50, 6, "validation")
    constant = np.sqrt(np.mean((twin.outputs.mean(axis=0) - fresh.clean) ** 2))
    assert run["metrics"]["constant_rmse"] == pytest.approx(constant, rel=1e-12)
    told = np.array([[float(v) for v in row.values()] for row in rows(out / "fresh.csv")])
    np.testing.assert_allclose(told[:, :10], fresh.clean, rtol=1e-15)
    error = np.sqrt(np.mean((told[:, 10:] - fresh.clean) ** 2))
    assert run["metrics"]["fresh_rmse"] == pytest.approx(error, rel=1e-12)
    # The weights of the table make the predictions of the other.
    weights = np.array([[float(v) for v in row.values()] for row in rows(out / "weights.csv")])
    theta = weights[:, 1:].reshape(7, 10, 11)
    x = fresh.inputs.copy()
    for matrix in theta[:-1]:
        x += 4 / 6 * (np.tanh(x @ matrix[:, :-1].T + matrix[:, -1]) - 0.25 * x)
    np.testing.assert_allclose(told[:, 10:], x, atol=1e-12)
    picture = out / "figures" / "levels.png"
    before = picture.read_bytes()
    picture.unlink()
    assert command("plot", out).code == 0
    assert picture.read_bytes() == before


def test_the_precision_of_a_twin_is_that_of_its_noise(small, tmp_path):
    one = anneal(small, out=tmp_path / "one")
    other = anneal(small, out=tmp_path / "other", settings=[f"action.R_m={NOISE**-2}"])
    assert one.record.tobytes() == other.record.tobytes()


def test_result_does_not_depend_on_the_ranks(small, tmp_path):
    anneal(small, out=tmp_path / "one")
    ended = start("anneal", small, "--out", tmp_path / "two", ranks=2)
    assert ended.returncode == 0, ended.stderr
    same(tmp_path / "one", tmp_path / "two")


class Killed(Exception):
    """Stands for a process that is killed between two rungs."""


def test_resumed_run_ends_at_the_same_bits(small, tmp_path, monkeypatch):
    whole, out, count = tmp_path / "whole", tmp_path / "out", [0]
    anneal(small, out=whole)

    def killed(folder, batch):
        batches.write_batch(folder, batch)
        count[0] += 1
        if count[0] == 5:
            raise Killed

    monkeypatch.setattr("fem_deepest.cli.anneal_session.write_batch", killed)
    with pytest.raises(Killed):
        anneal(small, out=out)
    monkeypatch.undo()
    anneal(small, out=out, resume=True)
    same(whole, out)


def test_classes_and_a_trained_readout(tmp_path):
    """Any data set of ``train``; with a strong model the fresh accuracy is far above the constant."""
    config = {
        "data": {"name": "donut", "samples": 60},
        "network": {"neurons": 3, "cells": 3, "start": 1.0},
        "action": {"lambda": 1e-3},
        "anneal": {"starts": 2, "alpha": 100.0, "rungs": 3},
        "output": {"figures": False},
    }
    run = anneal(config, out=tmp_path / "out")
    assert run.metrics["fresh_accuracy"] > run.metrics["constant_accuracy"] + 0.2
    assert "expected_measurement" not in run.metrics
    assert (tmp_path / "out" / "readout.csv").exists()


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("network.scheme=rk4", "scheme of one stage"),
        ("anneal.paths=3", "nearest known key"),
        ("action.R_f=1.0", "unknown key action.R_f"),
        ("data.name=isometrie", "data.name"),
        ("network.neurons=4", "neurons"),
        ("dynamics.name=lorenz96", "unknown key dynamics"),
        ("anneal.rungs=5000", "fewer rungs"),
    ],
)
def test_bad_input_ends_with_2_and_writes_nothing(command, small, tmp_path, setting, match):
    ended = command("anneal", small, "--out", tmp_path / "out", "--set", setting)
    assert ended.code == 2
    assert match in ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_steps_that_run_out_are_told(command, small, tmp_path):
    ended = command("anneal", small, "--out", tmp_path / "out", "--set", "anneal.iterations=2")
    assert ended.code == 3
    assert "NOT CONVERGE" in ended.out


def test_demo_in_reduced_size(tmp_path):
    """A strong prior has one level, and about half the error of the constant on fresh inputs."""
    settings = ["anneal.starts=2", "action.lambda=0.05", "anneal.alpha=100", "anneal.rungs=4"]
    settings += ["anneal.decrease=1e-4", "output.figures=false"]
    run = anneal(DEMOS / "twin.toml", out=tmp_path / "out", settings=settings)
    assert run.status == "converged"
    assert [v.count for v in run.levels if v.beta == 3] == [2]
    assert run.metrics["fresh_rmse"] < 0.6 * run.metrics["constant_rmse"]
