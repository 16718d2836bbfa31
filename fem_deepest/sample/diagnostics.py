"""Have the chains converged, and how many independent draws are they worth?

Rank-normalised split R-hat, bulk and tail effective sample size: A. Vehtari, A. Gelman, D. Simpson,
B. Carpenter, P.-C. Bürkner (2021), doi:10.1214/20-BA1221; the sums of autocorrelations are cut as in Geyer
(1992), doi:10.1214/ss/1177011137. All functions take draws (chains, draws) of one number.

Nothing here is collective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft, special

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


def rhat(x: Array) -> float:
    """Rank-normalised split R-hat: of the draws, or of their distances from the median if larger."""
    halves = _split(x)
    folded = np.abs(halves - np.median(halves))
    return max(_rhat(_normal_scores(halves)), _rhat(_normal_scores(folded)))


def bulk_ess(x: Array) -> float:
    """Effective sample size of the rank-normalised draws."""
    return _ess(_normal_scores(_split(x)))


def tail_ess(x: Array) -> float:
    """The smaller of the effective sample sizes of the quantiles of 5 and 95 per cent."""
    low, high = np.quantile(x, [0.05, 0.95])
    return min(_ess(_split((x <= q).astype(np.float64))) for q in (low, high))


def standard_error(x: Array) -> float:
    """Monte Carlo standard error of the mean."""
    return float(np.std(x, ddof=1) / np.sqrt(_ess(_split(x))))


def summary(x: Array) -> dict[str, float]:
    """Mean, standard deviation, standard error of the mean, R-hat, bulk and tail ESS."""
    return {
        "mean": float(np.mean(x)),
        "sd": float(np.std(x, ddof=1)),
        "mcse_mean": standard_error(x),
        "r_hat": rhat(x),
        "ess_bulk": bulk_ess(x),
        "ess_tail": tail_ess(x),
    }


def _split(x: Array) -> Array:
    """Halves of the chains, (2 m, n // 2)."""
    if x.ndim != 2 or x.shape[1] < 8:
        raise InputError(
            f"draws of shape {x.shape}; diagnostics need (chains, draws) with 8 draws or more"
        )
    half = x.shape[1] // 2
    return np.concatenate([x[:, :half], x[:, x.shape[1] - half :]])


def _normal_scores(x: Array) -> Array:
    """Normal quantiles of the ranks, ties at their mean rank."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    rank = (last - 0.5 * (count - 1))[place.reshape(x.shape)]
    return np.asarray(special.ndtri((rank - 0.375) / (x.size + 0.25)))


def _rhat(x: Array) -> float:
    """Gelman and Rubin's ratio of chains that are split already."""
    n = x.shape[1]
    within, between = x.var(axis=1, ddof=1).mean(), x.mean(axis=1).var(ddof=1)
    return float(np.sqrt((n - 1) / n + between / within)) if within > 0.0 else float("nan")


def _ess(x: Array) -> float:
    """Effective sample size of chains that are split already."""
    m, n = x.shape
    if np.ptp(x) == 0.0:
        return float(m * n)  # constant draws are known exactly
    centred = x - x.mean(axis=1, keepdims=True)
    spectrum = fft.rfft(centred, fft.next_fast_len(2 * n), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    covariance = fft.irfft(power, fft.next_fast_len(2 * n), axis=1)[:, :n].mean(axis=0) / n
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + (x.mean(axis=1).var(ddof=1) if m > 1 else 0.0)
    rho = 1.0 - (within - covariance) / total
    rho[0] = 1.0
    # Sums of neighbours are positive and decreasing for a reversible chain (Geyer).
    pairs = rho[: n - n % 2].reshape(-1, 2)
    sums = pairs.sum(axis=1)[: max(1, (n - 2) // 2)]
    negative = np.flatnonzero(sums <= 0.0)
    end = int(negative[0]) if negative.size else sums.size
    tau = -1.0 + 2.0 * np.minimum.accumulate(sums[:end]).sum()
    if end < len(pairs):
        tau += max(0.0, pairs[end, 0])
    return float(m * n / max(tau, 1.0 / np.log10(m * n)))
