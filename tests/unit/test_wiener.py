"""Q-Wiener processes: laws of the increments, and one path on all time grids.

Entry (i, j) of the sample covariance of N Gaussian vectors has the variance (C_ii C_jj + C_ij^2)/N; five
standard errors in a thousand entries are passed by chance with probability 6e-4, and the seed is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from covariances import dense, interval, order, p1, rectangle
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.covariance import Covariance
from fem_deepest.noise.karhunen_loeve import KarhunenLoeve, PowerLaw
from fem_deepest.noise.kernel import KernelCovariance
from fem_deepest.noise.matern import WhittleMatern, marginal_variance
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener

Array = NDArray[np.float64]

SAMPLES = 20_000


def _within(samples: Array, C: Array, errors: float = 5.0) -> None:
    """Sample covariance of the columns within so many standard errors, with the mean known to be zero."""
    count = samples.shape[1]
    variance = np.diagonal(C)
    error = np.sqrt((np.outer(variance, variance) + C**2) / count)
    gap = np.abs(samples @ samples.T / count - C)
    assert (gap <= errors * error + 1e-14).all(), (gap / np.maximum(error, 1e-300)).max()
    mean = samples.mean(axis=1)
    assert (np.abs(mean) <= errors * np.sqrt(variance / count) + 1e-14).all()


def _gaussian(x: Array, y: Array) -> Array:
    return np.exp(-((x[:, :1] - y[:, 0]) ** 2) / 0.1)


COVARIANCES: dict[str, Callable[[], Covariance]] = {
    "white": lambda: WhiteCovariance(interval(12)),
    "white-p2": lambda: WhiteCovariance(rectangle(2, 2, degree=2)),
    "white-lumped": lambda: WhiteCovariance(interval(12), lumped=True),
    "matern": lambda: WhittleMatern(rectangle(4, 3), kappa=3.0, boundary="robin"),
    "matern-1": lambda: WhittleMatern(interval(12), kappa=3.0, alpha=1.0, boundary="periodic"),
    "sine": lambda: KarhunenLoeve(interval(12), PowerLaw(0.5), 20),
    "neumann": lambda: KarhunenLoeve(interval(12), PowerLaw(1.0, shift=1.0), 4, basis="neumann"),
    "kernel": lambda: KernelCovariance(interval(12), _gaussian),
}


def _wiener(covariance: Covariance, seed: int = 3, substeps: int = 1) -> QWiener:
    return QWiener(covariance, WhiteNoise(covariance.V, seed, lumped=covariance.lumped), substeps)


@pytest.mark.parametrize("name", COVARIANCES)
@pytest.mark.parametrize("substeps", [1, 3])
def test_increments_have_their_law(name: str, substeps: int) -> None:
    covariance, dt = COVARIANCES[name](), 0.37
    increment = _wiener(covariance, substeps=substeps).increment(5, dt, range(SAMPLES))
    size = covariance.blocks.size
    C, M = dense(covariance.apply, size), dense(covariance.mass, size)
    if name == "white-lumped":
        M = np.diag(M.sum(axis=1))
    _within(increment.field, dt * C)
    _within(increment.load, dt * M @ C @ M)
    np.testing.assert_allclose(increment.load, M @ increment.field, rtol=0, atol=1e-11)
    assert increment.dt == pytest.approx(dt)


@pytest.mark.parametrize("name", COVARIANCES)
def test_coarse_steps_are_sums_of_fine_ones(name: str) -> None:
    covariance, samples = COVARIANCES[name](), (0, 7)
    fine = _wiener(covariance)
    coarse = fine.coarse(4).increment(3, 0.4, samples)
    parts = [fine.increment(n, 0.1, samples) for n in range(12, 16)]
    for what in ("load", "field", "points"):
        total = sum(getattr(part, what) for part in parts)
        np.testing.assert_allclose(
            getattr(coarse, what), total, rtol=0, atol=1e-13 * max(1.0, np.abs(total).max())
        )
        assert np.abs(total).max() > 1e-3
    added = parts[0] + parts[1] + parts[2] + parts[3]
    np.testing.assert_array_equal(added.load, coarse.load)
    assert added.dt == pytest.approx(0.4)


@pytest.mark.parametrize("name", COVARIANCES)
def test_an_increment_depends_on_seed_step_and_sample_alone(name: str) -> None:
    covariance = COVARIANCES[name]()
    wiener = _wiener(covariance)
    many = wiener.increment(2, 0.1, range(5)).load
    again = _wiener(covariance).increment(2, 0.1, (3, 1)).load
    np.testing.assert_allclose(again, many[:, [3, 1]], rtol=0, atol=1e-13)
    others = [
        _wiener(covariance, seed=4).increment(2, 0.1, (3,)).load,
        wiener.increment(3, 0.1, (3,)).load,
        many[:, 2:3],
    ]
    for other in others:
        assert np.abs(other - many[:, 3:4]).max() > 1e-3


def test_points_of_coloured_noise_are_values_of_the_field() -> None:
    covariance = COVARIANCES["matern"]()
    wiener = _wiener(covariance)
    increment = wiener.increment(0, 1.0, (0, 1))
    rule = wiener.white.quadrature
    # Integrated against the basis they give the load again, since the rule is exact for M.
    np.testing.assert_allclose(rule.integrate(increment.points), increment.load, rtol=0, atol=1e-14)


def test_points_of_white_noise_give_its_load() -> None:
    wiener = _wiener(COVARIANCES["white"](), substeps=2)
    increment = wiener.increment(0, 1.0, (0, 1))
    rule = wiener.white.quadrature
    np.testing.assert_allclose(rule.integrate(increment.points), increment.load, rtol=0, atol=1e-14)


def test_modes_see_one_path_on_all_meshes() -> None:
    # <u, e_j> of the smooth modes, by the exact projection: M^{-1} F has the moments F^T M^{-1} F c.
    paths = []
    for cells in (64, 128):
        covariance = KarhunenLoeve(interval(cells), [1.0, 0.3, 0.2])
        x = order(covariance.V)
        paths.append(_wiener(covariance).increment(1, 0.5, range(3)).field[x][:: cells // 64])
    # Errors of the L2 projection at the nodes: (k h)^4 / 100 and the like.
    np.testing.assert_allclose(paths[0], paths[1], rtol=0, atol=(3 * math.pi / 64) ** 2 / 4)
    coarse = KarhunenLoeve(interval(64), [1.0, 0.3, 0.2])
    fine = KarhunenLoeve(interval(128), [1.0, 0.3, 0.2])
    P = np.zeros((129, 65))
    P[::2] = np.eye(65)
    P[1::2] = 0.5 * (np.eye(65)[:-1] + np.eye(65)[1:])
    loads = [_wiener(c).increment(1, 0.5, range(3)).load[order(c.V)] for c in (coarse, fine)]
    np.testing.assert_allclose(P.T @ loads[1], loads[0], rtol=0, atol=1e-13)


def test_samples_of_the_exponential_covariance() -> None:
    # Robin coefficient kappa: exp(-kappa r)/(2 kappa) on an interval, up to (kappa h)^2/24.
    cells, kappa = 24, 3.0
    covariance = WhittleMatern(
        interval(cells, 2.0), kappa=kappa, alpha=1.0, boundary="robin", robin=1.0
    )
    x = np.linspace(0.0, 2.0, cells + 1)
    exact = np.exp(-kappa * np.abs(x[:, None] - x)) / (2.0 * kappa)
    fields = covariance.sample(WhiteNoise(covariance.V, 11), samples=range(SAMPLES))
    gap = np.abs(
        fields @ fields.T / SAMPLES - exact[np.ix_(*[np.argsort(order(covariance.V))] * 2)]
    )
    statistical = 5.0 * math.sqrt(2.0 / SAMPLES) / (2.0 * kappa)
    assert gap.max() < statistical + (kappa * 2.0 / cells) ** 2 / 24 / (2.0 * kappa)


def test_samples_have_the_standard_deviation_asked_for() -> None:
    sigma, count = 1.8, 2000
    covariance = WhittleMatern.with_law(
        rectangle(40, 40, (2.0, 2.0)), sigma=sigma, length=0.4, boundary="robin"
    )
    fields = covariance.sample(WhiteNoise(covariance.V, 5), samples=range(count))
    x = covariance.V.tabulate_dof_coordinates()[:, :2]
    centre = np.linalg.norm(x - 1.0, axis=1).argmin()
    value = fields[centre].var()
    # Five standard errors and the error (kappa h)^2 log(1/(kappa h)) / 8 of the discrete variance.
    kappa_h = math.sqrt(8.0) / 0.4 * 2.0 / 40
    bias = kappa_h**2 * math.log(1.0 / kappa_h) / 8.0
    assert abs(value / sigma**2 - 1.0) < 5.0 * math.sqrt(2.0 / count) + bias
    assert covariance.tau**2 * marginal_variance(covariance.kappa, 2.0, 2) == pytest.approx(
        sigma**2
    )


def test_trace_is_the_mean_of_the_square_norm() -> None:
    covariance = WhittleMatern(rectangle(8, 8), kappa=3.0)
    fields = covariance.sample(WhiteNoise(covariance.V, 5), dt=0.5, samples=range(SAMPLES))
    norms = (fields * covariance.mass(fields)).sum(axis=0)
    error = norms.std() / math.sqrt(SAMPLES)
    assert abs(norms.mean() - 0.5 * covariance.trace()) < 5.0 * error


def test_wrong_processes_are_refused() -> None:
    V = interval(4)
    white = WhiteNoise(V, 0)
    covariance = WhiteCovariance(V)
    with pytest.raises(InputError, match="live on two spaces"):
        QWiener(covariance, WhiteNoise(interval(4), 0))
    with pytest.raises(InputError, match="0 substeps"):
        QWiener(covariance, white, 0)
    with pytest.raises(
        InputError, match="lumped = True was given to a covariance that expects lumped = False"
    ):
        QWiener(WhittleMatern(V, kappa=1.0), WhiteNoise(V, 0, lumped=True))
    with pytest.raises(InputError, match="expects lumped = True"):
        QWiener(WhiteCovariance(V, lumped=True), white)
    wiener = QWiener(covariance, white)
    bad: list[tuple[int, Any]] = [(0, 0.0), (0, -0.1), (-1, 0.1), (0, math.nan), (0, math.inf)]
    for step, dt in bad:
        with pytest.raises(InputError, match="expected a number from 0 and a positive length"):
            wiener.increment(step, dt)
    with pytest.raises(InputError, match="follow each other"):
        wiener.increment(0, 0.1) + wiener.increment(2, 0.1)
    with pytest.raises(InputError, match="positive length"):
        KarhunenLoeve(V, [1.0]).sample(white, 0, -1.0)


def test_the_numbers_of_the_process_are_those_of_its_covariance() -> None:
    covariance = WhittleMatern(interval(6), kappa=2.0, alpha=2.0)
    wiener = _wiener(covariance)
    M, K = p1(np.linspace(0.0, 1.0, 7))
    L = np.linalg.inv(4.0 * M + K)
    assert wiener.trace() == pytest.approx(np.trace(M @ L @ M @ L), rel=1e-12)
    assert wiener.beta() == 2.5
