"""Multilevel Monte Carlo for the stochastic heat equation: exponents, exact moments, gain."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.spde.levels import consistency, draw
from fem_deepest.spde.modal import ModalHeat
from fem_deepest.spde.multilevel import multilevel
from fem_deepest.studies.heat_levels import HeatSampler, Hierarchy
from fem_deepest.studies.named import load_study
from fem_deepest.studies.points import Points
from fem_deepest.studies.study import compute

WHITE = Hierarchy(ModalHeat(T=0.1), "point", cells=4, steps=4)
TRACE = Hierarchy(ModalHeat(a=0.5, T=0.1, modes=64), "point", cells=4, steps=4)


def outcome(config, folder):
    study = load_study(config)
    points = compute(study, Points(folder, MPI.COMM_SELF))
    tables = {"table": study.table(points), **study.further(points)}
    return tables, study.failures(tables)


@pytest.mark.parametrize(
    ("beta", "tolerances", "many", "one"),
    [(0.5, [0.0145, 0.0072, 0.0036, 0.0018], 4.0, 5.0), (1.0, [2.2e-3, 6.4e-4, 1.8e-4], 2.5, 3.5)],
    ids=["white", "trace class"],
)
def test_exponents_of_the_exact_optimum(tmp_path, beta, tolerances, many, one) -> None:
    """``eps^-4`` against ``eps^-5``, ``eps^-2.5`` against ``eps^-3.5``, within 0.3; gain above 10."""
    config = {
        "study": {"name": "multilevel", "mode": "exact", "values": tolerances},
        "problem": {"beta": beta, "modes": 512},
        "check": {"last": 4, "speed_up": 10.0},
    }
    tables, failures = outcome(config, tmp_path)
    table = tables["table"]
    assert failures == []
    assert -table.fit("multilevel work").order == pytest.approx(many, abs=0.3)
    assert -table.fit("single-level work").order == pytest.approx(one, abs=0.3)
    assert np.all(table.others["error"] <= 0.5 * table.refined)
    assert table.others["speed-up"][-1] > 10.0


@pytest.mark.parametrize("hierarchy", [WHITE, TRACE], ids=["white", "trace class"])
@pytest.mark.parametrize("quantity", ["point", "norm"])
def test_sampled_levels_have_the_exact_moments(hierarchy, quantity) -> None:
    """Within four standard errors, and the levels telescope."""
    hierarchy = Hierarchy(hierarchy.heat, quantity, 4, 4)
    sampler = HeatSampler(hierarchy, seed=2, stream=0)
    levels = [draw(sampler, level, range(2000), MPI.COMM_SELF) for level in range(3)]
    for level, samples in enumerate(levels):
        for exact, found in (
            (hierarchy.difference(level), samples.difference),
            (hierarchy.value(level), samples.value),
        ):
            assert abs(found.mean - exact.mean) < 4.0 * np.sqrt(exact.variance / 2000)
            error = found.variance * np.sqrt((found.kurtosis - 1.0) / 2000)
            assert abs(found.variance - exact.variance) < 4.0 * error
    for level in (1, 2):
        assert consistency(levels[level - 1], levels[level]) < 1.0
        difference = hierarchy.difference(level).mean
        values = hierarchy.value(level).mean - hierarchy.value(level - 1).mean
        assert difference == pytest.approx(values, rel=1e-9)


def test_rates_of_the_levels() -> None:
    """The point value attains the bound ``2 beta``; the norm has ``4 beta + 1``."""
    many = Hierarchy(ModalHeat(a=0.5, T=0.1, modes=1024), "point", 4, 4)
    for hierarchy in (WHITE, many, Hierarchy(WHITE.heat, "norm", 4, 4)):
        found = [hierarchy.difference(level) for level in (4, 5, 6)]
        means, variances = np.abs(np.array(found).T)
        rates = hierarchy.rates
        assert np.log2(means[1] / means[2]) == pytest.approx(rates.alpha, abs=0.25)
        assert np.log2(variances[1] / variances[2]) == pytest.approx(rates.beta, abs=0.1)
        assert np.log2(hierarchy.work(6) / hierarchy.work(5)) == pytest.approx(3.0, abs=0.02)


def test_values_approach_the_limit() -> None:
    for hierarchy in (WHITE, TRACE, Hierarchy(TRACE.heat, "norm", 4, 4)):
        off = [abs(hierarchy.value(level).mean - hierarchy.limit) for level in (3, 5)]
        assert off[1] < 0.3 * off[0]
        assert off[1] < 0.02 * hierarchy.limit


def test_adaptive_levels_are_near_the_optimum() -> None:
    """Numbers of samples against those of exact moments; the estimate within four tolerances."""
    tolerance = 0.0072
    estimate = multilevel(HeatSampler(WHITE, 0, 0), tolerance, known=WHITE.rates, initial=2000)
    assert estimate.converged
    assert len(estimate.levels) == 4
    V = np.array([WHITE.difference(level).variance for level in range(4)])
    w = np.array([WHITE.work(level) for level in range(4)])
    C = w + np.concatenate([[0.0], w[:-1]])
    optimal = np.sum(np.sqrt(V * C)) ** 2 / (0.75 * tolerance**2)
    assert estimate.work == pytest.approx(optimal, rel=0.3)
    assert abs(estimate.value - WHITE.limit) < 4.0 * tolerance
    exact = WHITE.value(3).variance * w[3] / (0.75 * tolerance**2)
    assert estimate.single_work == pytest.approx(exact, rel=0.2)


def test_failures_are_told(tmp_path) -> None:
    config = {
        "study": {"name": "multilevel", "values": [0.03]},
        "levels": {"tested": 2, "samples": 50},
        "check": {"speed_up": 100.0},
    }
    study = load_study(config)
    points = compute(study, Points(tmp_path, MPI.COMM_SELF))
    points[1].values["fine"] += 1.0
    points[3].values["estimate"] += 1.0
    found = study.failures({"table": study.table(points), **study.further(points)})
    for fragment in ("do not telescope", "is off by", "the gain over one level"):
        assert any(fragment in sentence for sentence in found)


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"study": {"values": [0.1, 0.2]}}, "tolerances that decrease"),
        ({"levels": {"cells": 3}}, "no node in the middle"),
        ({"study": {"quantity": "mean"}}, "study.quantity"),
        ({"check": {"caps": {"error": 1.0}}}, "check.caps names 'error'"),
    ],
)
def test_wrong_input(settings, fragment) -> None:
    config = {**settings, "study": {"name": "multilevel", **settings.get("study", {})}}
    with pytest.raises(InputError, match=fragment):
        load_study(config)
