"""Noise in windows, and hops between minima that are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.observations import Observations
from fem_deepest.annealed.hopping import Hopping
from fem_deepest.annealed.schedule import Constant
from fem_deepest.annealed.search import Descent
from fem_deepest.annealed.windows import Windows
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.errors import InputError, NumericalFailure

Array = NDArray[np.float64]

D, NODES = 6, 161


@pytest.fixture(scope="module")
def paths() -> Paths:
    """Not evenly spaced, so that nodes and depth are not taken for each other."""
    t = 2.0 * np.linspace(0.0, 1.0, NODES) ** 1.2
    data = Observations(t, np.zeros((NODES, 1)), [0], 1.0)
    return Paths(Defects(Lorenz96(D), transcription("midpoint"), t), data)


def test_window_is_one_in_its_middle_and_zero_outside(paths: Paths) -> None:
    """Half-widths 0.3 in depth and 1.5 in components: by hand from the middle that the window shows."""
    windows = Windows(paths, (0.3, 0.3), (1.5, 1.5), 0.1, 1.0)
    W = windows.draw(3, 0, range(200))
    t = paths.defects.nodes
    seen = 0
    for s in range(200):
        in_depth, around = W[:, :, s].max(axis=1), W[:, :, s].max(axis=0)
        np.testing.assert_allclose(
            W[:, :, s] * W[:, :, s].max(), in_depth[:, None] * around[None], atol=1e-14
        )
        if W[:, :, s].max() < 1.0:
            continue  # no node in its middle
        one, some = t[in_depth == 1.0], t[in_depth > 0.0]
        if some[0] > 0.0 and some[-1] < 2.0:
            seen += 1
            assert np.ptp(one) <= 0.6 + 1e-12
            assert np.ptp(one) > 0.6 - 0.08  # more than two cells of 0.03
            assert np.ptp(some) <= 1.2 + 1e-12
            assert np.ptp(some) > 1.2 - 0.08
        # On the ring of six three components are nearer than 1.5, and all but one nearer than 3.
        assert np.sum(around == 1.0) == 3
        assert np.sum(around > 0.0) in (5, 6)
    assert seen > 20


def test_windows_are_everywhere_alike(paths: Paths) -> None:
    """The middle is uniform over the ring: each component is in the core in half of the windows."""
    windows = Windows(paths, (0.3, 0.3), (1.5, 1.5), 0.1, 1.0)
    many = 4000
    core = (windows.draw(0, 1, range(many)).max(axis=0) == 1.0).mean(axis=1)
    expected = (windows.draw(0, 1, range(many)).max(axis=(0, 1)) == 1.0).mean() * 0.5
    deviation = np.sqrt(0.25 / many)
    np.testing.assert_allclose(core, expected, atol=4.5 * deviation)


def test_law_of_the_noise_in_the_middle(paths: Paths) -> None:
    """A window over everything draws anew: variance theta, correlation exp(-kappa |t - t'|)."""
    theta, length, many = 4.0, 0.1, 4000
    windows = Windows(paths, (1e3, 1e3), (1e3, 1e3), length, theta)
    U = np.full((paths.size, many), 7.0)
    new = windows(U, 5, 2, range(many))
    np.testing.assert_array_equal(new[-1], 7.0)  # f stays
    x = new[:-1].reshape(NODES, D, many)
    t = paths.defects.nodes
    inner = np.flatnonzero((t > 5 * length) & (t < 2.0 - 5 * length))
    middle = inner[inner.size // 2]
    covariance = np.einsum("jis,is->j", x, x[middle]) / (many * D)
    exact = theta * np.exp(-np.abs(t - t[middle]) / length)
    # Deviation of the estimate, at most theta sqrt(2/(many D)); P1 with h/length below 0.15: h^2/8 of it.
    error = 4.5 * theta * np.sqrt(2.0 / (many * D)) + theta * 0.15**2 / 8.0
    np.testing.assert_allclose(covariance, exact, atol=error)
    across = np.einsum("s,s->", x[middle, 0], x[middle, 1]) / many
    assert abs(across) < 4.5 * theta / np.sqrt(many)


def test_path_stays_outside_of_the_window(paths: Paths) -> None:
    windows = Windows(paths, (0.2, 0.4), (1.0, 2.0), 0.1, 9.0)
    U = np.random.default_rng(0).standard_normal((paths.size, 5))
    W = windows.draw(1, 3, [4, 0, 7, 2, 9]).reshape(-1, 5)
    new = windows(U, 1, 3, [4, 0, 7, 2, 9])
    out = W == 0.0
    assert 0.2 < out.mean() < 1.0
    np.testing.assert_array_equal(new[:-1][out], U[:-1][out])
    assert (new[:-1][W == 1.0] != U[:-1][W == 1.0]).all()
    # A column does not know of the others.
    np.testing.assert_array_equal(new[:, 2:3], windows(U[:, 2:3], 1, 3, [7]))
    assert (windows(U[:, 2:3], 1, 4, [7]) != new[:, 2:3]).any()


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        (((0.0, 1.0), (1.0, 2.0), 0.1, 1.0), "width from 0.0 to 1.0"),
        (((0.1, 1.0), (3.0, 2.0), 0.1, 1.0), "breadth from 3.0 to 2.0"),
        (((0.1, 1.0), (1.0, 2.0), 0.0, 1.0), "length 0.0"),
        (((0.1, 1.0), (1.0, 2.0), 0.1, np.inf), "theta inf"),
    ],
)
def test_wrong_windows_are_refused(paths: Paths, numbers: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Windows(paths, *numbers)


# Hops on three levels: u is in the basin of its nearest whole number, whose level is known. -------

LEVELS = np.array([0.0, 2.0, 1.0])


def descend(U: Array) -> Descent:
    """To the nearest of the minima 0, 1, 2."""
    minimum = np.clip(np.rint(U), 0.0, 2.0)
    value = LEVELS[minimum[0].astype(int)]
    some = np.ones(U.shape[1])
    return Descent(minimum, value, some > 0.0, 3.0 * some)


def turn(U: Array, seed: int, step: int, numbers: object) -> Array:
    """0 -> 1 -> 2 -> 0."""
    return (U + 1.0) % 3.0


def test_only_lower_minima_are_accepted() -> None:
    hopping = Hopping(turn, descend, np.array([[0.2, 1.1, 1.8]]), numbers=[0, 1, 2])
    np.testing.assert_array_equal(hopping.values, [0.0, 2.0, 1.0])
    hopping.advance()  # to 1, 2, 0
    np.testing.assert_array_equal(hopping.accepted, [False, True, True])
    np.testing.assert_array_equal(hopping.U, [[0.0, 2.0, 0.0]])
    hopping.advance()
    np.testing.assert_array_equal(hopping.best_values, [0.0, 0.0, 0.0])
    np.testing.assert_array_equal(hopping.gradients, [9.0, 9.0, 9.0])


def test_stationary_law_of_hops_with_a_temperature() -> None:
    """With symmetric moves between the minima the Metropolis rule samples exp(-A/theta)."""

    def symmetric(U: Array, seed: int, step: int, numbers: object) -> Array:
        way = np.random.default_rng([seed, step]).choice([1.0, 2.0], U.shape[1])
        return (U + way) % 3.0

    many, theta = 4000, 1.5
    hopping = Hopping(
        symmetric, descend, np.zeros((1, many)), schedule=Constant(theta), numbers=range(many)
    )
    for _ in range(30):  # the second eigenvalue of this chain is below 0.6
        hopping.advance()
    law = np.exp(-LEVELS / theta) / np.exp(-LEVELS / theta).sum()
    share = np.array([(hopping.U[0] == i).mean() for i in range(3)])
    np.testing.assert_allclose(share, law, atol=4.5 * np.sqrt(0.25 / many))
    assert hopping.best_values.max() == 0.0


def test_goes_on_bit_for_bit() -> None:
    def run(hops: int, start: object) -> Hopping:
        hopping = Hopping(turn, descend, start, schedule=Constant(1.0), numbers=range(20), seed=4)
        for _ in range(hops):
            hopping.advance()
        return hopping

    U = np.linspace(0.0, 2.0, 20)[None]
    whole, half = run(11, U), run(5, U)
    again = run(6, half.state)
    for one, other in zip(whole.state, again.state, strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_cannot_begin_is_refused() -> None:
    with pytest.raises(InputError, match="2 numbers for 1 columns"):
        Hopping(turn, descend, np.zeros((1, 1)), numbers=[0, 1])

    def nowhere(U: Array) -> Descent:
        down = descend(U)
        return down._replace(values=down.values + np.array([0.0, np.nan]))

    with pytest.raises(NumericalFailure, match="column 1"):
        Hopping(turn, nowhere, np.zeros((1, 2)), numbers=[0, 1])
