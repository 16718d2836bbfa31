"""Columns of the table of levels of multilevel Monte Carlo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.spde.levels import LevelSamples
from fem_deepest.studies.column import Errors
from fem_deepest.studies.study import NORMAL

Array = NDArray[np.float64]

MEAN, VARIANCE, WORK = "mean of difference", "variance of difference", "work of a sample"


def whole(levels: list[LevelSamples]) -> dict[str, Array]:
    """Means and variances of ``P_l`` with half-widths of their 95 % intervals."""
    count = np.array([len(level) for level in levels])
    mean, variance, kurtosis = np.array([level.value for level in levels]).T
    return {
        "mean": mean,
        "mean +-": NORMAL * np.sqrt(variance / count),
        "variance": variance,
        "variance +-": _half(variance, kurtosis, count),
    }


def _half(variance: Array, kurtosis: Array, count: Array) -> Array:
    """Of a variance: ``V^2 (kurtosis - 1) / N`` is its variance in the limit of many samples."""
    half: Array = NORMAL * variance * np.sqrt(np.maximum(kurtosis - 1.0, 0.0) / count)
    return half


def differences(levels: list[LevelSamples], alpha: float, beta: float) -> dict[str, Errors]:
    """Means and variances of the differences with their 95 % intervals."""
    count = np.array([len(level) for level in levels])
    mean, variance, kurtosis = np.array([level.difference for level in levels]).T
    mean, half = np.abs(mean), NORMAL * np.sqrt(variance / count)
    width = _half(variance, kurtosis, count)
    return {
        MEAN: Errors(
            no_difference(mean), alpha, no_difference(mean - half), no_difference(mean + half)
        ),
        VARIANCE: Errors(
            no_difference(variance),
            beta,
            no_difference(variance - width),
            no_difference(variance + width),
        ),
    }


def no_difference(values: Array) -> Array:
    """Level 0 is no difference."""
    return np.concatenate([[np.nan], values[1:]])
