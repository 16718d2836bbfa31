"""The verb that samples: run directory, numbers, refusals."""

from __future__ import annotations

import csv
import importlib.util
import json
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
from launch import DEMOS
from mpi4py import MPI

import fem_deepest
from fem_deepest.cli.plot import plot
from fem_deepest.cli.sample import sample_posterior
from fem_deepest.errors import InputError

SMALL = [
    "chains.draws=200",
    "bridge.cells=32",
    "chains.chains=16",
    "check.ess=200",
    "check.r_hat=1.05",
]


class Notes:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)

    def step(self, progress) -> None:
        raise AssertionError


def test_the_demo_in_reduced_size(tmp_path: Path) -> None:
    notes = Notes()
    out = tmp_path / "out"
    run = sample_posterior(
        DEMOS / "bridge.toml", out=out, settings=[*SMALL, "chains.paths=true"], reporter=notes
    )
    assert run.status == "converged"
    assert run.exit_code == 0
    row = run.diagnostics["middle_square"]
    assert abs(row["mean"] - 0.55430) < 3 * row["mcse_mean"] + 0.002  # 0.002: 32 cells
    assert row["mcse_mean"] < 0.03
    values = json.loads((out / "run.json").read_text())
    assert values["verb"] == "sample"
    assert values["status"] == "converged"
    assert values["metrics"]["r_hat"] < 1.05
    assert values["config"]["chains"]["warmup"] == 300  # a default filled in
    with (out / "diagnostics.csv").open() as file:
        rows = {r["quantity"]: r for r in csv.DictReader(file)}
    assert float(rows["middle_square"]["mean"]) == pytest.approx(row["mean"], rel=1e-12)
    # 16 chains of 200 iterations with three gradients each.
    share = float(rows["middle"]["ess_bulk"]) / (16 * 200 * 3)
    assert float(rows["middle"]["ess_per_gradient"]) == pytest.approx(share, rel=1e-12)
    with h5py.File(out / "chains.nc") as file:
        path, middle = file["posterior/path"][()], file["posterior/middle"][()]
        t = file["posterior/t"][()]
    np.testing.assert_allclose(t, np.linspace(0, 2, 33), rtol=0, atol=1e-15)
    assert path.shape == (16, 200, 33)
    np.testing.assert_array_equal(path[:, :, 16], middle)
    np.testing.assert_array_equal(path[:, :, 0], -1.0)
    assert any("ESS" in line for line in notes.lines)
    for figure in plot(out):
        assert figure.stat().st_size > 10_000
    with pytest.raises(InputError, match="not empty"):
        sample_posterior(DEMOS / "bridge.toml", out=out)
    (out / "chains.nc").unlink()
    with pytest.raises(InputError, match="run it to its end"):
        plot(out)


def test_chains_that_are_too_short_have_not_converged(tmp_path: Path) -> None:
    notes = Notes()
    run = sample_posterior(
        {"sampler": {"kernel": "random_walk"}},
        out=tmp_path / "out",
        settings=["chains.draws=20", "chains.chains=4", "chains.warmup=20", "output.figures=false"],
        reporter=notes,
        comm=MPI.COMM_SELF,
    )
    assert run.status == "not_converged"
    assert run.exit_code == 3
    assert any(line.startswith("NOT CONVERGED") for line in notes.lines)
    assert (tmp_path / "out" / "chains.nc").exists()
    assert np.isnan(run.diagnostics["middle"]["ess_per_gradient"])


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("bridge.measure=sde", "needs a drift"),
        ("bridge.cells=31", "multiple of 2"),
        ("sampler.kernel=nuts", "nuts"),
        ("sampler.theta=2.0", "theta"),
        ("chains.drows=5", "draws"),
        ("check.r_hat=0.9", "r_hat"),
    ],
)
def test_bad_input(tmp_path: Path, setting: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        sample_posterior({}, out=tmp_path / "out", settings=[setting])
    assert not (tmp_path / "out").exists()


def test_study_of_the_acceptance(tmp_path: Path) -> None:
    sizes = ["study.values=[32,256]", "study.chains=16", "study.iterations=150"]
    run = fem_deepest.study(DEMOS / "acceptance.toml", out=tmp_path / "out", settings=sizes)
    assert run.status == "converged", run.failures
    assert (tmp_path / "out" / "figures" / "acceptance.png").stat().st_size > 10_000
    columns = run.table.others
    assert columns["random_walk"][1] < 0.3 < columns["random_walk"][0]
    assert columns["spde_mala_implicit"][1] < 1e-3


def test_study_says_what_is_not_flat(tmp_path: Path) -> None:
    config = {
        "study": {"name": "acceptance", "values": [8, 16], "kernels": ["pcn", "random_walk"]},
        "rates": {"flat": 0.02, "known": {"pcn": 0.3}},
    }
    sizes = ["study.chains=8", "study.iterations=20", "output.figures=false"]
    run = fem_deepest.study(config, out=tmp_path / "out", settings=sizes)
    assert run.status == "not_converged"
    assert any("pcn" in line and "0.3" in line for line in run.failures)
    assert any("random_walk" in line and "fall" in line for line in run.failures)


def test_demo_of_the_two_measures() -> None:
    """Six estimates within four standard errors of the exact numbers of their meshes."""
    spec = importlib.util.spec_from_file_location("bridge_measures", DEMOS / "bridge_measures.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    assert demo.main(draws=200, cells=(16, 32)) < 4.0
    # The gradient written by hand: Taylor.
    target, gen = demo.EulerAction(8), np.random.default_rng(0)
    v, d = gen.standard_normal((2, 7, 3))
    value, g = target.gradient(v)
    errors = [
        abs(target.potential(v + h * d) - value - h * np.sum(g * d, axis=0)) for h in (1e-2, 5e-3)
    ]
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 2.0, atol=0.1)


def test_damaged_chains_go_on_from_those_before(tmp_path: Path) -> None:
    few = ["chains.draws=220", "bridge.cells=8", "chains.chains=4", "chains.batch=2"]
    few += ["output.figures=false", "output.checkpoint_minutes=0", "check.ess=1", "check.r_hat=9"]
    whole = sample_posterior({}, out=tmp_path / "out", settings=few, comm=MPI.COMM_SELF)
    path, notes = tmp_path / "out" / "batches" / "chains000002.npz", Notes()
    content = path.read_bytes()
    path.write_bytes(content[:1000] + b"?" + content[1001:])

    def resume():
        return sample_posterior(
            {}, out=tmp_path / "out", settings=few, comm=MPI.COMM_SELF, resume=True, reporter=notes
        )

    run = resume()
    told = [line for line in notes.lines if "not a whole checkpoint" in line]
    assert len(told) == 1 and told[0].startswith(f"{path} is not")
    for name, values in whole.chains.values.items():
        np.testing.assert_array_equal(run.chains.values[name], values)
    assert path.read_bytes() == content
    # Where both are damaged, it says what to do about it.
    path.with_name("chains000002.previous.npz").unlink()
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"chains000002.npz is not a whole .*; remove it"):
        resume()


def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """Asked to stop in the second batch, then resumed with the file of the first as it was."""
    few = ["chains.draws=250", "bridge.cells=16", "chains.chains=6", "chains.batch=3"]
    few += ["output.figures=false", "chains.relax=50", "chains.warmup=50", "check.ess=20"]
    few += ["check.r_hat=1.5"]
    whole = sample_posterior({}, out=tmp_path / "whole", settings=few, comm=MPI.COMM_SELF)

    class Stop(Notes):
        def note(self, message: str) -> None:
            super().note(message)
            if message.startswith("batch 0"):
                signal.raise_signal(signal.SIGTERM)

    def go(**more):
        return sample_posterior({}, out=tmp_path / "out", comm=MPI.COMM_SELF, **more)

    run = go(settings=few, reporter=Stop())
    assert run.status == "interrupted"
    assert run.exit_code == 130
    assert run.chains is None
    first = (tmp_path / "out" / "batches" / "chains000000.npz").stat()
    for wrong, reason in (("seed=3", "seed = 0"), ("chains.draws=100", "as many or more")):
        with pytest.raises(InputError, match=reason):
            go(settings=[*few, wrong], resume=True)
    longer = [*few, "chains.draws=330"]
    run = go(settings=longer, resume=True)
    assert run.status == "converged"
    assert first.st_size < (tmp_path / "out" / "batches" / "chains000000.npz").stat().st_size
    for name, x in whole.chains.values.items():
        np.testing.assert_array_equal(run.chains.values[name][:, :250], x)
        assert run.chains.values[name].shape == (6, 330)
    np.testing.assert_array_equal(run.chains.steps, whole.chains.steps)
    again = go(settings=longer, resume=True)
    np.testing.assert_array_equal(again.chains.acceptance, run.chains.acceptance)
    with pytest.raises(InputError, match="holds no chains"):
        sample_posterior({}, out=tmp_path / "empty", resume=True, comm=MPI.COMM_SELF)
