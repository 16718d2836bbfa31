"""Escape times: closed forms against each other, and sampled paths against both."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI
from scipy.integrate import quad

from fem_deepest.errors import InputError, NotConverged
from fem_deepest.studies.escape import (
    CORRECTED,
    EFFECTIVE,
    HIGH,
    LAW,
    LOW,
    MEAN,
    SLOPE,
    SPREAD,
)
from fem_deepest.studies.escape_sampled import Escape, escape_times
from fem_deepest.studies.kramers import curvature, effective, eigenvalues, eyring_kramers, potential
from fem_deepest.studies.line import line
from fem_deepest.studies.named import load_study
from fem_deepest.studies.points import Points
from fem_deepest.studies.study import compute


def test_eigenvalues_are_those_of_the_pencil() -> None:
    L, n = 1.3, 6
    h = L / n
    end = np.array([1.0, *[2.0] * (n - 1), 1.0])
    K = (np.diag(end) - np.eye(n + 1, k=1) - np.eye(n + 1, k=-1)) / h
    M = h / 6 * (np.diag(2 * end) + np.eye(n + 1, k=1) + np.eye(n + 1, k=-1))
    expected = np.sort(np.linalg.eigvals(np.linalg.solve(M, K)).real)
    np.testing.assert_allclose(eigenvalues(L, n), expected, atol=1e-10)


@pytest.mark.parametrize("L", [0.5, 1.0, 2.5])
def test_law_of_the_elements_tends_to_that_of_the_equation(L) -> None:
    """The error of the prefactor is of order ``1/n``: modes that are missing."""
    errors = [eyring_kramers(L, 0.1, n) / eyring_kramers(L, 0.1) - 1 for n in (16, 32, 64)]
    assert 0 < errors[2] < 0.03
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 1.0, atol=0.1)


def test_tilted_potential() -> None:
    """Stationary at -1, -b and 1, at heights that are known; without tilt the old one."""
    b, e = 0.3, 1e-6
    for m, height in ((-1.0, 2 * b / 3), (1.0, -2 * b / 3)):
        assert potential(m, b) == pytest.approx(height)
        assert (potential(m + e, b) - potential(m - e, b)) / (2 * e) == pytest.approx(0, abs=1e-9)
    assert (potential(-b + e, b) - potential(-b - e, b)) / (2 * e) == pytest.approx(0, abs=1e-9)
    bend = (potential(0.4 + 1e-4, b) - 2 * potential(0.4, b) + potential(0.4 - 1e-4, b)) / 1e-8
    assert curvature(0.4, b) == pytest.approx(bend, rel=1e-6)
    assert eyring_kramers(1.0, 0.1, 8, 0.0) == pytest.approx(eyring_kramers(1.0, 0.1, 8, -0.0))


@pytest.mark.parametrize("tilt", [0.0, 0.2])
def test_escape_in_the_effective_potential(tilt) -> None:
    """Its limit is the law, at a rate ``eps``; and SciPy's quadrature of the double integral."""
    L, n = 1.0, 4
    ratios = [
        effective(L, eps, n, 0.8, tilt) / eyring_kramers(L, eps, n, tilt) for eps in (4e-3, 2e-3)
    ]
    np.testing.assert_allclose(np.divide(*np.subtract(ratios, 1)), 2.0, atol=0.1)
    eps, lam = 0.08, eigenvalues(L, n)[1:]

    def F(m):
        return L * potential(m, tilt) / eps + 0.5 * np.log(lam + curvature(m, tilt)).sum()

    outer = quad(lambda y: np.exp(F(y)) * quad(lambda z: np.exp(-F(z)), -3.0, y)[0], -1.0, 0.8)[0]
    assert effective(L, eps, n, 0.8, tilt) == pytest.approx(L / eps * outer, rel=1e-6)


@pytest.mark.parametrize(("inverse", "late"), [(8.0, 0.026), (14.0, 0.006)])
def test_escape_that_is_seen_once_a_step(inverse, late) -> None:
    """The chain of the steps of the mean, as a matrix ``Q`` on a grid: ``(1 - Q) T = step``.

    The scheme is Heun's, as in the study. Cells of 0.006 are a tenth of the deviation of a step or less.
    """
    L, n, step, eps, target = 1.0, 4, 0.1, 1.0 / inverse, 0.8
    lam = eigenvalues(L, n)[1:, None]
    edges = np.linspace(-2.2, target, 501)
    centres = 0.5 * (edges[1:] + edges[:-1])
    z = np.linspace(-7.0, 7.0, 4001)
    weights = np.exp(-(z**2) / 2)
    weights /= weights.sum()

    def drift(m):
        return m - m**3 - eps / (2 * L) * (6 * m / (lam + 3 * m**2 - 1)).sum(axis=0)

    noise, inside = np.sqrt(2 * eps * step / L) * z, np.concatenate([[-np.inf], edges[1:]])
    rows = []
    for m in centres:
        slope = drift(np.array([m]))
        ends = m + step / 2 * (slope + drift(m + step * slope + noise)) + noise
        rows.append(np.histogram(ends, inside, weights=weights)[0])
    times = np.linalg.solve(np.eye(centres.size) - np.array(rows), np.full(centres.size, step))
    expected = np.interp(-1.0, centres, times)
    assert effective(L, eps, n, target, step=step) == pytest.approx(expected, rel=3e-3)
    always = effective(L, eps, n, target)
    assert expected / always - 1.0 == pytest.approx(late, abs=3e-3)


def test_line_is_weighted_least_squares() -> None:
    rng = np.random.default_rng(2)
    x, s = np.array([1.0, 2.0, 4.0, 7.0]), np.array([0.1, 0.3, 0.2, 0.1])
    y = 2.0 + 0.5 * x + s * rng.standard_normal(4)
    (slope, intercept), covariance = np.polyfit(x, y, 1, w=1 / s, cov="unscaled")
    found = line(x, y, s)
    np.testing.assert_allclose(
        found, [slope, covariance[0, 0] ** 0.5, intercept, covariance[1, 1] ** 0.5]
    )


def test_slope_of_the_escape_time(tmp_path) -> None:
    """``L/4`` within three standard errors, after a correction that is known; so is every mean.

    The effective potential itself is right to 2 %: its error is of second order in the fluctuations of the
    other modes, whose mean square is ``eps sum_k 1/(lambda_k L)``, 0.03 at the highest temperature.
    """
    study = load_study(
        {
            "study": {"name": "escape", "values": [6.0, 8.0, 10.0], "samples": 400, "batch": 400},
            "problem": {"cells": 4},
        }
    )
    points = compute(study, Points(tmp_path, MPI.COMM_SELF))
    table = study.table(points)
    tables = {"table": table, **study.further(points)}
    slopes = tables["slope"]
    i = slopes.names.index(CORRECTED)
    half = slopes[SLOPE + ", upper end"][i] - slopes[SLOPE][i]
    assert 0.005 < half < 0.04
    assert abs(slopes[SLOPE][i] - 0.25) < 1.5 * half
    others = table.others
    error = (others[HIGH] - others[LOW]) / (2 * 1.96)
    assert np.all(np.abs(others[MEAN] - others[EFFECTIVE]) < 3.5 * error + 0.02 * others[MEAN])
    assert np.all(others[MEAN] > others[LAW])
    # Waiting times without memory, but for the way itself.
    assert np.all(np.abs(others[SPREAD] - 1.0) < 0.2)
    assert study.failures(tables) == []
    wrong = {"table": table, "slope": slopes}
    wrong["slope"].columns[SLOPE][i] += 0.1
    assert "expected 0.25 within" in study.failures(wrong)[0]


def test_paths_do_not_depend_on_those_beside_them() -> None:
    escape = Escape(L=1.0, cells=4, eps=0.15, step=0.1, target=0.8, longest=1e4)
    one = escape_times(escape, 12, 12, 5, MPI.COMM_SELF)
    np.testing.assert_array_equal(escape_times(escape, 12, 5, 5, MPI.COMM_SELF), one)
    assert np.unique(one).size > 6


def test_wrong_input() -> None:
    for name, more in (("escape", {}), ("compare_wells", {"budget": 1})):
        with pytest.raises(InputError, match="between 0 and pi"):
            load_study({"study": {"name": name, **more}, "problem": {"L": 3.2}})
    escape = Escape(L=1.0, cells=2, eps=0.01, step=0.1, target=0.8, longest=1.0)
    with pytest.raises(NotConverged, match="3 of 3 paths have not escaped"):
        escape_times(escape, 3, 3, 0, MPI.COMM_SELF)
