"""Shares of successes: their intervals, tests between them in pairs, and quantiles of censored costs.

Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, ndtri  # importing scipy.stats takes 0.15 s at every start

Array = NDArray[np.float64]


def wilson(
    successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95
) -> tuple[Array, Array]:
    """Wilson's interval of a proportion; it stays within 0 and 1 and does not shrink to a point there.

        (p + z^2/(2n) +- z sqrt( p (1 - p)/n + z^2/(4 n^2) )) / (1 + z^2/n),      p = successes/trials

    E. B. Wilson (1927), doi:10.1080/01621459.1927.10502953.

    Args:
        successes: Numbers of successes.
        trials: Numbers of trials, one or more.
        confidence: Coverage.

    Returns:
        Lower and upper ends.
    """
    n = np.asarray(trials, dtype=np.float64)
    p = np.asarray(successes, dtype=np.float64) / n
    z = float(ndtri(0.5 + 0.5 * confidence))
    centre = p + z**2 / (2.0 * n)
    half = z * np.sqrt(p * (1.0 - p) / n + z**2 / (4.0 * n**2))
    ends = (centre - half) / (1.0 + z**2 / n), (centre + half) / (1.0 + z**2 / n)
    # The square root is exact in theory where nothing, or everything, succeeds; in numbers almost.
    return np.where(p == 0.0, 0.0, ends[0]), np.where(p == 1.0, 1.0, ends[1])


def mcnemar(a: ArrayLike, b: ArrayLike) -> float:
    """Exact two-sided test of McNemar: are two methods equally likely to succeed?

    Pairs in which both succeed or both fail say nothing. If there is no difference, the others fall on
    either side like a coin: ``p = 2 P(Bin(n, 1/2) <= min(n_a, n_b))``, not more than 1.
    Q. McNemar (1947), doi:10.1007/BF02295996.

    Args:
        a: Whether the first method succeeded, (S,).
        b: Whether the second one did, on the same seeds.
    """
    first, second = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    only_a, only_b = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    if only_a + only_b == 0:
        return 1.0
    return float(min(1.0, 2.0 * bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def holm(p: Sequence[float]) -> Array:
    """Levels of several tests together, by Holm.

    With probability ``1 - alpha`` no true hypothesis has one below ``alpha``.

    S. Holm (1979), jstor:4615733.
    """
    levels = np.asarray(p, dtype=np.float64)
    order = np.argsort(levels, kind="stable")
    adjusted = np.maximum.accumulate(levels[order] * np.arange(levels.size, 0, -1))
    found = np.empty_like(levels)
    found[order] = np.minimum(adjusted, 1.0)
    return found


def censored_quantile(costs: ArrayLike, share: float) -> float:
    """The least cost within which at least this share of all has succeeded; infinite if it never has.

    Args:
        costs: Cost of each success, infinite where there was none, (S,).
        share: Above 0, at most 1.
    """
    ordered = np.sort(np.asarray(costs, dtype=np.float64))
    # 1e-9: a share times S that should be a whole number must not be rounded up to the next.
    return float(ordered[max(int(np.ceil(share * ordered.size - 1e-9)), 1) - 1])
