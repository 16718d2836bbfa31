"""Every configuration of demos/ does what its comments say; the larger ones in reduced size."""

from __future__ import annotations

import csv
import importlib.util
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from launch import DEMOS

import fem_deepest
from fem_deepest.cli.sample import sample_posterior
from fem_deepest.configuration.train import load
from fem_deepest.runs.network import make_network
from fem_deepest.spaces import Resolution

QUIET = ["output.figures=false", "output.fields=false"]
# Fewer layers and samples and a coarse tolerance; in full size peaks reaches 0.995, the Swiss roll 1.
REDUCED = {
    "digits": (["network.cells=4", "solve.tolerance=2e-2"], 0.93),
    "digits_image": (
        ["network.channels=6", "data.test_fraction=0.5", "solve.tolerance=1e-2"],
        0.96,
    ),
    "breast_cancer": (["network.cells=2"], 0.95),
    "toy_peaks": (["network.cells=4", "data.samples=500", "solve.tolerance=1e-2"], 0.9),
    "toy_swiss_roll": (["network.cells=4", "data.samples=300", "solve.tolerance=2e-2"], 0.9),
}
STATIONARY = ["toy_donut", "toy_spiral", "toy_squares"]


def test_every_demo_is_here():
    here = {*REDUCED, *STATIONARY, "own_data", "lorenz96", "user_dynamics", "twin", "allen_cahn"}
    here |= {"bridge", "flow_double_well", "digits_noise", "lorenz96_noise", "contour", "diabetes"}
    here |= {"bridge", "regression", "posterior_regression", "posterior_digits", "posterior_path"}
    here |= {"refine_neurons", "large"}
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


def test_images_take_a_fifth_of_the_parameters():
    sizes = []
    for name in ("digits", "digits_image"):
        config = load(DEMOS / f"{name}.toml")
        network = make_network(config, 64, 10, Resolution(*config.levels[-1]))
        sizes.append(network.shapes.size)
    assert sizes == [17 * 64 * 65 + 650, 3 * 12 * (12 * 6 + 1) + 10 * (12 * 64 + 1)]
    assert 5 * sizes[1] <= sizes[0]


def test_diabetes(tmp_path):
    """On this split: a network that says the mean is wrong by 77, ridge regression by 58.6."""
    run = fem_deepest.train(DEMOS / "diabetes.toml", out=tmp_path / "out", settings=QUIET)
    assert run.status == "converged"
    assert run.metrics["test_rmse"] < 60.0


def test_medical_tables_are_compared(tmp_path, capsys):
    """The literate demo with one split and few strengths; no model is much better than another."""
    demo = literate("tables")
    few = [replace(task, strengths=task.strengths[2:4]) for task in demo.TASKS]
    out = tmp_path / "tables.png"
    scores = demo.main(few, splits=1, out=out)
    printed = capsys.readouterr().out
    assert printed.count("minus linear") == 2
    assert printed.count("not converged: none") == 2
    for model in demo.MODELS:
        assert abs(scores["diabetes"][model][0] / scores["diabetes"]["linear"][0] - 1.0) < 0.05
        assert scores["breast_cancer"][model][0] > 0.95
    assert out.stat().st_size > 10_000


def test_a_table_names_fits_that_did_not_converge(capsys, monkeypatch):
    """Of ridge regression, which cannot fail, one fit in the tuning and the last one are said to."""
    demo = literate("tables")
    task, calls = replace(demo.TASKS[0], strengths=(0.1, 0.3)), []

    def doubtful(*arguments):
        calls.append(arguments)
        return replace(demo.linear(*arguments), converged=len(calls) == 1)

    monkeypatch.setattr(demo, "MODELS", ("linear", "flow"))
    monkeypatch.setattr(demo, "FIT", {"linear": demo.linear, "flow": doubtful})
    demo.main([task], splits=1)
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("    not converged: 2")
    assert lines[at + 1].strip() == "flow, split 0, tuning with lambda 0.3"
    assert re.fullmatch(r" *flow, split 0, lambda 0\.[13]: IN THE SCORES ABOVE", lines[at + 2])


def test_a_front_crosses_a_network_at_the_right_speed(tmp_path, capsys):
    """The literate demo on coarse meshes: order two in the step, 1.97 on the finest in full size."""
    out = tmp_path / "field.png"
    order = literate("neural_field").main((50, 100, 200), (50,), 1000, 9, out=out)
    assert abs(order - 2.0) < 0.06  # 1.95; the next term of the gain is of order four
    printed = capsys.readouterr().out
    kept = re.search(r"up to ([0-9.]+) are forgotten, from ([0-9.]+) kept", printed)
    ends = re.search(r"end at ([0-9.]+) to ([0-9.]+);", printed)
    # Roots of l exp(-l) = 1/4.
    assert float(kept[1]) < 0.3574 < float(kept[2])
    assert 2.14 < float(ends[1]) < 2.1533 < float(ends[2]) < 2.17
    assert out.stat().st_size > 10_000


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
    sys.modules[name] = demo  # data classes look their module up
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


def test_placed_layers_are_worth_more_than_equal_ones(tmp_path):
    """The literate demo with the spiral alone, half as fine; in full size 32 layers do for 64, or 96."""
    out = tmp_path / "adaptivity.png"
    demo = literate("adaptivity")
    layers = [16, 24, 32, 48]
    ratio = demo.main(("spiral",), 64, layers, {"spiral": 0.5}, out=out)
    assert ratio <= 0.75
    assert out.stat().st_size > 10_000


def test_few_layers_of_a_field_are_enough(tmp_path):
    """The literate demo with fields of 8 layers; 4 and 16 of 64 in full size."""
    out = tmp_path / "layers.png"
    fewest = literate("layers").main(cells=8, out=out)
    assert fewest["digits"] in (2, 4)
    assert fewest["spiral"] == 8
    assert out.stat().st_size > 10_000


def test_fewer_neurons_first(tmp_path):
    """The literate demo, on 33 neurons; what it saves is a time, and measured in benchmarks."""
    demo = literate("refine_neurons")
    settings = ["data.test_fraction=0.9", "solve.tolerance=5e-2"]
    ratio = demo.main((2, 4), (9, 17, 33), settings, tmp_path / "seconds.png")
    assert 0.0 < ratio < np.inf
    assert (tmp_path / "seconds.png").stat().st_size > 10_000


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


def test_noise_leads_contours_out_of_their_first_object(tmp_path):
    """The literate demo with six seeds on a coarse mesh, and the image that this shows."""
    demo = literate("contours")
    demo.TASKS = demo.TASKS[1:2]
    out = tmp_path / "contours.png"
    assert demo.main(seeds=6, cells=24, circle_samples=16, circle_cells=24, out=out) >= 0.5
    for name in ("contours", "contours_circle"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_contour_finds_the_objects(tmp_path):
    """The configuration of the comments with fewer steps on a coarser mesh; 0.93 in full size."""
    settings = ["output.figures=false", "mesh.cells=32", "time.steps=100"]
    found = fem_deepest.flow(DEMOS / "contour.toml", out=tmp_path / "out", settings=settings)
    settings.append("noise.covariance=none")
    alone = fem_deepest.flow(DEMOS / "contour.toml", out=tmp_path / "alone", settings=settings)
    assert found.status == alone.status == "converged"
    assert found.metrics["energy"] < alone.metrics["energy"]
    assert found.metrics["dice"] > alone.metrics["dice"] + 0.2


def test_noise_leads_out_of_the_wrong_well(tmp_path):
    """In full size: descent alone ends at the action 0.0494."""
    run = fem_deepest.flow(DEMOS / "flow_double_well.toml", out=tmp_path / "out", settings=QUIET)
    assert run.status == "converged"
    # The constant minimisers are the roots of u^3 - u - tilt.
    left, _, right = sorted(np.roots([1.0, 0.0, -1.0, -0.05]).real)
    well = [0.25 * (u**2 - 1.0) ** 2 - 0.05 * u for u in (left, right)]
    assert well[0] == pytest.approx(0.0494, abs=1e-4)
    assert run.actions.min() == pytest.approx(well[1], rel=1e-8)


def test_noise_before_a_training(tmp_path):
    """One replica and few steps; in full size both end at the action 0.0501."""
    settings = [*QUIET, "search.steps=40", "search.replicas=1", "network.cells=4"]
    run = fem_deepest.train(DEMOS / "digits_noise.toml", out=tmp_path / "out", settings=settings)
    assert run.status == "converged"
    assert [stage["stage"] for stage in run.stages] == ["noise", "lmvm", "lmvm"]
    assert run.metrics["test_accuracy"] > 0.9


def test_noise_and_precision_annealing(tmp_path):
    """Six of the twenty paths: two of them end too high without noise, none with it."""
    settings = ["output.figures=false", "anneal.paths=6"]
    demo = DEMOS / "lorenz96_noise.toml"
    run = fem_deepest.anneal(demo, out=tmp_path / "noise", settings=settings)
    still = fem_deepest.anneal(
        demo, out=tmp_path / "still", settings=[*settings, "search.rungs=[]"]
    )
    assert still.metrics["fraction"] == pytest.approx(4 / 6)
    assert run.metrics["fraction"] == 1.0


def test_regression_with_a_gap(tmp_path):
    """Training alone; 0.2 is the deviation of the noise."""
    run = fem_deepest.train(DEMOS / "regression.toml", out=tmp_path / "out", settings=QUIET)
    assert run.status == "converged"
    assert 0.1 < run.metrics["train_rmse"] < 0.25


def test_a_posterior_knows_where_it_has_no_data(tmp_path):
    """Few draws: calibrated on fresh samples where the point estimate is too sure, wide in the gap."""
    few = ["chains.chains=8", "chains.warmup=150", "chains.draws=150", "sampler.steps=20"]
    out = tmp_path / "out"
    run = sample_posterior(DEMOS / "posterior_regression.toml", out=out, settings=few)
    metrics = run.metrics
    assert metrics["fresh_coverage_90_point"] < 0.87
    assert abs(metrics["fresh_coverage_90_posterior"] - 0.9) < 0.04
    assert metrics["r_hat"] < 2.0
    with (out / "predictive.csv").open(newline="") as file:
        rows = [(float(r["x"]), float(r["deviation"])) for r in csv.DictReader(file)]
    gap = [d for x, d in rows if abs(x) < 0.2]
    rest = [d for x, d in rows if 0.6 < abs(x) < 1.8]
    assert sum(gap) / len(gap) > 1.5 * sum(rest) / len(rest) > 1.5 * 0.2
    for name in ("trace", "calibration", "predictive"):
        assert (out / "figures" / f"{name}.png").stat().st_size > 10_000


def test_posterior_of_the_digits(tmp_path):
    """Fewer neurons, samples, directions and draws."""
    network = "data.test_fraction=0.8 network.neurons=6 network.lift=linear network.cells=2 "
    network += "action.lambda=3e-3 solve.tolerance=1e-2"
    words = ", ".join(f'"{word}"' for word in network.split())
    few = [f"posterior.settings=[{words}]", "posterior.rank=150", "chains.chains=4"]
    few += ["chains.relax=50", "chains.warmup=40", "chains.draws=20", "sampler.steps=10"]
    run = sample_posterior(DEMOS / "posterior_digits.toml", out=tmp_path / "out", settings=few)
    assert run.metrics["test_accuracy_posterior"] > 0.85
    assert run.metrics["test_calibration_error_posterior"] < 0.3
    assert (tmp_path / "out" / "figures" / "calibration.png").stat().st_size > 10_000


def test_posterior_of_a_path_has_the_true_forcing(tmp_path):
    """Two annealed paths, few draws."""
    few = ['posterior.settings=["anneal.paths=2"]', "chains.chains=4", "chains.warmup=30"]
    few += ["chains.draws=24", "sampler.steps=6"]
    run = sample_posterior(DEMOS / "posterior_path.toml", out=tmp_path / "out", settings=few)
    assert abs(run.diagnostics["f"]["mean"] - 8.17) < 0.1
    assert run.metrics["state_rmse"] < 0.3
    assert (tmp_path / "out" / "figures" / "states.png").stat().st_size > 10_000


def test_replicas_have_the_weights_of_the_wells(tmp_path, capsys):
    """The literate demo with few rounds: the lower well has its weight, and flows alone never come."""
    out = tmp_path / "replicas.png"
    assert literate("replicas").main(rounds=1000, out=out) < 4.0
    assert "8 flows alone:        0.0000" in capsys.readouterr().out


def test_error_bars_are_right_on_average(tmp_path):
    """The literate demo with few truths: 0.006 against 0.106 in full size."""
    out = tmp_path / "calibration.png"
    posterior, point = literate("calibration").main(truths=12, draws=60, out=out)
    assert posterior < 0.05 < point
    assert out.stat().st_size > 10_000


def test_large_network_is_planned_and_its_messages_are_those_by_hand():
    assert 0.9 < literate("scaling").main(ranks=512) <= 1.0
