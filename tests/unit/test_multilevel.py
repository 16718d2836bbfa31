"""Multilevel Monte Carlo on a scalar equation with a closed form, and on numbers made by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from geometric_brownian import EuropeanCall, black_scholes
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.spde.levels import LevelSamples, consistency, draw, moments
from fem_deepest.spde.multilevel import Rates, fitted, multilevel

SELF = MPI.COMM_SELF


class Decaying:
    """``P_l - P_{l-1} = 2^{-l} (1 + z)``, ``z`` 1 and -1 in turns: bias ``2^{-L}``, work ``8^l``."""

    def block(self, level):
        return 64

    def work(self, level):
        return 8.0**level

    def sample(self, level, samples):
        z = np.where(np.arange(samples.start, samples.stop) % 2, 1.0, -1.0)
        coarse = np.full(len(z), 2.0 - 2.0 ** (1 - level)) if level else np.zeros(len(z))
        return coarse + 2.0**-level * (1.0 + z), coarse


def test_european_call() -> None:
    """Giles 2008, section 6: Euler-Maruyama has alpha = beta = gamma = 1 and 10.4506 is the price."""
    assert black_scholes() == pytest.approx(10.450583572, abs=1e-8)
    for tolerance in (0.1, 0.03):
        estimate = multilevel(EuropeanCall(), tolerance, initial=1000, most=10)
        assert estimate.converged
        # Deviation and bias together are the tolerance; four of them are 1 in 15000.
        assert abs(estimate.value - black_scholes()) < 4 * tolerance
        assert estimate.deviation < np.sqrt(0.75) * tolerance * 1.01
        assert estimate.rates.gamma == pytest.approx(1.0, abs=1e-12)  # 2^l + 2^{l-1}
        assert np.all(np.diff(estimate.numbers) < 0)
    assert estimate.single_work > 3 * estimate.work


def test_rates_of_euler_maruyama() -> None:
    """First order weakly, half strongly: alpha = beta = 1 of a Lipschitz payoff."""
    levels = [draw(EuropeanCall(), level, range(200_000), SELF).difference for level in range(6)]
    errors = np.sqrt([x.variance / 200_000 for x in levels])
    rates = fitted(levels, errors, 2.0 ** np.arange(6))
    # The first differences, which are known best, still fall faster than the later ones.
    assert rates.alpha == pytest.approx(1.0, abs=0.4)
    assert rates.beta == pytest.approx(1.0, abs=0.15)
    assert rates.gamma == pytest.approx(1.0, abs=1e-12)


def test_work_of_the_optimal_numbers() -> None:
    """Rates 1, 2, 3 without noise: the numbers are those of the formula, the bias that of the series."""
    tolerance = 0.02
    estimate = multilevel(Decaying(), tolerance, initial=20, most=12)
    assert estimate.converged
    # The mean of an odd number of samples is off by its inverse.
    assert estimate.rates.alpha == pytest.approx(1.0, abs=0.05)
    assert estimate.rates.gamma == pytest.approx(3.0, abs=1e-12)
    # E P_L = 2 - 2^{-L}: the first L with 2^{-L} <= eps / 2.
    finest = int(np.ceil(np.log2(2 / tolerance)))
    assert len(estimate.levels) == finest + 1
    assert estimate.bias == pytest.approx(2.0**-finest, rel=0.05)
    V = 4.0 ** -np.arange(finest + 1)
    C = 8.0 ** np.arange(finest + 1) * np.where(np.arange(finest + 1), 1.125, 1.0)
    optimal = np.sqrt(V / C) * np.sum(np.sqrt(V * C)) / (0.75 * tolerance**2)
    # The unbiased variance of the first 20 samples is 20/19 of V.
    np.testing.assert_allclose(estimate.numbers, np.maximum(optimal, 20), rtol=20 / 19 - 1 + 0.01)
    assert estimate.work == pytest.approx(estimate.numbers @ C)
    # P_L = 2 - 2^{-L} + 2^{-L} z on its own level, but 1 + z on level 0: Var P_L telescopes to
    # 1 + sum_l 4^{-l}, the coarse values of this sampler being constants.
    assert estimate.single_work == pytest.approx(
        V.sum() * 8.0**finest / (0.75 * tolerance**2), rel=20 / 19 - 1 + 0.01
    )


def test_known_rates_begin_with_fewer_samples_on_fine_levels() -> None:
    """Variance 4^{-l} and work 8^l: the optimal numbers fall by 2^{5/2} a level."""
    asked = []

    class Noting(Decaying):
        def sample(self, level, samples):
            asked.append((level, samples.stop))
            return super().sample(level, samples)

    multilevel(Noting(), 10.0, initial=800, known=Rates(1.0, 2.0, 3.0))
    assert {level: max(n for l, n in asked if l == level) for level in range(3)} == {
        0: 800,
        1: int(np.ceil(800 / 2**2.5)),
        2: 25,
    }


def test_levels_that_are_not_enough_are_told() -> None:
    estimate = multilevel(Decaying(), 0.02, initial=2, most=4)
    assert not estimate.converged
    assert len(estimate.levels) == 5
    assert estimate.bias > 0.5 * 0.02


def test_complexity_of_the_rates() -> None:
    """White noise in 1D with ``k ~ h^2``: 4 against 5; trace class: 2.5 against 3.5; beta > gamma: 2."""
    assert (Rates(1.0, 1.0, 3.0).complexity, Rates(1.0, 1.0, 3.0).single) == (4.0, 5.0)
    assert (Rates(2.0, 2.0, 3.0).complexity, Rates(2.0, 2.0, 3.0).single) == (2.5, 3.5)
    assert Rates(1.0, 2.0, 1.0).complexity == 2.0


def test_consistency_finds_a_coarse_path_of_another_law() -> None:
    found = []
    for spoil in (0.0, 0.5):
        call = EuropeanCall(spoil=spoil)
        levels = [draw(call, level, range(20_000), SELF) for level in range(4)]
        found.append([consistency(*pair) for pair in pairwise(levels)])
    assert max(found[0]) < 1.0
    assert min(found[1]) > 1.0


def test_moments_of_few_numbers() -> None:
    """Unbiased variance; kurtosis 3 of a Gaussian, 1.8 of a uniform law, 0 of a constant."""
    assert moments(np.array([1.0, 2.0, 4.0]))[:2] == pytest.approx((7 / 3, 7 / 3))
    assert moments(np.linspace(0.0, 1.0, 100_001)).kurtosis == pytest.approx(1.8, abs=1e-4)
    normal = np.random.default_rng(0).standard_normal(100_000)
    assert moments(normal).kurtosis == pytest.approx(3.0, abs=4 * np.sqrt(24 / 1e5))
    assert moments(np.ones(4)) == (1.0, 0.0, 0.0)


def test_blocks_follow_the_sample_numbers() -> None:
    """Blocks end at multiples of their size, wherever a draw begins."""
    asked = []

    class Numbers(Decaying):
        def sample(self, level, samples):
            asked.append(samples)
            return np.array(samples, dtype=float), np.zeros(len(samples))

    samples = draw(Numbers(), 0, range(50, 200), SELF)
    np.testing.assert_array_equal(samples.fine, np.arange(50, 200))
    assert asked == [range(50, 64), range(64, 128), range(128, 192), range(192, 200)]
    assert len(samples.extended(LevelSamples(np.zeros(2), np.zeros(2)))) == 152


@pytest.mark.parametrize(
    ("tolerance", "options", "fragment"),
    [
        (0.0, {}, r"tolerance = 0\.0"),
        (0.1, {"initial": 1}, "initial = 1"),
        (0.1, {"least": 1}, "least = 1"),
        (0.1, {"share": 1.0}, r"share = 1\.0"),
    ],
)
def test_wrong_input(tolerance, options, fragment) -> None:
    with pytest.raises(InputError, match=fragment):
        multilevel(Decaying(), tolerance, **options)
