"""Coupled samples on the levels of multilevel Monte Carlo, spread over ranks without changing a bit.

M. B. Giles, Multilevel Monte Carlo methods, 2015, doi:10.1017/S096249291500001X, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.spaces.tasks import blocks, dealt

Array = NDArray[np.float64]


class Sampler(Protocol):
    """Coupled samples of the quantity on two levels: pure functions of level and sample number."""

    def block(self, level: int) -> int:
        """Samples computed together; not more than one rank works on a block. Not collective."""

    def work(self, level: int) -> float:
        """Work of one sample of ``P_l`` alone, in any unit, the same on every machine."""

    def sample(self, level: int, samples: range) -> tuple[Array, Array]:
        """``P_l`` and ``P_{l-1}`` of these sample numbers, each (S,); zeros at level 0. Not collective."""


class Moments(NamedTuple):
    """Mean, variance and kurtosis of a sample."""

    mean: float
    variance: float
    kurtosis: float


@dataclass(frozen=True, eq=False)
class LevelSamples:
    """What was drawn on one level, in the order of the sample numbers.

    Attributes:
        fine: ``P_l``, (N,).
        coarse: ``P_{l-1}`` of the same samples, (N,).
    """

    fine: Array
    coarse: Array

    def __len__(self) -> int:
        return len(self.fine)

    @property
    def difference(self) -> Moments:
        """Moments of ``P_l - P_{l-1}``."""
        return moments(self.fine - self.coarse)

    @property
    def value(self) -> Moments:
        """Moments of ``P_l``."""
        return moments(self.fine)

    def extended(self, more: LevelSamples) -> LevelSamples:
        """These samples and those that follow."""
        return LevelSamples(
            np.concatenate([self.fine, more.fine]), np.concatenate([self.coarse, more.coarse])
        )


NONE = LevelSamples(np.zeros(0), np.zeros(0))


def moments(values: Array) -> Moments:
    """Mean, unbiased variance, and kurtosis (3 of a Gaussian; 0 where the variance is 0)."""
    mean, variance = float(values.mean()), float(values.var(ddof=1))
    fourth = float(np.mean((values - mean) ** 4))
    return Moments(mean, variance, fourth / variance**2 if variance > 0.0 else 0.0)


def consistency(coarser: LevelSamples, level: LevelSamples) -> float:
    """``|a - b + c| / (3 (s_a + s_b + s_c))``: above 1 the two levels do not telescope.

    ``a`` is the mean of ``P_{l-1}`` as the finer of its own level, ``b`` that of ``P_l``, ``c`` that of
    their difference, ``s`` the standard errors: the coarse solution must have the same law whichever
    level it is drawn on (Giles 2015, section 3.2).
    """
    a, b, c = coarser.value, level.value, level.difference
    spread = np.sqrt(a.variance / len(coarser)) + np.sqrt(b.variance / len(level))
    spread += np.sqrt(c.variance / len(level))
    return float(abs(a.mean - b.mean + c.mean) / (3.0 * spread)) if spread > 0.0 else 0.0


def draw(sampler: Sampler, level: int, samples: range, comm: MPI.Intracomm) -> LevelSamples:
    """Samples of one level, dealt out over the ranks in blocks. Collective."""
    parts = blocks(samples, sampler.block(level))
    pairs = dealt(parts, lambda part: sampler.sample(level, part), comm)
    fine, coarse = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    return LevelSamples(fine, coarse)
