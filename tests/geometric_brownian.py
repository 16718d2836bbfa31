"""Coupled Euler-Maruyama paths of geometric Brownian motion, in NumPy: a sampler with a closed form."""

from __future__ import annotations

from math import erf, exp, log, sqrt

import numpy as np

S0, STRIKE, RATE, SIGMA, T = 100.0, 100.0, 0.05, 0.2, 1.0


def black_scholes() -> float:
    """Discounted European call (F. Black, M. Scholes, 1973)."""
    d1 = (log(S0 / STRIKE) + (RATE + 0.5 * SIGMA**2) * T) / (SIGMA * sqrt(T))
    normal = [0.5 * (1.0 + erf(d / sqrt(2.0))) for d in (d1, d1 - SIGMA * sqrt(T))]
    return S0 * normal[0] - STRIKE * exp(-RATE * T) * normal[1]


class EuropeanCall:
    """``2^l`` Euler steps on level ``l``; ``spoil`` gives the coarse path a drift of its own."""

    def __init__(self, seed: int = 0, spoil: float = 0.0) -> None:
        self.seed, self.spoil = seed, spoil

    def block(self, level: int) -> int:
        return 1000

    def work(self, level: int) -> float:
        return 2.0**level

    def sample(self, level: int, samples: range) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.seed, level, samples.start])
        n = 2**level
        dW = rng.standard_normal((n, len(samples))) * sqrt(T / n)
        fine = self._payoff(dW)
        if level == 0:
            return fine, np.zeros_like(fine)
        return fine, self._payoff(dW[::2] + dW[1::2] + self.spoil * T / n)

    @staticmethod
    def _payoff(dW: np.ndarray) -> np.ndarray:
        k, S = T / len(dW), np.full(dW.shape[1], S0)
        for increment in dW:
            S = S * (1.0 + RATE * k + SIGMA * increment)
        return exp(-RATE * T) * np.maximum(S - STRIKE, 0.0)
