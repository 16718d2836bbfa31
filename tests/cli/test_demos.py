"""Every configuration of demos/ does what its comments say; the larger ones in reduced size."""

from __future__ import annotations

import csv
import importlib.util
import math

import pytest
from launch import DEMOS

import fem_deepest

QUIET = ["output.figures=false", "output.fields=false"]
# Fewer layers and samples and a coarse tolerance; in full size peaks reaches 0.995, the Swiss roll 1.
REDUCED = {
    "digits": (["network.cells=4", "solve.tolerance=2e-2"], 0.93),
    "toy_peaks": (["network.cells=4", "data.samples=500", "solve.tolerance=1e-2"], 0.9),
    "toy_swiss_roll": (["network.cells=4", "data.samples=300", "solve.tolerance=2e-2"], 0.9),
}
STATIONARY = ["toy_donut", "toy_spiral", "toy_squares"]


def test_every_demo_is_here():
    here = {*REDUCED, *STATIONARY, "own_data", "lorenz96", "user_dynamics", "twin", "allen_cahn"}
    here |= {"bridge"}
    studies = {path.stem for path in DEMOS.glob("*.toml") if "[study]" in path.read_text()}
    # Their own tests are in test_demos_study.py.
    assert {path.stem for path in DEMOS.glob("*.toml")} - studies <= here


@pytest.mark.parametrize("name", STATIONARY)
def test_toys_reach_a_stationary_point_and_full_accuracy(tmp_path, name):
    """The whole claim, in full size."""
    run = fem_deepest.train(DEMOS / f"{name}.toml", out=tmp_path / "out", settings=QUIET)
    assert run.config.network.neurons <= 16
    assert run.metrics["test_accuracy"] >= 0.99
    assert run.status == "converged"
    assert {stage["stage"] for stage in run.stages[:-1]} == {"lmvm"}
    assert run.stages[-1]["stage"] == "newton"
    assert all(stage["converged"] for stage in run.stages)
    assert run.stages[-1]["gradient_relative"] <= 1e-8


@pytest.mark.parametrize("name", REDUCED)
def test_demo_in_reduced_size(tmp_path, name):
    if not (DEMOS / f"{name}.toml").exists():
        pytest.skip("not in this checkout")
    settings, accuracy = REDUCED[name]
    run = fem_deepest.train(
        DEMOS / f"{name}.toml", out=tmp_path / "out", settings=[*QUIET, *settings]
    )
    assert run.status == "converged"
    assert run.metrics["test_accuracy"] >= accuracy


def test_own_data(tmp_path):
    """The dew point to 0.2 degrees, where a plane fitted to the same data is off by two."""
    run = fem_deepest.train(DEMOS / "own_data.toml", out=tmp_path / "out", settings=QUIET)
    assert run.status == "converged"
    assert run.metrics["test_rmse"] < 0.2


def test_own_data_is_the_formula_of_its_comments():
    with (DEMOS / "own_data.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 200
    for row in rows:
        temperature, humidity = float(row["temperature"]), float(row["humidity"])
        assert -10 <= temperature <= 40
        assert 10 <= humidity <= 100
        g = math.log(humidity / 100) + 17.62 * temperature / (243.12 + temperature)
        assert abs(243.12 * g / (17.62 - g) - float(row["dew_point"])) <= 0.05 + 1e-9


def literate(name):
    """A demo as a module."""
    spec = importlib.util.spec_from_file_location(name, DEMOS / f"{name}.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    return demo


def test_lowest_path_of_lorenz_96_has_the_true_forcing(tmp_path):
    """The literate demo, with 6 paths and fewer precisions; f is known to about 0.1."""
    few = ["anneal.alpha=32.0", "anneal.rungs=6"]
    f = literate("lorenz96").main(paths=6, settings=few, out=tmp_path)
    assert abs(f - 8.17) < 0.1
    for name in ("levels", "path"):
        assert (tmp_path / f"lorenz96_{name}.png").stat().st_size > 10_000


def test_nested_iteration_saves_work(tmp_path):
    """The literate demo, on 8 layers of 16 neurons."""
    demo = literate("nested_depth")
    ratio = demo.main(cells=8, neurons=16, tolerance=3e-3, out=tmp_path / "work.png")
    assert 0.0 < ratio < 0.8
    assert (tmp_path / "work.png").stat().st_size > 10_000


def test_as_many_solutions_as_theory_says(tmp_path):
    """The literate demo with few parameters; it compares every count and every Morse index itself."""
    out = tmp_path / "bratu.png"
    error = literate("bratu").main(cells=32, bratu_values=3, bridge_values=4, out=out)
    assert error < 3e-5  # the order is four: 16 times what 64 cells give
    assert out.stat().st_size > 10_000


def test_energy_of_two_gauss_points_drifts_at_order_four(tmp_path):
    """The literate demo on a shorter depth."""
    out = tmp_path / "phase.png"
    assert abs(literate("phase_flow").main(steps=60, depth=6.0, out=out) - 4.0) < 0.1
    assert out.stat().st_size > 10_000


def test_minima_of_a_small_network(tmp_path):
    """The literate demo with a third of the starts: giving up is logistic regression to a thousandth."""
    out = tmp_path / "minima.png"
    assert literate("spiral_minima").main(starts=33, out=out) == pytest.approx(1.0, abs=2e-3)
    assert out.stat().st_size > 10_000


def test_twin_experiments(tmp_path, capsys):
    """The literate demo, with few layers and pairs."""
    ratio = literate("twin").main(
        layers=(10,),
        pairs=(1, 40),
        cells=(5, 10),
        finest=40,
        ladder=(1.0, 1e2, 1e4),
        out=tmp_path / "twin.png",
    )
    assert 0.1 < ratio < 0.6  # 0.38 in 20 layers; the constant predictor is 1
    printed = capsys.readouterr().out
    assert "0.26034" in printed
    assert "0.33488" in printed
    assert (tmp_path / "twin.png").stat().st_size > 10_000


def test_energy_of_separated_phases_is_that_of_their_interfaces(tmp_path):
    """The literate demo with wide interfaces on a coarse mesh; 1.003 in full size."""
    settings = ["mesh.cells=48", "equation.diffusion=8e-4", "noise.length=0.1", "time.T=12"]
    out = tmp_path / "allen_cahn.png"
    settings += ["time.steps=240", "output.frames=6", "output.figures=false"]
    assert abs(literate("allen_cahn").main(tuple(settings), out=out) - 1.0) < 0.03
    assert out.stat().st_size > 10_000
    assert out.with_suffix(".gif").stat().st_size > 10_000
