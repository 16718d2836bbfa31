"""Predictive distributions of an ensemble of draws, and whether they are calibrated.

A draw ``f_s`` predicts ``N(f_s, sigma^2)``, and all draws together the mixture of these: the posterior
predictive, with the noise of an observation in it. ``sigma = 0`` is the law of ``f`` itself; several
outputs may have a ``sigma`` each, (m,). A point estimate is an ensemble of one draw. For classes a draw
predicts probabilities, and the ensemble their mean.

Nothing here is collective.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, ndtr

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

LEVELS: Array = np.linspace(0.05, 0.95, 19, dtype=np.float64)
"""Probabilities of the intervals whose coverage is compared with them."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Ends and middle of the intervals of 90 and 50 per cent."""

BINS = 15
_HALVINGS = 40


def cdf(draws: Array, sigma: Any, y: Array) -> Array:
    """``P(observation <= y)``, (...), from draws (S, ...); uniform if the prediction is calibrated."""
    if not np.any(sigma):
        return np.mean(draws <= y, axis=0)
    return np.mean(ndtr((y - draws) / sigma), axis=0)


def quantile(draws: Array, sigma: Any, p: float) -> Array:
    """Where :func:`cdf` is ``p``, (...), to ten digits of the spread."""
    if not np.any(sigma):
        return np.asarray(np.quantile(draws, p, axis=0))
    low, high = draws.min(axis=0) - 9.0 * sigma, draws.max(axis=0) + 9.0 * sigma
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = cdf(draws, sigma, middle) < p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)


def log_density(draws: Array, sigma: Any, y: Array) -> Array:
    """Logarithm of the predictive density at ``y``, (...)."""
    exponent = -0.5 * ((y - draws) / sigma) ** 2
    return np.asarray(
        logsumexp(exponent, axis=0) - np.log(len(draws) * sigma * np.sqrt(2.0 * np.pi))
    )


def coverage(below: Array, level: float) -> float:
    """Fraction of observations in the central interval of this probability.

    Args:
        below: :func:`cdf` at the observations.
        level: Probability.
    """
    return float(np.mean(np.abs(below - 0.5) <= 0.5 * level))


def coverage_error(below: Array) -> float:
    """Mean distance of the coverage from the probability, over :data:`LEVELS`.

    V. Kuleshov, N. Fenner, S. Ermon (2018), arXiv:1807.00263.
    """
    return float(np.mean([abs(coverage(below, p) - p) for p in LEVELS]))


class Reliability(NamedTuple):
    """How often the likeliest class is right, by the probability that it is given.

    Attributes:
        confidence: Mean probability of the likeliest class in each bin, NaN in an empty one, (bins,).
        accuracy: Fraction in which it was the right one.
        samples: How many.
    """

    confidence: Array
    accuracy: Array
    samples: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean of ``|accuracy - confidence|`` over the samples."""
        held = self.samples > 0
        gap = np.abs(self.accuracy - self.confidence)[held]
        return float(gap @ self.samples[held] / self.samples.sum())


def reliability(probabilities: Array, labels: NDArray[np.int64], bins: int = BINS) -> Reliability:
    """Bins of equal width in the probability of the likeliest class.

    C. Guo, G. Pleiss, Y. Sun, K. Weinberger (2017), arXiv:1706.04599.

    Args:
        probabilities: (K, C).
        labels: Right classes, (K,).
        bins: Number of bins.

    Raises:
        InputError: There are no samples.
    """
    if not len(probabilities):
        raise InputError("there are no samples to calibrate with; give one or more")
    sure, best = probabilities.max(axis=1), probabilities.argmax(axis=1)
    where = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(where, sure, bins) / count
        accuracy = np.bincount(where, best == labels, bins) / count
    return Reliability(confidence, accuracy, count)


def regression_scores(draws: Array, sigma: Any, y: Array) -> dict[str, float]:
    """Error of the mean, negative log density, coverage of the 50 and 90 per cent intervals, error of it.

    Args:
        draws: Predictions without noise, (S, ...).
        sigma: Deviation of the noise; without any there is no density.
        y: Observations, (...).
    """
    below = cdf(draws, sigma, y)
    scores = {"rmse": float(np.sqrt(np.mean((draws.mean(axis=0) - y) ** 2)))}
    if np.any(sigma):
        scores["nlpd"] = -float(np.mean(log_density(draws, sigma, y)))
    return scores | {
        "coverage_50": coverage(below, 0.5),
        "coverage_90": coverage(below, 0.9),
        "calibration_error": coverage_error(below),
    }


def class_scores(probabilities: Array, labels: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, negative log probability of the right class, expected calibration error."""
    right = probabilities[np.arange(labels.size), labels]
    tiny = np.finfo(np.float64).tiny
    return {
        "accuracy": float(np.mean(probabilities.argmax(axis=1) == labels)),
        "nlpd": -float(np.mean(np.log(np.maximum(right, tiny)))),
        "calibration_error": reliability(probabilities, labels).error,
    }
