"""Mean-square stability of schemes: exact recursions against quadrature and the closed regions."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.errors import InputError
from fem_deepest.spde.stability import SCHEMES

# One step of each scheme for increments b of the Wiener process, written as in the textbooks.
STEPS = {
    "exact": lambda x, l, s, k, b: x * np.exp(-l * k - 0.5 * s**2 * k + s * b),
    "forward_euler": lambda x, l, s, k, b: x - k * l * x + s * x * b,
    "backward_euler": lambda x, l, s, k, b: (x + s * x * b) / (1 + k * l),
    "crank_nicolson": lambda x, l, s, k, b: (x - k * l * x / 2 + s * x * b) / (1 + k * l / 2),
    "milstein": lambda x, l, s, k, b: (x + s * x * b + s**2 * x * (b**2 - k) / 2) / (1 + k * l),
    "exponential_euler": lambda x, l, s, k, b: np.exp(-k * l) * (x + s * x * b),
}


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("z", [0.1, 1.0, 1.9])
def test_factor_of_one_step_by_gauss_hermite(name, z) -> None:
    """60 points are exact for the polynomials and converged for the exponential."""
    x, w = np.polynomial.hermite_e.hermegauss(60)
    lam, sigma = 3.0, 1.7
    k = z / lam
    moment = w @ STEPS[name](1.0, lam, sigma, k, np.sqrt(k) * x) ** 2 / w.sum()
    assert SCHEMES[name].second_moment(lam, sigma, k, 1) == pytest.approx(moment, rel=1e-12)
    assert SCHEMES[name].second_moment(lam, sigma, k, 7) == pytest.approx(moment**7, rel=1e-11)


def test_second_moment_of_backward_euler() -> None:
    """``((1 + sigma^2 k) / (1 + k lambda)^2)^n``, and the exact law 0.019550 that it approaches."""
    lam, sigma, T = np.pi**2, 2.0, 0.25
    found = SCHEMES["backward_euler"].second_moment(lam, sigma, T / 50, 50)
    assert found == pytest.approx(((1 + 4 * T / 50) / (1 + lam * T / 50) ** 2) ** 50, rel=1e-13)
    assert SCHEMES["exact"].second_moment(lam, sigma, T, 1) == pytest.approx(0.019550, abs=5e-7)
    close = SCHEMES["backward_euler"].second_moment(lam, sigma, T / 10**5, 10**5)
    assert close == pytest.approx(0.019550, abs=1e-5)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("z", [0.01, 0.5, 1.5, 1.999])
def test_boundary_is_that_of_the_closed_region(name, z) -> None:
    scheme = SCHEMES[name]
    assert scheme.boundary(z) == pytest.approx(scheme.region(z), rel=1e-10)


@pytest.mark.parametrize("name", ["backward_euler", "crank_nicolson", "milstein"])
def test_moments_grow_beyond_the_boundary_and_fall_within(name) -> None:
    """``sigma^2 < 2 lambda + k lambda^2``, ``2 lambda``; ``sigma^2 + sigma^4 k/2`` likewise."""
    lam, k = 5.0, 0.7
    limit = {
        "backward_euler": 2 * lam + k * lam**2,
        "crank_nicolson": 2 * lam,
        "milstein": (-1 + np.sqrt(1 + 2 * k * (2 * lam + k * lam**2))) / k,
    }[name]
    for share, grows in ((0.99, False), (1.01, True)):
        moment = SCHEMES[name].second_moment(lam, np.sqrt(share * limit), k, 100)
        assert (moment > 1.0) == grows


def test_forward_euler_is_never_stable_beyond_the_cfl_step() -> None:
    assert SCHEMES["forward_euler"].boundary(2.5) == SCHEMES["forward_euler"].region(2.5) == 0.0


def test_wrong_input() -> None:
    with pytest.raises(InputError, match="k lambda = -1"):
        SCHEMES["exact"].boundary(-1.0)
