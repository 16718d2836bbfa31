"""The verb that samples, for posteriors of networks and paths: run directory, resumption, refusals."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from launch import DEMOS, start
from mpi4py import MPI

import fem_deepest
from fem_deepest.cli.plot import plot
from fem_deepest.cli.sample import sample_posterior
from fem_deepest.errors import InputError
from fem_deepest.runs.train import load_data

SMALL = """
[posterior]
train = "network.toml"

[sampler]
steps = 4

[chains]
chains = 4
batch = 2
relax = 30
warmup = 30
draws = 40

[check]
r_hat = 10.0
ess = 1.0
"""
NETWORK = """
[data]
name = "donut"
samples = 60
test_fraction = 0.5

[network]
neurons = 3
cells = 2

[action]
lambda = 0.02
"""
PATH = """
[data]
name = "twin"
components = [0, 1]
times = 21
interval = 0.02
noise = 0.5

[dynamics]
name = "lorenz63"

[bounds]
states = [-30.0, 50.0]
parameters = [0.0, 60.0]

[anneal]
paths = 3
batch = 2
R_f0 = 0.01
alpha = 10.0
rungs = 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(SMALL)
    (tmp_path / "network.toml").write_text(NETWORK)
    (tmp_path / "path.toml").write_text(PATH)
    (tmp_path / "other.csv").write_text("x,label\n0.5,0\n0.7,1\n")
    (tmp_path / "of_path.toml").write_text(SMALL.replace('train = "network', 'anneal = "path'))
    return tmp_path


def values(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path / "chains.nc") as file:
        return {name: file["posterior"][name][()] for name in file["posterior"]}


def test_posterior_of_a_classifier(folder: Path) -> None:
    out = folder / "out"
    run = sample_posterior(folder / "small.toml", out=out)
    assert run.status == "converged"
    known = json.loads((out / "run.json").read_text())["metrics"]
    # The scores once more, from the table of probabilities.
    with (out / "predictive.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    right = np.array([int(row["class"]) for row in rows])
    for kind in ("point", "posterior"):
        p = np.array([[float(row[f"{kind} {c}"]) for c in "01"] for row in rows])
        np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-12)
        assert known[f"test_accuracy_{kind}"] == np.mean(p.argmax(axis=1) == right)
        nlpd = -np.mean(np.log(p[np.arange(30), right]))
        assert known[f"test_nlpd_{kind}"] == pytest.approx(nlpd, rel=1e-12)
        assert 0.0 <= known[f"test_calibration_error_{kind}"] <= 1.0
    # The point estimate is that of the training.
    trained = fem_deepest.train(folder / "network.toml", out=folder / "trained")
    assert known["test_accuracy_point"] == trained.metrics["test_accuracy"]
    kept = values(out)
    assert kept["weights"].shape == (4, 40, trained.model.flat.size)
    # A draw predicts as a model with its weights does.
    inputs = load_data(trained.config)[1].inputs
    p = [replace(trained.model, flat=w).predict(inputs) for w in kept["weights"].reshape(160, -1)]
    table = np.array([[float(row[f"posterior {c}"]) for c in "01"] for row in rows])
    np.testing.assert_allclose(table, np.mean(p, axis=0), rtol=0, atol=1e-12)
    assert {path.name for path in plot(out)} == {"trace.png", "calibration.png"}
    for path in (out / "figures").iterdir():
        assert path.stat().st_size > 10_000
    # From a run directory the chains start at its weights: the same run.
    again = sample_posterior(
        {**run.config.model_dump(), "posterior": {"run": str(folder / "trained")}},
        out=folder / "again",
        settings=["output.figures=false"],
    )
    np.testing.assert_array_equal(again.chains.values["weights"], kept["weights"])


def test_posterior_of_a_path(folder: Path) -> None:
    out = folder / "out"
    run = sample_posterior(folder / "of_path.toml", out=out, settings=["posterior.R_f=5.0"])
    assert run.status == "converged"
    kept = values(out)
    assert kept["x"].shape == (4, 40, 21, 3)
    assert kept["w"].shape == (4, 40, 3)
    for name in ("s", "r", "b"):
        assert name in run.diagnostics
    with (out / "predictive.csv").open() as file:
        rows = list(csv.DictReader(file))
    mean = [float(row["x1 mean"]) for row in rows]
    np.testing.assert_allclose(mean, kept["x"][..., 1].mean(axis=(0, 1)), rtol=1e-12)
    assert float(rows[4]["x2 q05"]) < float(rows[4]["x2 q95"])
    assert 0.0 < run.metrics["state_rmse"] < 5.0
    assert {path.name for path in plot(out)} == {"trace.png", "states.png"}
    # The same from the run directory of an annealing, whose last rung is not below.
    fem_deepest.anneal(folder / "path.toml", out=folder / "annealed")
    config = {**run.config.model_dump(), "posterior": {"run": str(folder / "annealed"), "R_f": 5.0}}
    again = sample_posterior(config, out=folder / "again", settings=["output.figures=false"])
    lowest, other = (
        np.load(folder / name / "batches" / "start.npz")["action"] for name in ("out", "again")
    )
    np.testing.assert_allclose(other, lowest, rtol=1e-6)
    assert again.status == "converged"


def test_interrupted_posterior_goes_on_bit_for_bit(folder: Path) -> None:
    def go(out: str, **more):
        settings = ["output.figures=false"]
        return sample_posterior(
            folder / "small.toml", out=folder / out, settings=settings, comm=MPI.COMM_SELF, **more
        )

    class Stop:
        def note(self, message: str) -> None:
            if message.startswith("batch 0"):
                signal.raise_signal(signal.SIGTERM)

        def step(self, progress) -> None:
            raise AssertionError

    whole = go("whole")
    assert go("part", reporter=Stop()).status == "interrupted"
    start = (folder / "part" / "batches" / "start.npz").stat().st_mtime_ns
    rest = go("part", resume=True)
    np.testing.assert_array_equal(rest.chains.values["weights"], whole.chains.values["weights"])
    assert rest.metrics == whole.metrics
    assert (folder / "part" / "batches" / "start.npz").stat().st_mtime_ns == start
    # Another network is another posterior, though the configuration of the sampling is the same.
    (folder / "network.toml").write_text(NETWORK.replace("0.02", "0.03"))
    with pytest.raises(InputError, match=r"lambda.*0.02"):
        go("part", resume=True)


def test_ranks_do_not_change_a_bit(folder: Path) -> None:
    quiet = "output.figures=false"
    for name in ("small", "of_path"):
        many, one = folder / f"many_{name}", folder / f"one_{name}"
        config = folder / f"{name}.toml"
        done = start("sample", config, "--out", many, "--set", quiet, ranks=2)
        assert done.returncode == 0, done.stderr
        sample_posterior(config, out=one, settings=[quiet], comm=MPI.COMM_SELF)
        for key, x in values(one).items():
            np.testing.assert_array_equal(x, values(many)[key])


@pytest.mark.parametrize(
    ("name", "setting", "reason"),
    [
        ("small", "bridge.cells=8", "two measures"),
        ("small", "posterior.anneal=path.toml", "one of them"),
        ("small", "posterior.R_f=2.0", "precision of a path"),
        ("small", "posterior.train=nowhere.toml", "no configuration file"),
        ("small", 'posterior.settings=["action.R_f=3.0"]', "R_f = R_0 = inf"),
        ("small", 'posterior.settings=["action.loss=least_squares"]', "no probabilities"),
        ("small", 'posterior.settings=["solve.method=sgd"]', "out of 30 samples"),
        ("small", 'posterior.settings=["search.steps=5"]', "posterior.run"),
        ("small", "posterior.fresh=nowhere.csv", "nowhere.csv"),
        ("small", "posterior.fresh=other.csv", "same columns"),
        ("small", "posterior.temperature=0.0", "temperature"),
        ("small", "sampler.kernel=spde_mala", "spde_mala"),
        ("of_path", "posterior.rank=5", "for networks"),
        ("of_path", 'posterior.settings=["action.normalisation=minaone"]', "integral"),
        ("of_path", 'posterior.settings=["ends.start=clamped"]', "start_value"),
        ("of_path", 'posterior.settings=["search.rungs=[0]"]', "posterior.run"),
    ],
)
def test_bad_input(folder: Path, command, name: str, setting: str, reason: str) -> None:
    config, out = folder / f"{name}.toml", folder / "no"
    ended = command("sample", config, "--out", out, "--set", setting)
    assert ended.code == 2
    assert reason in ended.err
    assert not out.exists()


def test_a_refused_resumption_leaves_everything_as_it_was(folder: Path, command) -> None:
    out = folder / "out"
    assert command("sample", folder / "small.toml", "--out", out).code == 0
    batch = out / "batches" / "chains000002.npz"

    def contents() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    before = contents()
    ended = command(
        "sample", folder / "small.toml", "--out", out, "--resume", "--set", "chains.draws=20"
    )
    assert ended.code == 2 and "40 iterations" in ended.err
    assert contents() == before
    batch.write_bytes(b"nothing")
    before = contents()
    ended = command("sample", folder / "small.toml", "--out", out, "--resume")
    assert ended.code == 2 and "chains000002.npz is not a whole checkpoint" in ended.err
    assert contents() == before


def test_a_point_estimate_that_is_no_minimum_is_named(folder: Path, command) -> None:
    """The chains are right wherever they start, but what they are compared with is not."""
    out, few = folder / "out", ("--set", 'posterior.settings=["solve.iterations=1"]')
    ended = command("sample", folder / "small.toml", "--out", out, *few)
    assert ended.code == 3
    assert "no minimum" in ended.out and "take more draws" not in ended.out
    assert json.loads((out / "run.json").read_text())["status"] == "not_converged"


def test_a_run_goes_on_where_it_has_been_moved_to(folder: Path, command) -> None:
    """Chains belong to what their files say, not to where these are."""
    here, there = folder / "here", folder / "there"
    here.mkdir()
    for name in ("small.toml", "network.toml"):
        (folder / name).rename(here / name)
    assert command("sample", here / "small.toml", "--out", here / "out").code == 0
    here.rename(there)
    more = ("--resume", "--set", "chains.draws=50")
    ended = command("sample", there / "small.toml", "--out", there / "out", *more)
    assert ended.code == 0, ended.err
    other = ("--resume", "--set", 'posterior.settings=["action.lambda=0.1"]')
    ended = command("sample", there / "small.toml", "--out", there / "out", *other)
    assert ended.code == 2 and "lambda" in ended.err


def test_figures_that_cannot_be_written_hold_up_no_rank(folder: Path) -> None:
    """The run is complete; only its figures are missed."""
    out = folder / "out"
    out.mkdir()
    (out / "figures").write_text("a file, where the folder should be")
    ended = start("sample", folder / "small.toml", "--out", out, "--force", ranks=2)
    assert ended.returncode == 2
    assert "the run is complete, but its figures are not" in ended.stderr
    assert json.loads((out / "run.json").read_text())["status"] == "converged"
    assert (out / "chains.nc").exists()


def test_directories_that_hold_no_posterior(folder: Path) -> None:
    with pytest.raises(InputError, match="no run"):
        sample_posterior({"posterior": {"run": str(folder)}}, out=folder / "no")
    with pytest.raises(InputError, match="of networks"):
        sample_posterior({"posterior": {"anneal": str(DEMOS / "twin.toml")}}, out=folder / "no")
