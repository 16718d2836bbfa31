r"""Multilevel Monte Carlo: an expectation to a tolerance at the least work.

``E P_L = E P_0 + sum_{l=1}^L E (P_l - P_{l-1})``: many cheap samples, few dear ones, because ``P_l`` and
``P_{l-1}`` of one sample are driven by one noise. Where

    |E (P_l - P)| ~ 2^{-alpha l},     V_l = Var(P_l - P_{l-1}) ~ 2^{-beta l},     C_l ~ 2^{gamma l}

the work for a root mean square error ``eps`` is ``eps^{-2 - max(0, gamma - beta)/alpha}`` (with a square
of ``log eps`` at ``beta = gamma``), against ``eps^{-2 - gamma/alpha}`` on one level. A share of ``eps^2``
is for the bias, which adds levels until ``|E (P_L - P_{L-1})| / (2^alpha - 1)`` is below its root; the
rest is for the variance, and then the optimal numbers of samples are

    N_l = sum_m sqrt(V_m C_m) sqrt(V_l / C_l) / ((1 - share) eps^2).

M. B. Giles, Multilevel Monte Carlo path simulation, 2008, doi:10.1287/opre.1070.0496; Multilevel Monte
Carlo methods, 2015, doi:10.1017/S096249291500001X, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from mpi4py import MPI
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError
from fem_deepest.spde.levels import LevelSamples, Moments, Sampler, draw, moments

Array = NDArray[np.float64]

SHARE = 0.25  # of eps^2 that the square of the bias may take
_ENOUGH = 0.01  # relative number of missing samples that are not drawn any more
_FEWEST = 20  # samples from which a variance is guessed
_SLOWEST = 0.5  # least alpha and beta that a fit to few noisy levels may give


class Rates(NamedTuple):
    """Exponents of bias, variance and work per level, in powers of 2."""

    alpha: float
    beta: float
    gamma: float

    @property
    def complexity(self) -> float:
        """``p`` in ``work ~ eps^{-p}``, many levels."""
        return 2.0 + max(0.0, self.gamma - self.beta) / self.alpha

    @property
    def single(self) -> float:
        """``p`` in ``work ~ eps^{-p}``, one level."""
        return 2.0 + self.gamma / self.alpha


def fitted(levels: Sequence[Moments], errors: ArrayLike, costs: ArrayLike) -> Rates:
    """Rates by least squares in the logarithms over levels 1, 2, ...; level 0 is no difference.

    Args:
        levels: Moments of the differences.
        errors: Standard errors of the means; a level counts by the inverse square of the relative one.
        costs: Work of one coupled sample.
    """
    means = np.array([abs(level.mean) for level in levels])
    variances = np.array([level.variance for level in levels])
    error = np.asarray(errors, dtype=np.float64)
    weights = np.divide(means, error, out=np.ones_like(means), where=error > 0.0) ** 2
    alpha = -_slope(means, np.where(np.any(error[1:] > 0.0), weights, 1.0))
    beta, gamma = -_slope(variances), _slope(np.asarray(costs, dtype=np.float64))
    return Rates(max(alpha, _SLOWEST), max(beta, _SLOWEST), gamma)


@dataclass(frozen=True, eq=False)
class Estimate:
    """An expectation by multilevel Monte Carlo.

    Attributes:
        tolerance: ``eps``, root mean square.
        levels: Samples of levels 0 to L.
        rates: Exponents, fitted or those that were known.
        costs: ``C_l``, work of one coupled sample of each level, (L + 1,).
        bias: Estimate of what is left, ``|E (P_L - P)|``.
        converged: Whether ``bias`` is below its share; otherwise more levels were not allowed.
        single_work: Work on level L alone to the same tolerance.
    """

    tolerance: float
    levels: tuple[LevelSamples, ...]
    rates: Rates
    costs: Array
    bias: float
    converged: bool
    single_work: float

    @property
    def value(self) -> float:
        """The expectation."""
        return float(sum(level.difference.mean for level in self.levels))

    @property
    def deviation(self) -> float:
        """Standard error of :attr:`value`; the bias comes in addition."""
        return float(np.sqrt(sum(x.difference.variance / len(x) for x in self.levels)))

    @property
    def numbers(self) -> NDArray[np.int64]:
        """``N_l``, (L + 1,)."""
        return np.array([len(level) for level in self.levels])

    @property
    def work(self) -> float:
        """``sum_l N_l C_l``."""
        return float(self.numbers @ self.costs)


def multilevel(
    sampler: Sampler,
    tolerance: float,
    comm: MPI.Intracomm = MPI.COMM_SELF,
    *,
    initial: int = 100,
    least: int = 2,
    most: int = 8,
    share: float = SHARE,
    known: Rates | None = None,
) -> Estimate:
    """``E P`` to a root mean square error ``tolerance``, levels and samples as they are needed.

    Args:
        sampler: Draws the samples.
        tolerance: ``eps``.
        comm: All ranks; the result is the same on any number of them.
        initial: Samples of level 0 before variances are known, and of the others too; if exponents are
            known, each level begins with fewer in the ratio of the optimal numbers, 20 at least.
        least: Finest level at the start, 2 or more: rates are fitted through two differences or more.
        most: Finest level allowed.
        share: Part of ``eps^2`` for the square of the bias.
        known: Exponents, if theory gives them; else they are fitted, which takes many initial samples
            where the variance falls slowly.

    Returns:
        The estimate; its ``converged`` tells whether ``most`` levels were enough.

    Raises:
        InputError: A tolerance that is not positive, or numbers out of their range.

    Collective on ``comm``.
    """
    if not (tolerance > 0.0 and np.isfinite(tolerance)):
        raise InputError(f"tolerance = {tolerance}; expected a positive number")
    if initial < 2 or not 2 <= least <= most or not 0.0 < share < 1.0:
        raise InputError(
            f"initial = {initial}, least = {least}, most = {most}, share = {share}; expected at least "
            "2 samples, 2 <= least <= most and 0 < share < 1"
        )
    levels = [_first(sampler, level, initial, known, comm) for level in range(least + 1)]
    while True:
        costs = np.array([_cost(sampler, level) for level in range(len(levels))])
        found = [level.difference for level in levels]
        numbers = np.array([len(level) for level in levels])
        errors = np.sqrt(np.array([x.variance for x in found]) / numbers)
        rates = fitted(found, errors, costs) if known is None else known
        variances = _variances(found, rates.beta)
        scale = np.sum(np.sqrt(variances * costs)) / ((1.0 - share) * tolerance**2)
        wanted = np.ceil(scale * np.sqrt(variances / costs)).astype(np.int64)
        missing = np.maximum(wanted - numbers, 0)
        if np.any(missing > _ENOUGH * numbers):
            for level, (begun, count) in enumerate(zip(numbers, missing, strict=True)):
                if count:
                    more = draw(sampler, level, range(int(begun), int(begun + count)), comm)
                    levels[level] = levels[level].extended(more)
            continue
        bias = _bias(np.array([x.mean for x in found]), errors, rates.alpha)
        if bias <= np.sqrt(share) * tolerance or len(levels) > most:
            break
        levels.append(_first(sampler, len(levels), initial, known, comm))
    finest = len(levels) - 1
    # Var P_L telescopes too: on the finest level alone a few samples would be all there is.
    whole = sum(x.value.variance - moments(x.coarse).variance for x in levels)
    one = whole * sampler.work(finest) / ((1.0 - share) * tolerance**2)
    enough = bool(bias <= np.sqrt(share) * tolerance)
    return Estimate(tolerance, tuple(levels), rates, costs, bias, enough, one)


def _first(
    sampler: Sampler, level: int, initial: int, known: Rates | None, comm: MPI.Intracomm
) -> LevelSamples:
    """The first samples of a level: N_l ~ sqrt(V_l / C_l). Collective."""
    count = initial
    if known is not None:
        fewer = int(np.ceil(initial * 2.0 ** (-0.5 * (known.beta + known.gamma) * level)))
        count = max(min(_FEWEST, initial), fewer)
    return draw(sampler, level, range(count), comm)


def _variances(levels: Sequence[Moments], beta: float) -> Array:
    """``V_l``: one that seems small by chance must not leave its level with too few samples."""
    variances = np.array([level.variance for level in levels])
    for level in range(2, len(levels)):
        variances[level] = max(variances[level], 0.5 * variances[level - 1] * 2.0**-beta)
    return variances


def _bias(means: Array, errors: Array, alpha: float) -> float:
    """What the levels that are not there would add, if means fall like ``2^{-alpha l}``.

    From all levels, by least squares with the weights that their standard errors give: where the
    variance falls slowly the means of the finest are little but noise. If one of the last three says
    more, beyond three standard errors, it is believed.
    """
    ahead = means[1:] * 2.0 ** (-alpha * np.arange(len(means) - 2, -1, -1))
    spread = errors[1:] * 2.0 ** (-alpha * np.arange(len(means) - 2, -1, -1))
    weights = 1.0 / np.maximum(spread, 1e-12 * np.abs(ahead).max() + np.finfo(float).tiny) ** 2
    best = abs(float(weights @ ahead / weights.sum()))
    worst = float(np.max(np.abs(ahead[-3:]) - 3.0 * spread[-3:]))
    return max(best, worst) / (2.0**alpha - 1.0)


def _cost(sampler: Sampler, level: int) -> float:
    return sampler.work(level) + (sampler.work(level - 1) if level else 0.0)


def _slope(y: Array, weights: ArrayLike = 1.0) -> float:
    """Least-squares slope of ``log2`` over levels 1, 2, ...; zeros are left out."""
    w = np.sqrt(np.broadcast_to(weights, y.shape)[1:])
    usable = (y[1:] > 0.0) & (w > 0.0)
    if np.count_nonzero(usable) < 2:
        return 0.0
    level = np.arange(1, y.size)[usable]
    return float(np.polyfit(level, np.log2(y[1:][usable]), 1, w=w[usable])[0])
