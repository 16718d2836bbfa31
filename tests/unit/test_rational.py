"""Fractional powers as sums of fractions, against the powers themselves."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.errors import InputError
from fem_deepest.noise.rational import inverse_power


@pytest.mark.parametrize("s", [0.1, 0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("condition", [1.5, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-8, 1e-12])
def test_error_is_below_the_tolerance_between_the_grid_points_too(
    s: float, condition: float, tolerance: float
) -> None:
    low = 3.7
    found = inverse_power(s, low, low * condition, tolerance)
    x = low * condition ** np.random.default_rng(0).random(3000)
    error = np.abs(sum(w / (x + t) for t, w in zip(*found[:2], strict=True)) * x**s - 1.0).max()
    # Twice: the maximum of a smooth function between 4000 grid points.
    assert error <= 2.0 * tolerance and found.error <= tolerance
    assert (found.shifts > 0.0).all() and (found.weights > 0.0).all()


def test_the_square_root_has_the_rate_of_zolotarev() -> None:
    # Best relative error of x^{-1/2} on [1, c] with m fractions: 4 exp(-2 m pi^2 / log(16 c)) for large c
    # and m, where the elliptic integrals are logarithms.
    for condition in (1e4, 1e6, 1e8):
        for tolerance in (1e-5, 1e-10):
            count = inverse_power(0.5, 1.0, condition, tolerance).shifts.size
            optimal = np.log(4.0 / tolerance) * np.log(16.0 * condition) / (2.0 * np.pi**2)
            assert abs(count - optimal) <= 1.5


@pytest.mark.parametrize(
    ("s", "low", "high"), [(0.0, 1, 2), (1.0, 1, 2), (0.5, 0, 2), (0.5, 2, 1), (0.5, 1, np.inf)]
)
def test_impossible_powers_are_refused(s: float, low: float, high: float) -> None:
    with pytest.raises(InputError, match="expected an exponent between 0 and 1"):
        inverse_power(s, low, high, 1e-8)


@pytest.mark.parametrize("tolerance", [1e-18, 0.0, -1.0, np.nan])
def test_a_tolerance_below_rounding_is_refused(tolerance: float) -> None:
    with pytest.raises(InputError, match="expected at least 1e-13"):
        inverse_power(0.3, 1.0, 100.0, tolerance)
