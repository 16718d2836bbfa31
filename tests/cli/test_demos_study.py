"""Every study of demos/ has the orders that its comments promise, in reduced size."""

from __future__ import annotations

import numpy as np
import pytest
from launch import DEMOS

import fem_deepest


def test_every_study_is_here():
    here = {"study_depth", "study_layers", "study_neurons", "study_samples"}
    here |= {"study_fields", "study_iterations", "study_iterations_depth", "study_saddle"}
    here |= {"heat_strong", "heat_weak", "heat_sampled", "stability", "mlmc", "acceptance"}
    here |= {"sgd_strong"}
    here |= {"escape", "compare_wells", "compare_spiral", "compare_digits", "compare_twin"}
    here |= {"escape", "compare_wells", "compare_lorenz96"}
    here |= {"sgd_strong", "escape", "compare_wells", "compare_lorenz96"}
    here |= {"sgd_strong", "escape", "compare_wells", "compare_lorenz96", "compare_contours"}
    assert {path.stem for path in DEMOS.glob("*.toml") if "[study]" in path.read_text()} == here


def test_study_of_the_depth(tmp_path):
    """P2 on 32 cells instead of 128, where the error is 64 times as large."""
    run = fem_deepest.study(
        DEMOS / "study_depth.toml",
        out=tmp_path / "out",
        settings=["study.values=[4,8,16,32]", "check.caps={}", "check.tolerance=0.2"],
    )
    assert run.status == "converged"
    assert run.metrics["P1 L2 order"] == pytest.approx(2.0, abs=0.03)
    assert run.metrics["P2 L2 order"] == pytest.approx(3.0, abs=0.03)
    assert run.metrics["P2 L2"] < 2e-5
    assert (tmp_path / "out" / "figures" / "convergence.png").stat().st_size > 10_000


def test_study_of_the_layers(tmp_path):
    run = fem_deepest.study(
        DEMOS / "study_layers.toml",
        out=tmp_path / "out",
        settings=["study.values=[2,4,8]", "output.figures=false", "check.last=2"],
    )
    assert run.status == "converged"
    assert run.metrics["weights order"] == pytest.approx(2.0, abs=0.1)


def test_study_of_the_samples(tmp_path):
    run = fem_deepest.study(
        DEMOS / "study_samples.toml",
        out=tmp_path / "out",
        settings=["study.values=[64,256]", "study.repetitions=6", "output.figures=false"],
    )
    assert run.status == "converged"
    assert run.metrics["predictor order"] == pytest.approx(0.5, abs=0.25)


def test_study_of_the_neurons(tmp_path):
    run = fem_deepest.study(
        DEMOS / "study_neurons.toml",
        out=tmp_path / "out",
        settings=["study.values=[4,8]", "study.reference=8", "output.figures=false"],
    )
    assert run.status == "converged"
    assert run.metrics["action order"] == pytest.approx(2.0, abs=0.1)


def test_study_of_the_fields(tmp_path):
    run = fem_deepest.study(
        DEMOS / "study_fields.toml",
        out=tmp_path / "out",
        settings=["study.values=[9,17]", "output.figures=false", "check.tolerance=0.25"],
    )
    assert run.status == "converged"
    assert run.metrics["weights order"] == pytest.approx(2.0, abs=0.2)
    assert run.metrics["weights H1 order"] == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("name", "values"), [("iterations", [17, 33, 65]), ("iterations_depth", [16, 32, 64])]
)
def test_study_of_the_iterations(tmp_path, name, values):
    run = fem_deepest.study(
        DEMOS / f"study_{name}.toml",
        out=tmp_path / "out",
        settings=[f"study.values={values}", "check.last=3"],
    )
    assert run.status == "converged"
    assert np.ptp(run.table.errors["one level"].values) <= 2
    assert (tmp_path / "out" / "figures" / "iterations.png").stat().st_size > 10_000


@pytest.mark.parametrize("error", ["strong", "weak"])
def test_exact_rates_of_the_stochastic_heat_equation(tmp_path, error):
    """Up to 64 cells and steps instead of 512: white noise is in its asymptotic range from the start."""
    out = tmp_path / "out"
    run = fem_deepest.study(
        DEMOS / f"heat_{error}.toml",
        out=out,
        settings=["study.values=[16,32,64]", "study.beta=[0.5]", "check.caps={}"],
    )
    assert run.status == "converged"
    order = 0.5 if error == "strong" else 1.0
    assert run.metrics["beta 0.5, h order"] == pytest.approx(order, abs=0.01)
    assert run.metrics["beta 0.5, k order"] == pytest.approx(order / 2, abs=0.05)
    for axis in ("h", "k"):
        assert (out / "figures" / f"convergence_{axis}.png").stat().st_size > 10_000
    assert not (out / "figures" / "convergence.png").exists()


@pytest.mark.parametrize("error", ["strong", "weak"])
def test_sampled_rates_of_the_stochastic_heat_equation(tmp_path, error):
    """White noise, half the samples; the slopes are those of the sums, within 0.05 and the interval."""
    run = fem_deepest.study(
        DEMOS / "heat_sampled.toml",
        out=tmp_path / "out",
        settings=[
            f"study.name='heat_{error}'",
            "study.beta=[0.5]",
            "sampling.samples=1000",
            "output.figures=false",
        ],
    )
    assert run.status == "converged"
    for axis in ("h", "k"):
        name = f"beta 0.5, {axis}"
        assert run.metrics[f"{name} order"] == pytest.approx(
            run.table.errors[name].expected, abs=0.1
        )


def test_regions_of_stability(tmp_path):
    run = fem_deepest.study(
        DEMOS / "stability.toml", out=tmp_path / "out", settings=["study.samples=2000"]
    )
    assert run.status == "converged"
    assert run.metrics["backward_euler"] == pytest.approx(6.0, rel=1e-10)
    assert (tmp_path / "out" / "figures" / "stability.png").stat().st_size > 10_000


def test_multilevel_monte_carlo(tmp_path):
    """Two tolerances instead of three, where the gain is a half of that at the smallest."""
    out = tmp_path / "out"
    run = fem_deepest.study(
        DEMOS / "mlmc.toml",
        out=out,
        settings=["study.values=[0.0083,0.0041]", "check.speed_up=6.0"],
    )
    assert run.status == "converged"
    assert run.metrics["multilevel work order"] == pytest.approx(-4.0, abs=0.3)
    assert run.metrics["speed-up"] > 6.0
    assert set(run.tables) == {"table", "levels"}
    assert (out / "levels.csv").exists()
    assert (out / "levels.md").exists()
    assert (out / "figures" / "multilevel.png").stat().st_size > 10_000
    (out / "figures" / "multilevel.png").unlink()
    assert [path.name for path in fem_deepest.plot(out)] == ["multilevel.png"]


def test_strong_errors_of_stochastic_gradient_descent(tmp_path):
    """Fewer rows and runs; the intervals are wider then, and allowed for."""
    out = tmp_path / "out"
    run = fem_deepest.study(
        DEMOS / "sgd_strong.toml",
        out=out,
        settings=[
            "study.values=[64,256,1024]",
            "quadratic.runs=500",
            "sgd.runs=100",
            "check.last=3",
        ],
    )
    assert run.status == "converged"
    metrics = run.metrics
    # The moments are known to any digit; their orders come near those of theory as n grows.
    assert metrics["quadratic, nu 0.5 exactly order"] == pytest.approx(0.25, abs=0.04)
    assert metrics["quadratic, nu 0.75 exactly order"] == pytest.approx(0.375, abs=0.04)
    assert metrics["quadratic, nu 1, eta 0.15 exactly order"] == pytest.approx(0.15, abs=0.01)
    # A hundred runs give a root mean square with a standard error of about 4 %.
    linearised = metrics["network, nu 0.75 linearised"]
    assert metrics["network, nu 0.75"] == pytest.approx(linearised, rel=0.18)
    assert (out / "figures" / "convergence.png").stat().st_size > 10_000


def test_escape_from_a_well(tmp_path):
    """Higher temperatures and a fifth of the paths; slopes of the law are exact on any."""
    out = tmp_path / "out"
    run = fem_deepest.study(
        DEMOS / "escape.toml",
        out=out,
        settings=["study.values=[5.0,7.0]", "study.samples=400", "problem.cells=4"],
    )
    assert run.status == "converged"
    assert run.tables["slope"]["slope"][-1] == pytest.approx(0.25, rel=1e-12)
    assert run.metrics["Eyring-Kramers"] < run.metrics["mean escape time"]
    assert (out / "figures" / "escape.png").stat().st_size > 10_000
    (out / "figures" / "escape.png").unlink()
    assert [path.name for path in fem_deepest.plot(out)] == ["escape.png"]


def test_comparison_on_the_wells(tmp_path):
    """A quarter of the seeds and of the budget; kept in parts, so that it can go on."""
    out, settings = tmp_path / "out", ["study.budget=500", "study.seeds=24", "study.part=12"]
    settings += ["problem.cells=4", "noise.theta=0.07"]
    run = fem_deepest.study(DEMOS / "compare_wells.toml", out=out, settings=settings)
    assert run.status == "converged"
    assert len(run.stages) == 10
    assert run.metrics["plain descent, success rate"] == 0.0
    assert run.metrics["noise, success rate"] >= 0.5
    assert run.metrics["noise, p, McNemar"] < 0.01
    assert {path.name for path in out.glob("*.*")} >= {"table.csv", "table.md", "trials.csv"}
    names = ["success.png", "evaluations.png"]
    for name in names:
        assert (out / "figures" / name).stat().st_size > 10_000
        (out / "figures" / name).unlink()
    assert [path.name for path in fem_deepest.plot(out)] == names
    more = fem_deepest.study(
        DEMOS / "compare_wells.toml", out=out, settings=[*settings, "study.seeds=36"]
    )
    computed = [stage["point"] for stage in more.stages if stage["computed"]]
    assert len(computed) == 5
    assert all(point.endswith("seeds 24 to 35") for point in computed)


@pytest.mark.parametrize("name", ["spiral", "digits"])
def test_comparison_of_networks(tmp_path, name):
    """Six seeds and half a descent or so: multistart repeats plain descent where that is cut off."""
    out, budget = tmp_path / "out", {"spiral": 300, "digits": 60}[name]
    settings = [f"study.budget={budget}", "study.seeds=6", "study.part=6", "study.batch=6"]
    # The tolerance of multistart for plain descent too: with its own, smaller one it goes on further.
    settings += ["descent.single=0.03"]
    run = fem_deepest.study(DEMOS / f"compare_{name}.toml", out=out, settings=settings)
    assert run.status == "converged"
    arms = ["plain descent", "multistart", "precision annealing", "noise"]
    arms += ["noise + precision annealing", "stochastic gradient descent"]
    assert list(run.table.names) == arms
    assert np.all(run.table["evaluations used, mean"] <= budget)
    trials = run.tables["trials"]
    plain, multi = (trials[f"{arm}: lowest"] for arm in arms[:2])
    cut = trials["plain descent: used"] >= budget
    np.testing.assert_array_equal(plain[cut], multi[cut])
    assert np.all(multi <= plain)
    assert (out / "figures" / "success.png").stat().st_size > 10_000
    if name == "spiral":  # some give up: logistic regression, see test_network_contests.py
        np.testing.assert_allclose(plain[plain > 0.5], 0.6347, atol=5e-4)
        assert 1 <= np.sum(plain > 0.5) <= 5


def test_comparison_of_twins(tmp_path):
    """Two seeds of plain descent, in full: at and above the lowest known level."""
    settings = ["study.seeds=2", 'study.arms=["plain descent"]', "output.figures=false"]
    run = fem_deepest.study(DEMOS / "compare_twin.toml", out=tmp_path / "out", settings=settings)
    assert run.status == "converged"
    lowest = run.tables["trials"]["plain descent: lowest"]
    assert np.all((lowest > 0.0399) & (lowest < 0.1))


def test_comparison_on_contours(tmp_path):
    """The variance of a disc and a square, on a coarse mesh with few seeds."""
    settings = ["study.budget=300", "study.seeds=8", "study.part=8", "study.batch=8"]
    settings += ["problem.image=variance", "problem.region=gaussian", "problem.nu=0.05"]
    settings += ["problem.cells=24", "noise.strength=0.5", "noise.first=3e-2", "noise.last=3e-4"]
    settings += ["noise.steps=100", "check.least={ noise = 0.5 }", "check.most={}"]
    run = fem_deepest.study(
        DEMOS / "compare_contours.toml", out=tmp_path / "out", settings=settings
    )
    assert run.status == "converged"
    rates = [run.metrics[f"{arm}, success rate"] for arm in ("plain descent", "noise")]
    assert rates[0] == 0.0
    assert rates[1] >= 0.25


def test_study_of_the_slabs(tmp_path):
    """All at once: with the chain no more iterations on four slabs than on one, without it many more."""
    run = fem_deepest.study(
        DEMOS / "study_saddle.toml",
        out=tmp_path / "out",
        settings=[
            *("study.values=[1,4]", "study.cells=[8]", "study.R_f=[inf]"),
            *("data.samples=8", "solve.tolerance=1e-3"),
        ],
    )
    assert run.status == "converged"
    assert run.metrics["frozen, n = 8, R_f = inf order"] == pytest.approx(0.0, abs=0.1)
    assert run.metrics["decoupled, n = 8, R_f = inf order"] < -0.5
    assert (tmp_path / "out" / "figures" / "slabs.png").stat().st_size > 10_000
