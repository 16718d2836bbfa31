"""Exact sums for the stochastic heat equation, against closed forms and published slopes."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.errors import InputError
from fem_deepest.spde.modal import EXACT, Grid, ModalHeat

CELLS = (8, 16, 32, 64, 128)
STEPS = (16, 32, 64, 128, 256, 512)

# Observed slopes, coarse to fine: strong in h, weak in h, strong in k, weak in k. The printed digits
# are kept; where a row has only the ends of its range, the middle is not compared.
SLOPES = {
    0.5: ((".518 .509 .505 .502"), "1.00 1.00 - -", ".25 .25 .25 .25 .25", ".441 - - - .486"),
    0.75: (".775 - - .753", "1.42 - - -", ".373 - - - .375", ".599 - - - .692"),
    1.0: ("1.028 - - 1.004", "1.72 - - -", ".492 - - - .500", ".71 - - - .84"),
    1.5: ("1.514 - - 1.502", "1.95 - - -", ".695 - - - .738", ".83 - - - .96"),
    2.0: ("1.875 - - 1.912", "1.99 - - -", ".823 - - - .909", ".87 - - - .985"),
}


def test_second_moment_of_white_noise() -> None:
    assert ModalHeat(T=0.5).second_moment() == pytest.approx(0.0833307, abs=5e-8)
    assert ModalHeat(T=50.0).second_moment() == pytest.approx(1 / 12, abs=1e-12)


def test_initial_value_decays() -> None:
    """``exp(-2 lambda_j T) x_j^2`` on top, here of the third mode."""
    heat = ModalHeat(T=0.05, nu=0.5, c=1.0)
    gain = heat.second_moment(initial=(0.0, 0.0, 2.0)) - heat.second_moment()
    assert gain == pytest.approx(4.0 * np.exp(-0.1 * (4.5 * np.pi**2 + 1.0)), rel=1e-9)


def test_reaction_against_the_hyperbolic_tangent() -> None:
    """``sum 1 / (2 (j^2 pi^2 + c)) = (sqrt(c) coth(sqrt(c)) - 1) / (4 c)``."""
    c = 7.0
    closed = (np.sqrt(c) / np.tanh(np.sqrt(c)) - 1.0) / (4.0 * c)
    assert ModalHeat(T=50.0, c=c).second_moment() == pytest.approx(closed, abs=1e-13)


@pytest.mark.parametrize("beta", SLOPES)
def test_slopes_are_those_of_the_table(beta) -> None:
    heat = ModalHeat(a=beta - 0.5)
    rows = (
        [heat.strong_error(Grid(cells=n)) for n in CELLS],
        [heat.weak_error(Grid(cells=n)) for n in CELLS],
        [heat.strong_error(Grid(steps=n)) for n in STEPS],
        [heat.weak_error(Grid(steps=n)) for n in STEPS],
    )
    for errors, printed in zip(rows, SLOPES[beta], strict=True):
        slopes = -np.diff(np.log2(errors))
        for slope, text in zip(slopes, printed.split(), strict=True):
            if text != "-":
                half = 0.5 * 10.0 ** -len(text.split(".")[1])  # of the last digit printed
                assert slope == pytest.approx(float(text), abs=half + 1e-3)


def test_weak_error_of_white_noise_is_a_twelfth_of_h() -> None:
    """The stationary ``tr(M K^{-1})/2 = 1/12 - h/12`` of P1, up to ``exp(-2 lambda_1 T)``."""
    heat = ModalHeat(T=2.0)
    for cells in CELLS:
        assert heat.weak_error(Grid(cells=cells)) == pytest.approx(1 / (12 * cells), rel=1e-9)


def test_variance_at_a_point_of_the_stationary_law() -> None:
    """Half the Brownian bridge, ``(x - x^2)/2``; with a reaction that of the Green's function."""
    for x in (0.1, 0.5, 1.0):
        found = ModalHeat(T=9.0).variance_at(x)
        assert found == pytest.approx(0.5 * (x - x * x), abs=1e-10)
    c = np.sqrt(7.0)
    green = np.sinh(0.3 * c) * np.sinh(0.7 * c) / (c * np.sinh(c))
    assert ModalHeat(T=9.0, c=7.0).variance_at(0.3) == pytest.approx(0.5 * green, abs=1e-10)


def test_noise_of_few_modes_is_a_finite_sum() -> None:
    heat, lam = ModalHeat(a=0.5, T=0.2, modes=3), np.pi**2 * np.arange(1, 4) ** 2
    terms = (1 - np.exp(-0.4 * lam)) / (2 * lam * np.arange(1, 4))
    assert heat.second_moment() == pytest.approx(terms.sum(), rel=1e-13)
    assert heat.variance_at(0.5) == pytest.approx(2 * (terms[0] + terms[2]), rel=1e-13)


@pytest.mark.parametrize("theta", [0.5, 1.0])
def test_fully_discrete_second_moment(theta) -> None:
    """The sum of the closed form, written out for backward Euler, and a loop over steps."""
    cells, steps, T = 16, 20, 0.3
    h, k = 1 / cells, T / steps
    j = np.arange(1, cells)
    lam = 6 / h**2 * (1 - np.cos(j * np.pi * h)) / (2 + np.cos(j * np.pi * h))
    moment = np.zeros(cells - 1)
    for _ in range(steps):
        moment = ((1 - (1 - theta) * k * lam) ** 2 * moment + k) / (1 + theta * k * lam) ** 2
    found = ModalHeat(T=T).second_moment(Grid(cells, steps, theta))
    assert found == pytest.approx(moment.sum(), rel=1e-12)
    if theta == 1.0:
        closed = np.sum((1 - (1 + k * lam) ** (-2 * steps)) / (lam * (2 + k * lam)))
        assert found == pytest.approx(closed, rel=1e-12)


def test_coloured_noise_on_a_mesh_against_quadrature() -> None:
    """Covariance of the load ``sum_m q_m (phi_i, e_m)(phi_j, e_m)``, hats integrated by Gauss rules."""
    cells, a, T, steps = 4, 0.3, 0.2, 7
    x, w = np.polynomial.legendre.leggauss(6)
    fine = 800  # panels, a multiple of the cells
    x = ((np.arange(fine)[:, None] + 0.5 * (x + 1)) / fine).ravel()
    w = np.tile(0.5 * w / fine, fine)
    hats = np.maximum(0.0, 1.0 - np.abs(cells * x - np.arange(1, cells)[:, None]))
    m = np.arange(1, 1200)
    against = np.array([hats @ (w * np.sqrt(2) * np.sin(k * np.pi * x)) for k in m]).T
    Q = (against * m ** (-2 * a)) @ against.T
    h = 1 / cells
    M = h / 6 * (4 * np.eye(cells - 1) + np.eye(cells - 1, k=1) + np.eye(cells - 1, k=-1))
    K = (2 * np.eye(cells - 1) - np.eye(cells - 1, k=1) - np.eye(cells - 1, k=-1)) / h
    step = np.linalg.inv(M + T / steps * K)
    P = np.zeros_like(M)
    for _ in range(steps):
        P = step @ (M @ P @ M + T / steps * Q) @ step.T
    # Modes beyond 1200 are left out above: their part is below 1200^{-3.6}.
    found = ModalHeat(a=a, T=T).second_moment(Grid(cells, steps))
    assert found == pytest.approx(np.trace(M @ P), rel=1e-8)


def test_discretisations_of_both_meet_those_of_one() -> None:
    heat = ModalHeat(a=0.5, T=0.1)
    assert heat.strong_error(EXACT) < 1e-8
    only = heat.strong_error(Grid(cells=8))
    assert heat.strong_error(Grid(8, 2**14)) == pytest.approx(only, rel=1e-3)
    only = heat.strong_error(Grid(steps=8))
    assert heat.strong_error(Grid(512, 8)) == pytest.approx(only, rel=1e-3)


@pytest.mark.parametrize(
    ("make", "fragment"),
    [
        (lambda: ModalHeat(a=-0.5), "a = -0.5"),
        (lambda: ModalHeat(modes=0), "modes = 0"),
        (lambda: ModalHeat(c=-10.0), "expected T > 0"),
        (lambda: Grid(cells=1), "cells = 1"),
        (lambda: Grid(steps=0), "steps = 0"),
        (lambda: Grid(steps=4, theta=0.4), "theta = 0.4"),
        (lambda: ModalHeat().second_moment(Grid(4), (1.0,)), "initial value"),
    ],
)
def test_wrong_input(make, fragment) -> None:
    with pytest.raises(InputError, match=fragment):
        make()
