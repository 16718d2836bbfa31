"""Calibration against numbers worked out by hand, and predictive distributions against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fem_deepest.errors import InputError
from fem_deepest.sample.predictive import (
    LEVELS,
    cdf,
    class_scores,
    coverage,
    coverage_error,
    log_density,
    quantile,
    regression_scores,
    reliability,
)


def test_expected_calibration_error_by_hand() -> None:
    """Five samples, two bins of (0, 0.5] and (0.5, 1]: (2 |0.5 - 0.45| + 3 |1/3 - 0.8|)/5 = 0.3."""
    p = np.array(
        [[0.4, 0.3, 0.3], [0.25, 0.5, 0.25], [0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9]]
    )
    labels = np.array([0, 2, 0, 0, 1])
    bins = reliability(p, labels, 2)
    np.testing.assert_array_equal(bins.samples, [2, 3])
    np.testing.assert_allclose(bins.confidence, [0.45, 0.8], rtol=1e-15)
    np.testing.assert_allclose(bins.accuracy, [0.5, 1 / 3], rtol=1e-15)
    assert bins.error == pytest.approx((2 * 0.05 + 3 * (0.8 - 1 / 3)) / 5, rel=1e-14)
    scores = class_scores(p, labels)
    assert scores["accuracy"] == 0.4
    right = [0.4, 0.25, 0.7, 0.1, 0.05]
    assert scores["nlpd"] == pytest.approx(-np.mean(np.log(right)), rel=1e-14)
    with pytest.raises(InputError, match="no samples"):
        reliability(np.empty((0, 3)), np.empty(0, dtype=np.int64))


def test_calibrated_probabilities_have_no_error() -> None:
    """Four of five right at a probability of 0.8; an empty bin does not count."""
    p = np.tile([0.8, 0.2], (5, 1))
    assert reliability(p, np.array([0, 0, 0, 0, 1])).error == pytest.approx(0.0, abs=1e-15)


def test_mixture_of_two() -> None:
    """Draws at -1 and 1 and noise: SciPy's normal distributions, half each."""
    draws, sigma = np.array([[-1.0, 3.0], [1.0, 3.0]]), np.array([0.5, 2.0])
    y = np.array([0.3, 2.0])
    parts = [stats.norm(m, sigma) for m in draws]
    np.testing.assert_allclose(cdf(draws, sigma, y), sum(f.cdf(y) for f in parts) / 2, rtol=1e-13)
    density = np.log(sum(f.pdf(y) for f in parts) / 2)
    np.testing.assert_allclose(log_density(draws, sigma, y), density, rtol=1e-12)
    for p in (0.05, 0.5, 0.9):
        q = quantile(draws, sigma, p)
        np.testing.assert_allclose(cdf(draws, sigma, q), p, rtol=0, atol=1e-10)
        assert q[1] == pytest.approx(stats.norm(3.0, 2.0).ppf(p), abs=1e-9)
    # Without noise: fractions and quantiles of the draws themselves.
    many = np.arange(101.0)[:, None]
    assert cdf(many, 0.0, np.array([49.5])) == pytest.approx(50 / 101)
    assert quantile(many, 0.0, 0.05) == pytest.approx(5.0)


def test_coverage_by_hand() -> None:
    below = np.array([0.5, 0.74, 0.76, 0.01, 0.26])
    assert coverage(below, 0.5) == 3 / 5
    assert coverage(below, 0.9) == 4 / 5
    expected = np.mean([abs(np.mean(np.abs(below - 0.5) <= p / 2) - p) for p in LEVELS])
    assert coverage_error(below) == pytest.approx(expected, rel=1e-14)


def test_a_right_prediction_is_calibrated() -> None:
    """A hundred thousand observations of the predicted law: binomial deviations, at most four of them."""
    rng = np.random.default_rng(0)
    draws, sigma, n = np.array([[0.0], [2.0]]), 0.7, 100_000
    y = draws[rng.integers(0, 2, n), 0] + sigma * rng.standard_normal(n)
    scores = regression_scores(np.broadcast_to(draws, (2, n)), sigma, y)
    for p in (0.5, 0.9):
        held = scores[f"coverage_{100 * p:.0f}"]
        assert abs(held - p) < 4 * np.sqrt(p * (1 - p) / n)
    assert scores["calibration_error"] < 4 * 0.5 / np.sqrt(n)
    assert abs(scores["rmse"] - np.sqrt(1 + sigma**2)) < 4 / np.sqrt(n)
    # Half the width is overconfident, and it shows.
    assert regression_scores(np.broadcast_to(draws, (2, n)), 0.1, y)["calibration_error"] > 0.1
    assert "nlpd" not in regression_scores(np.broadcast_to(draws, (2, n)), 0.0, y)
