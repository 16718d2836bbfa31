"""``fem-deepest anneal``: what it writes, bad input, resuming, ranks."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from launch import DEMOS, contents, start

import fem_deepest
from fem_deepest.cli.anneal import anneal
from fem_deepest.configuration.anneal import DynamicsSection, load_annealing
from fem_deepest.data.series import read_series
from fem_deepest.errors import InputError
from fem_deepest.io import batches
from fem_deepest.runs.path_search import PathSearch
from fem_deepest.runs.path_setup import cell_ends

SMALL = """\
seed = 3
[data]
components = [0, 2]
times = 21
interval = 0.05
noise = 0.5
[dynamics]
states = 5
[anneal]
paths = 6
batch = 2
R_f0 = 0.1
alpha = 10.0
rungs = 4
[output]
figures = false
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def same(first: Path, second: Path) -> None:
    for name in ("levels.csv", "path.csv", "parameters.csv"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_run_directory(command, small, tmp_path):
    out = tmp_path / "out"
    ended = command("anneal", small, "--out", out, "--set", "output.figures=true")
    assert ended.code == 0, ended.err
    assert "level 0" in ended.out
    run = json.loads((out / "run.json").read_text())
    assert run["verb"] == "anneal"
    assert run["status"] == "converged"
    assert run["seed"] == 3
    assert run["config"]["dynamics"]["name"] == "lorenz96"
    assert {"ranks", "grid", "versions", "stages", "metrics", "seconds"} <= run.keys()
    assert [s["R_f"] for s in run["stages"]] == pytest.approx([0.1, 1.0, 10.0, 100.0])
    assert all(s["converged"] == 6 and s["evaluations"] > 0 for s in run["stages"])
    table = rows(out / "levels.csv")
    assert list(table[0]) == [
        *("beta", "R_f", "level", "action", "measurement", "model", "count", "fraction")
    ]
    for beta in range(4):
        own = [row for row in table if row["beta"] == str(beta)]
        actions = [float(row["action"]) for row in own]
        assert actions == sorted(actions)
        assert sum(int(row["count"]) for row in own) == 6
        assert sum(float(row["fraction"]) for row in own) == pytest.approx(1.0)
        assert actions[0] == pytest.approx(run["stages"][beta]["action"], rel=1e-14)
    assert run["metrics"]["expected_measurement"] == 0.5 * 42
    assert float(rows(out / "parameters.csv")[0]["f"]) == run["metrics"]["f"]
    assert len(rows(out / "path.csv")) == 21
    assert (out / "figures" / "levels.png").stat().st_size > 10_000


def test_plot_draws_the_levels_again(command, small, tmp_path):
    out = tmp_path / "out"
    assert command("anneal", small, "--out", out, "--set", "output.figures=true").code == 0
    picture = out / "figures" / "levels.png"
    before = picture.read_bytes()
    picture.unlink()
    ended = command("plot", out)
    assert ended.code == 0, ended.err
    assert ended.out.strip() == str(picture)
    assert picture.read_bytes() == before
    (out / "batches" / "paths000002.h5").unlink()
    ended = command("plot", out)
    assert ended.code == 2
    assert "2 of 3 batches" in ended.err


def test_function_returns_what_the_files_hold(small, tmp_path):
    run = fem_deepest.anneal(small, out=tmp_path / "out")
    assert run.status == "converged"
    assert run.exit_code == 0
    assert run.record.shape == (6, 4, 4)
    assert run.levels[0].action == run.record[:, 0, 0].min()
    assert run.lowest.x.shape == (21, 5)
    assert run.lowest.w.shape == (1,)
    assert run.metrics["action"] == run.record[:, -1, 0].min()


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("dynamics.name=lorenz97", "dynamics.name"),
        ("anneal.alfa=2", "nearest known key is 'alpha'"),
        ("anneal.alpha=1.0", "alpha"),
        ("data.components=[7]", "0 to 4"),
        ("data.times=20", "refine"),
        ("data.path=x.csv", "path goes with"),
        ("data.parameters=[1.0, 2.0]", "expected 1: f"),
        ("bounds.states=[1.0, 0.0]", "must increase"),
        ("bounds.parameters=[[0.0, 1.0], [0.0, 1.0]]", "2 intervals"),
        ("dynamics.states=3", "at least 4"),
        ("action.R_m=[1.0, 2.0, 3.0]", "R_m"),
        ("data.components=[]", "data.components"),
        ("data.parameters=[]", "got 0 true parameters"),
        ("data.parameters=[1e150]", "grows without bound"),
        ("bounds.states=[]", "bounds.states"),
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
    ended = command("anneal", small, "--out", tmp_path / "out", "--set", "anneal.iterations=1")
    assert ended.code == 3
    assert "NOT CONVERGE" in ended.out
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "not_converged"


@pytest.mark.parametrize("ranks", [0, 2])
def test_action_that_overflows_ends_with_4(small, tmp_path, ranks):
    huge = ("--set", "bounds.states=[-1e200, 1e200]")
    ended = start("anneal", small, "--out", tmp_path / "out", *huge, ranks=ranks)
    assert ended.returncode == 4
    assert "not finite" in ended.stdout
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "failed"


class Killed(Exception):
    """Stands for a process that is killed between two rungs."""


@pytest.mark.parametrize("rung", [1, 6, 9])
def test_resumed_run_ends_at_the_same_bits(small, tmp_path, monkeypatch, rung):
    whole, out = tmp_path / "whole", tmp_path / "out"
    anneal(small, out=whole)
    count = [0]

    def killed(folder, batch):
        batches.write_batch(folder, batch)
        count[0] += 1
        if count[0] == rung:
            raise Killed

    monkeypatch.setattr("fem_deepest.cli.anneal_session.write_batch", killed)
    with pytest.raises(Killed):
        anneal(small, out=out)
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    monkeypatch.undo()
    anneal(small, out=out, resume=True)
    same(whole, out)
    # Nothing is left to do.
    before = {k: v for k, v in contents(out).items() if k != "run.json"}
    anneal(small, out=out, resume=True)
    assert {k: v for k, v in contents(out).items() if k != "run.json"} == before


def test_resume_refuses_another_run_and_force_begins_again(command, small, tmp_path):
    out = tmp_path / "out"
    assert command("anneal", small, "--out", out).code == 0
    assert command("anneal", small, "--out", out).code == 2
    other = ("--set", "anneal.R_f0=0.2")
    ended = command("anneal", small, "--out", out, "--resume", *other)
    assert ended.code == 2
    assert "anneal.R_f0 = 0.1" in ended.err
    assert command("anneal", small, "--out", out, "--force", *other).code == 0
    assert float(rows(out / "levels.csv")[0]["R_f"]) == 0.2


def test_resume_needs_a_run_of_this_verb(command, small, tmp_path):
    out = tmp_path / "out"
    ended = command("anneal", small, "--out", out, "--resume")
    assert ended.code == 2
    assert "without --resume" in ended.err
    assert not out.exists()
    out.mkdir()
    (out / "run.json").write_text('{"verb": "train"}')
    before = contents(out)
    assert command("anneal", small, "--out", out, "--resume").code == 2
    assert contents(out) == before


@pytest.mark.parametrize(
    ("name", "match"), [("signature.json", "--force"), ("paths000002.h5", "remove it")]
)
@pytest.mark.parametrize("ranks", [0, 2])
def test_resume_refuses_broken_files_on_all_ranks(small, tmp_path, name, match, ranks):
    """The second batch is one of the second rank's."""
    out = tmp_path / "out"
    anneal(small, out=out)
    (out / "batches" / "paths000002.previous.h5").unlink()
    (out / "batches" / name).write_text("{")
    before = contents(out)
    ended = start("anneal", small, "--out", out, "--resume", ranks=ranks)
    assert ended.returncode == 2
    said = [line for line in ended.stderr.splitlines() if line.startswith("fem-deepest:")]
    assert len(said) == 1
    assert match in said[0]
    assert "Traceback" not in ended.stderr
    assert contents(out) == before


@pytest.mark.parametrize("ranks", [0, 2])
def test_a_damaged_batch_goes_on_from_the_rung_before(small, tmp_path, ranks):
    whole, out = tmp_path / "whole", tmp_path / "out"
    for path in (whole, out):
        anneal(small, out=path)
    damaged = out / "batches" / "paths000002.h5"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    ended = start("anneal", small, "--out", out, "--resume", ranks=ranks)
    assert ended.returncode == 0
    assert ended.stdout.count(f"{damaged} is not a whole checkpoint of fem_deepest") == 1
    assert (out / "levels.csv").read_bytes() == (whole / "levels.csv").read_bytes()
    assert damaged.read_bytes() == (whole / "batches" / damaged.name).read_bytes()


def test_directory_that_may_not_be_written_is_refused(command, small, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode, **_: mode != os.W_OK)
    ended = command("anneal", small, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "may not write" in ended.err
    assert contents(tmp_path / "out") == {}


@pytest.mark.parametrize("ranks", [2, 4])
def test_result_does_not_depend_on_the_ranks(small, tmp_path, ranks):
    """Four ranks have one batch each, or none."""
    anneal(small, out=tmp_path / "one")
    ended = start("anneal", small, "--out", tmp_path / "many", ranks=ranks)
    assert ended.returncode == 0, ended.stderr
    same(tmp_path / "one", tmp_path / "many")
    assert json.loads((tmp_path / "many" / "run.json").read_text())["ranks"] == ranks


def test_series_of_a_file(small, tmp_path):
    """The twin's own data, written as a table and read again, give the same levels."""
    anneal(small, out=tmp_path / "twin")
    series = PathSearch.create(load_annealing(small)).series
    table = np.column_stack([series.times, series.values])
    np.savetxt(tmp_path / "own.csv", table, "%.17g", ",", header="time, a, b", comments="")
    settings = [
        *("data.name=file", "data.path=own.csv", "data.time=time", "action.R_m=4.0"),
    ]
    anneal(small, out=tmp_path / "file", settings=settings)
    same(tmp_path / "twin", tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("t,a\n0,1\n1,x\n2,3\n", "table of numbers"),
        ("s,a\n0,1\n1,2\n2,3\n", "needs a column 't'"),
        ("t,a\n0,1\n2,2\n1,3\n", "must increase"),
        ("t,a\n0,1\n1,2\n2,3\n", "1 columns beside the time"),
        ("t,a,b\n0,1,2\n", "two times or more"),
        ("t,a,b\n0,1,inf\n1,2,3\n2,3,4\n", "infinite"),
    ],
)
def test_bad_series(small, tmp_path, text, match):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(InputError, match=match):
        anneal(small, out=tmp_path / "out", settings=["data.name=file", "data.path=own.csv"])


def test_series_of_a_spreadsheet(tmp_path):
    """Spreadsheets write a mark of the byte order before the header."""
    (tmp_path / "own.csv").write_text("t,a\n0,1\n1,\n2,3\n", encoding="utf-8-sig")
    series = read_series(tmp_path / "own.csv", "t", None)
    np.testing.assert_array_equal(series.times, [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(series.values[:, 0], [1.0, np.nan, 3.0])


def test_cells_end_at_the_data():
    def ends(t, name, **more):
        return cell_ends(np.asarray(t), DynamicsSection(transcription=name, **more))

    t = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(ends(t, "midpoint"), t)
    np.testing.assert_allclose(ends(t, "gauss2"), [0.0, 2.0, 4.0])
    np.testing.assert_allclose(ends(t[:4], "gauss2", refine=2), t[:4])
    np.testing.assert_allclose(ends(t[:2], "midpoint", refine=4), np.linspace(0.0, 1.0, 5))
    with pytest.raises(InputError, match="evenly spaced"):
        ends([0.0, 1.0, 3.0], "gauss2")


def test_cells_need_not_know_of_the_data():
    t = np.array([0.5, 0.7, 2.5])
    for more in ({"cells": 4}, {"interval": 0.5}, {"interval": 0.6}):
        got = cell_ends(t, DynamicsSection(transcription="gauss2", **more))
        np.testing.assert_allclose(got, [0.5, 1.0, 1.5, 2.0, 2.5])


@pytest.mark.parametrize("name", ["lorenz63", "pendulum"])
def test_other_systems(tmp_path, name):
    """The lowest path of a twin without much noise has the true parameters."""
    true = {"lorenz63": {"s": 10.0, "r": 28.0, "b": 8 / 3}, "pendulum": {"g": 4.0, "c": 0.3}}[name]
    bounds = {
        "lorenz63": {
            "states": [-50.0, 50.0],
            "parameters": [[5.0, 20.0], [10.0, 40.0], [1.0, 5.0]],
        },
        "pendulum": {"states": [-4.0, 4.0], "parameters": [0.0, 8.0]},
    }[name]
    config = {
        "data": {
            "components": [0],
            "times": 81,
            "interval": {"lorenz63": 0.02, "pendulum": 0.1}[name],
            "noise": 0.01,
        },
        "dynamics": {"name": name},
        "bounds": bounds,
        "anneal": {"paths": 4, "R_f0": 1.0, "alpha": 10.0, "rungs": 7},
        "output": {"figures": False},
    }
    run = anneal(config, out=tmp_path / "out")
    for parameter, value in true.items():
        assert run.metrics[parameter] == pytest.approx(value, rel=0.03)
    assert abs(run.metrics["measurement"] - 40.5) < 4 * 0.5 * np.sqrt(2 * 81)


def test_demo_is_a_configuration():
    config = load_annealing(DEMOS / "lorenz96.toml")
    assert config.anneal.paths == 100
    assert (DEMOS / "lorenz96.toml").read_text().startswith("# ")
