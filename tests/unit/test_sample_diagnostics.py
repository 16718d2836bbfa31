"""R-hat and effective sample sizes against ArviZ and against closed forms."""

import numpy as np
import pytest

from fem_deepest.errors import InputError
from fem_deepest.sample.diagnostics import bulk_ess, rhat, standard_error, summary, tail_ess


def series(seed: int, m: int, n: int, a: float, heavy: bool) -> np.ndarray:
    """Autoregression with unit variance, or a heavy-tailed function of it."""
    e = np.random.default_rng(seed).standard_normal((m, n))
    x = np.empty((m, n))
    x[:, 0] = e[:, 0]
    for i in range(1, n):
        x[:, i] = a * x[:, i - 1] + np.sqrt(1 - a * a) * e[:, i]
    return np.sinh(2 * x) if heavy else x


# rhat, ess(bulk), ess(tail), mcse(mean) of ArviZ 0.22.0.
ARVIZ = [
    ((0, 4, 500, 0.0, False), (1.000698379, 2003.152289, 2055.608786, 0.02233107885)),
    ((1, 4, 500, 0.9, False), (1.050701244, 70.72082594, 223.2868037, 0.1201552981)),
    ((2, 3, 401, 0.5, True), (1.01983591, 439.4469835, 824.9452406, 0.8118203213)),
    ((3, 4, 250, -0.5, False), (1.001149228, 3000.0, 960.0546549, 0.01850461709)),
    ((4, 2, 2000, 0.97, True), (1.007483263, 71.55880488, 107.7739905, 1.786829324)),
]


@pytest.mark.parametrize(("case", "published"), ARVIZ)
def test_against_arviz(case: tuple, published: tuple) -> None:
    x = series(*case)
    if case[0] == 2:
        x[0] += 1.0
    ours = rhat(x), bulk_ess(x), tail_ess(x), standard_error(x)
    np.testing.assert_allclose(ours, published, rtol=1e-9)


@pytest.mark.parametrize("a", [0.0, 0.5, 0.8])
def test_autoregression(a: float) -> None:
    """``(1 - a)/(1 + a)`` of the draws count; the estimate has an error of about ``sqrt(tau/n)`` or so."""
    x = series(7, 8, 20000, a, False)
    share, tau = (1 - a) / (1 + a), (1 + a) / (1 - a)
    # Variance of the estimate: 2 (2 W + 1)/n tau^2 with a window of W = 5 tau (Sokal 1997).
    spread = np.sqrt(2 * (2 * 5 * tau + 1) / x.size)
    assert bulk_ess(x) / x.size == pytest.approx(share, rel=4 * spread)
    assert standard_error(x) == pytest.approx(np.sqrt(tau / x.size), rel=4 * spread)


def test_chains_that_disagree() -> None:
    x = series(1, 4, 400, 0.0, False)
    assert rhat(x) < 1.01
    apart, wide = x.copy(), x.copy()
    apart[0] += 2.0
    wide[0] *= 4.0  # means agree: only the folded draws tell
    assert rhat(apart) > 1.2
    assert rhat(wide) > 1.05
    drift = x + np.linspace(0, 3, 400)  # all chains alike: only the halves tell
    assert rhat(drift) > 1.2


def test_monotone_maps_do_not_matter() -> None:
    x = series(3, 4, 300, 0.6, False)
    assert rhat(np.exp(x)) == pytest.approx(rhat(x), abs=0.02)
    assert bulk_ess(np.exp(x)) == pytest.approx(bulk_ess(x), rel=1e-12)
    assert tail_ess(np.exp(x)) == pytest.approx(tail_ess(x), rel=0.05)


def test_summary_and_refusal() -> None:
    x = series(0, 4, 500, 0.0, False)
    found = summary(x)
    assert found["mean"] == x.mean()
    assert set(found) == {"mean", "sd", "mcse_mean", "r_hat", "ess_bulk", "ess_tail"}
    with pytest.raises(InputError, match="8 draws or more"):
        rhat(x[:, :5])
