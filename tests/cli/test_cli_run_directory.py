"""What a run leaves behind, and how it ends: converged, not converged, failed."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import pairwise
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
from launch import TINY, history, start, timeless

import fem_deepest
from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.configuration.train import Config
from fem_deepest.io.rundir import COLUMNS
from fem_deepest.runs.train import Run, configuration

KEYS = {
    *("verb", "status", "config", "seed", "ranks", "grid", "versions", "stages", "metrics"),
    "seconds",
}
STAGE_KEYS = {
    *("cells", "neurons", "R_f", "action", "misfit", "model", "prior", "gradient", "iterations"),
    *("evaluations", "reason", "seconds"),
}


def read(directory):
    """run.json, refusing what JSON does not know."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads((directory / "run.json").read_text(), parse_constant=refuse)


class Watcher:
    """A reporter that reads run.json at every step."""

    def __init__(self, directory):
        self.directory, self.seen, self.notes = directory, [], []

    def step(self, progress):
        self.seen.append((progress, read(self.directory)["status"]))

    def note(self, message):
        self.notes.append(message)


@pytest.fixture(scope="module")
def config():
    values = tomllib.loads(TINY)
    values["solve"]["polish"] = True
    values["output"] = {}
    return values


@pytest.fixture(scope="module")
def watched(config, tmp_path_factory):
    """A run to a stationary point, with everything written, and who watched it."""
    out = tmp_path_factory.mktemp("run") / "nested" / "out"
    watcher = Watcher(out)
    return fem_deepest.train(config, out=out, reporter=watcher), watcher


@pytest.fixture(scope="module")
def run(watched):
    return watched[0]


def test_leaves_everything_behind(run):
    assert run.status == "converged"
    assert run.exit_code == 0
    names = {path.name for path in run.directory.iterdir()}
    assert names == {"run.json", "history.csv", "checkpoint.h5", "fields", "figures"}
    figures = list((run.directory / "figures").iterdir())
    assert {p.name for p in figures} == {
        f"{name}.png" for name in ("history", "weights", "features", "confusion", "decision")
    }
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in figures)


def test_run_json(run, config):
    values = read(run.directory)
    assert values.keys() >= KEYS
    assert values["verb"] == "train"
    assert values["status"] == "converged"
    assert values["seed"] == 1
    assert values["ranks"] == 1
    assert values["grid"] == "1x1"
    assert {"fem_deepest", "dolfinx", "petsc", "numpy", "python", "mpi"} <= set(values["versions"])
    assert values["metrics"].keys() == {"action", "train_accuracy", "test_accuracy"}
    assert values["seconds"] > 0
    # All defaults are filled in, and what was given is there.
    assert values["config"]["network"].keys() == Config().network.model_dump().keys()
    assert values["config"]["action"]["lambda"] == 1e-3
    assert values["config"]["action"]["R_f"] is None
    assert configuration(values["config"]) == fem_deepest.load(config)

    stages = values["stages"]
    assert [(s["stage"], s["cells"]) for s in stages] == [("lmvm", 2), ("lmvm", 4), ("newton", 4)]
    for stage in stages:
        assert stage.keys() >= STAGE_KEYS
        assert stage["neurons"] == 4
        assert stage["R_f"] is None
        assert stage["converged"] is True
        assert stage["reason"].startswith("converged_")
        assert stage["action"] == pytest.approx(stage["misfit"] + stage["prior"], rel=1e-14)
    assert stages[-1]["gradient_relative"] <= 1e-8
    assert values["metrics"]["action"] == pytest.approx(stages[-1]["action"], rel=1e-14)


def test_says_interrupted_until_it_has_ended(watched):
    _, watcher = watched
    assert len(watcher.seen) > 100
    assert {status for _, status in watcher.seen} == {"interrupted"}


def test_history(run):
    assert (run.directory / "history.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    rows, stages = history(run.directory), read(run.directory)["stages"]
    evaluations = [int(row["evaluations"]) for row in rows]
    assert all(a < b for a, b in pairwise(evaluations))
    seconds = [float(row["seconds"]) for row in rows]
    assert all(a <= b for a, b in pairwise(seconds))
    end = 0
    for stage in stages:
        own = [r for r in rows if (r["stage"], int(r["cells"])) == (stage["stage"], stage["cells"])]
        assert [int(row["iteration"]) for row in own] == list(range(stage["iterations"] + 1))
        actions = [float(row["action"]) for row in own]
        assert all(b < a + 1e-15 for a, b in pairwise(actions))
        assert actions[-1] == pytest.approx(stage["action"], rel=1e-14)
        assert float(own[-1]["gradient"]) == stage["gradient"]
        end += stage["evaluations"]
        assert int(own[-1]["evaluations"]) <= end
    assert sum(stage["iterations"] + 1 for stage in stages) == len(rows)
    assert evaluations[-1] == end == read(run.directory)["evaluations"]


def test_a_run_can_be_read_again(run):
    again = Run.load(run.directory)
    assert again.config == run.config
    assert again.status == run.status
    assert again.metrics == run.metrics
    assert np.array_equal(again.model.flat, run.model.flat)
    z = np.random.default_rng(0).standard_normal((5, 2))
    assert np.array_equal(again.predict(z), run.predict(z))
    assert np.allclose(again.predict(z).sum(axis=1), 1.0, rtol=1e-14)
    assert np.array_equal(again.history()["action"], run.history()["action"])


def test_figures_can_be_drawn_again(command, run):
    paths = sorted((run.directory / "figures").iterdir())
    for path in paths:
        path.unlink()
    ended = command("plot", run.directory)
    assert ended.code == 0
    assert sorted(ended.out.split()) == [str(path) for path in paths]
    assert all(path.stat().st_size > 1000 for path in paths)


def test_fields_hold_the_weights_and_states(run):
    network, fields = run.model.network, run.directory / "fields"
    theta = run.model.parameters.theta
    wanted = {"kernel": theta[:, :, :4], "bias": theta[:, :, 4]}
    for name, values in wanted.items():
        assert ElementTree.parse(fields / f"{name}.xdmf").getroot().tag == "Xdmf"
        with h5py.File(fields / f"{name}.h5", driver="sec2") as file:
            points = file["Mesh/mesh/geometry"][()]
            (function,) = (file[f"Function/{key}"] for key in file["Function"])
            (step,) = (function[key][()].ravel() for key in function)
        place = [np.searchsorted(network.depth.nodes, points[:, 0] - 1e-12)]
        place += [np.rint(points[:, i]).astype(int) for i in range(1, values.ndim)]
        assert step.size == values.size
        assert np.array_equal(step, values[tuple(place)])
    with h5py.File(fields / "states.h5", driver="sec2") as file:
        assert len(file["Function/x"]) == 2  # one sample of every class


def test_command_and_function_are_the_same_thing(command, tiny, tmp_path):
    words = ("--set", "solve.iterations=10", "--set", "network.cells=2")
    command("train", tiny, "--out", tmp_path / "command", *words)
    values = tomllib.loads(TINY)
    values["solve"]["iterations"], values["network"]["cells"] = 10, 2
    run = fem_deepest.train(values, out=tmp_path / "function")
    assert timeless(tmp_path / "command") == timeless(tmp_path / "function")
    both = [read(tmp_path / name) for name in ("command", "function")]
    for value in both:
        del value["seconds"]
        for stage in value["stages"]:
            del stage["seconds"]
    assert both[0] == both[1]
    assert np.array_equal(Run.load(tmp_path / "command").model.flat, run.model.flat)


def test_default_directory_is_named_after_the_configuration(command, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("--set", "solve.iterations=1", "--set", "network.cells=2")
    assert command("train", tiny, *words).code == 3
    assert (tmp_path / "runs" / "tiny" / "run.json").exists()
    assert command("train", tiny, *words, "--set", "output.directory=elsewhere").code == 3
    assert (tmp_path / "elsewhere" / "run.json").exists()


def test_output_can_be_left_out(command, tiny, tmp_path):
    command("train", tiny, "--out", tmp_path / "out", "--set", "solve.iterations=1")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"run.json", "history.csv", "checkpoint.h5"}


def settings(*words):
    """Each word after its own --set."""
    return [word for setting in words for word in ("--set", setting)]


# How it ends -----------------------------------------------------------------------------------


def test_plain_lines_where_there_is_no_terminal(command, tiny, tmp_path):
    ended = command("train", tiny, "--out", tmp_path / "out")
    assert ended.code == 0
    assert ended.err == ""
    assert "\x1b" not in ended.out
    assert "\r" not in ended.out
    lines = ended.out.splitlines()
    assert lines[0].startswith("donut: 32 training and 8 test samples, 2 inputs, 2 outputs; 4 neur")
    assert re.match(r"converged: action 0\.\d+, train accuracy .*, test accuracy .*; ", lines[-1])
    steps = [line for line in lines if " -> " in line]
    assert len(steps) < 20 < len(history(tmp_path / "out"))
    assert re.search(
        r"lmvm +2 cells +1 gradients +action 0\.69\d* +\|gradient\| 1\.0e\+00 -> 1\.2e-02 +accuracy",
        steps[0],
    )


def test_what_did_not_converge_is_flagged(command, tiny, tmp_path):
    ended = command("train", tiny, "--out", tmp_path / "out", "--set", "solve.iterations=3")
    assert ended.code == 3
    assert ended.out.count("NOT CONVERGED") == 2
    assert ended.out.splitlines()[-1].startswith("not converged: action")
    assert not re.search(r"\bdone\b|^converged", ended.out, re.MULTILINE)
    values = read(tmp_path / "out")
    assert values["status"] == "not_converged"
    for stage in values["stages"]:
        assert (stage["converged"], stage["iterations"]) == (False, 3)
        assert stage["reason"] == "diverged_maxits"
        assert stage["gradient_relative"] > 1e-2
    assert values["metrics"]["action"] > 0  # the results are written


def test_newton_that_did_not_converge_is_flagged(command, tiny, tmp_path):
    words = settings(
        "solve.polish=true", "solve.polish_iterations=1", "solve.polish_tolerance=1e-13"
    )
    ended = command("train", tiny, "--out", tmp_path / "out", *words)
    assert ended.code == 3
    values = read(tmp_path / "out")
    assert [stage["converged"] for stage in values["stages"]] == [True, True, False]
    assert values["stages"][-1]["reason"] == "diverged_max_it"
    assert values["stages"][-1]["iterations"] == 1


@pytest.mark.parametrize("call", [5, 150])
def test_nan_keeps_the_last_good_iterate(command, tiny, tmp_path, monkeypatch, call):
    whole, calls = NetworkAction.gradient, []

    def gradient(self, u, g):
        calls.append(None)
        value = whole(self, u, g)
        return float("nan") if len(calls) == call else value

    monkeypatch.setattr(NetworkAction, "gradient", gradient)
    out = tmp_path / "out"
    ended = command("train", tiny, "--out", out)
    monkeypatch.undo()
    assert len(calls) == call
    assert ended.code == 4
    assert ended.err == ""
    assert "Numerical failure: the action is nan" in ended.out
    assert "last good iterate is kept" in ended.out
    assert ended.out.splitlines()[-1].startswith("failed: action")
    last, values, run = history(out)[-1], read(out), Run.load(out)
    assert values["status"] == run.status == "failed"
    assert values["metrics"]["action"] == pytest.approx(float(last["action"]), rel=1e-14)
    assert run.metrics["train_accuracy"] == float(last["score"])
    assert run.model.network.depth.cells == int(last["cells"])
    # The checkpoint is that iterate: going on from there works, at the same action.
    assert command("train", tiny, "--out", out, "--resume").code == 0
    assert last in history(out)


def test_implicit_stage_that_fails_ends_with_code_4(command, tiny, tmp_path):
    """Depth steps of length 2 with weights that grow: the midpoint stage has no solution nearby."""
    words = settings("network.scheme='midpoint'", "network.depth=4.0")
    ended = command("train", tiny, "--out", tmp_path / "out", *words)
    assert ended.code == 4
    assert "implicit stage did not converge" in ended.out
    values, rows = read(tmp_path / "out"), history(tmp_path / "out")
    assert values["status"] == "failed"
    assert values["metrics"]["action"] == pytest.approx(float(rows[-1]["action"]), rel=1e-12)
    z = np.zeros((1, 2))
    assert np.isfinite(Run.load(tmp_path / "out").predict(z)).all()


def test_a_start_whose_implicit_stage_fails_is_recorded(command, tiny, tmp_path):
    words = settings("network.scheme='midpoint'", "network.depth=8.0", "network.start=4.0")
    ended = command("train", tiny, "--out", tmp_path / "out", *words)
    assert ended.code == 4
    assert read(tmp_path / "out")["status"] == "failed"


def test_a_start_that_overflows_ends_with_code_4(command, tiny, tmp_path):
    words = settings("network.activation='softplus'", "network.start=1e200")
    with np.errstate(all="ignore"):
        ended = command("train", tiny, "--out", tmp_path / "out", *words)
    assert ended.code == 4
    assert read(tmp_path / "out")["status"] == "failed"


@pytest.mark.parametrize("precision", ["inf", "100.0"])
def test_weak_and_strong_model(command, tiny, tmp_path, precision):
    out = tmp_path / "out"
    assert command("train", tiny, "--out", out, "--set", f"action.R_f={precision}").code == 0
    for stage in read(out)["stages"]:
        assert stage["R_f"] == (None if precision == "inf" else 100.0)
        assert (stage["model"] > 0) == (precision != "inf")
        parts = stage["misfit"] + stage["model"] + stage["prior"]
        assert stage["action"] == pytest.approx(parts, rel=1e-14)


# PETSc options ---------------------------------------------------------------------------------


def test_solvers_take_petsc_options(tiny, tmp_path):
    words = ["train", tiny, "--out", tmp_path / "out", "--set", "solve.polish=true", "--"]
    words += ["-tao_monitor", "-tao_max_it", "5", "-ksp_converged_reason"]
    words += ["-snes_monitor", "-snes_type", "newtontr", "-snes_max_it", "4", "-options_left"]
    ended = start(*words)
    assert ended.returncode == 3, ended
    assert len(re.findall(r"^ +\d+ TAO,  Function value:", ended.stdout, re.MULTILINE)) == 2 * 6
    assert len(re.findall(r"^ +\d+ SNES Function norm", ended.stdout, re.MULTILINE)) == 5
    # Only the trust region ends its linear solves at a given length of step.
    assert "Linear solve converged due to CONVERGED_STEP_LENGTH" in ended.stdout
    assert "There are no unused options" in ended.stdout
    stages = read(tmp_path / "out")["stages"]
    assert [stage["reason"] for stage in stages] == ["diverged_maxits"] * 2 + ["diverged_max_it"]
    assert [stage["iterations"] for stage in stages] == [5, 5, 4]


@pytest.fixture
def petsc_option():
    """Sets PETSc options for one test."""
    options, names = PETSc.Options(), []

    def add(name, value):
        names.append(name)
        options.setValue(name, value)

    yield add
    for name in names:
        options.delValue(name)


@pytest.mark.parametrize("method", ["bqnls", "cg"])
def test_gradient_of_every_method_is_measured_in_the_dual_norm(
    command, tiny, tmp_path, petsc_option, method
):
    words = ("--set", "solve.iterations=3")
    command("train", tiny, "--out", tmp_path / "lmvm", *words)
    petsc_option("tao_type", method)
    command("train", tiny, "--out", tmp_path / method, *words)
    ours, theirs = (float(history(tmp_path / name)[0]["gradient"]) for name in ("lmvm", method))
    assert theirs == pytest.approx(ours, rel=1e-10)
