"""A path that is refined by Brownian bridges stays the same path, with the same law."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import spde_problems as sp

from fem_deepest.errors import InputError
from fem_deepest.noise.finite_rank import scalar_noise
from fem_deepest.spde.path import WienerPath


def _path(samples=(0,), dt=0.2, **more) -> WienerPath:
    return WienerPath(scalar_noise(sp.interval(2), 3), dt, samples, **more)


def test_the_grid() -> None:
    path, noise = _path((0, 4)), scalar_noise(sp.interval(2), 3)
    assert path.next(0.0) == 0.2
    assert path.next(0.6000000000000001) == pytest.approx(0.8)
    expected = noise.increment(3, 0.2, (0, 4)).modes
    np.testing.assert_array_equal(path.increment(0.6, 0.8).modes, expected)
    assert WienerPath(None, 0.2).increment(0.0, 0.2) is None


def test_steps_have_one_length() -> None:
    """A factorisation belongs to a length: rounding of the times must not make others."""
    path = _path(dt=0.1)
    times = [0.0]
    for _ in range(50):
        times.append(path.next(times[-1]))
    assert {path.length(a, b) for a, b in pairwise(times)} == {0.1}
    middle = path.split(times[3], times[4])
    assert path.length(times[3], middle) == path.length(middle, times[4]) == 0.05


def test_a_split_step_keeps_its_noise() -> None:
    path = _path((0, 1))
    whole = path.increment(0.2, 0.4)
    middle = path.split(0.2, 0.4)
    assert middle == pytest.approx(0.3) and path.next(0.2) == middle
    first, second = path.increment(0.2, middle), path.increment(middle, 0.4)
    for name in ("modes", "load", "field", "points"):
        both = getattr(first, name) + getattr(second, name)
        np.testing.assert_allclose(both, getattr(whole, name), rtol=0, atol=1e-15)
    quarter = path.split(0.2, middle, 0.23)
    assert quarter == pytest.approx(0.23)
    over = path.increment(quarter, 0.4).modes + path.increment(0.2, quarter).modes
    np.testing.assert_allclose(over, whole.modes, rtol=0, atol=1e-15)
    np.testing.assert_allclose(path.increment(0.2, 0.4).modes, whole.modes, rtol=0, atol=1e-15)


def test_the_path_does_not_depend_on_what_was_asked_before() -> None:
    """After a rollback, or a restart at the step, the bridges are the same."""
    one, other = _path(), _path()
    one.increment(0.0, 0.2)
    one.split(0.0, 0.2)
    for path in (one, other):
        path.split(0.2, 0.4, 0.25)
        path.split(0.25, 0.4)
    a, b = (path.increment(0.2, 0.25).modes for path in (one, other))
    np.testing.assert_array_equal(a, b)


def test_the_law_of_the_bridge() -> None:
    """The parts are independent with variances of their lengths, within four standard errors."""
    samples = 20000
    path = _path(range(samples), 1.0)
    path.split(0.0, 1.0, 0.3)
    path.split(0.3, 1.0, 0.4)
    ends, lengths = [0.0, 0.3, 0.4, 1.0], np.array([0.3, 0.1, 0.6])
    parts = np.concatenate([path.increment(a, b).modes for a, b in pairwise(ends)])
    covariance = parts @ parts.T / samples
    error = np.sqrt((np.outer(lengths, lengths) * (1.0 + np.eye(3))) / samples)
    assert (np.abs(covariance - np.diag(lengths)) < 4.0 * error).all()


def test_bad_input() -> None:
    with pytest.raises(InputError, match="dt = 0"):
        _path(dt=0.0)
    with pytest.raises(InputError, match=r"multiples of dt = 0\.2 only"):
        _path(refine=False).split(0.0, 0.2)
    with pytest.raises(InputError, match=r"not known at 0\.1"):
        _path().increment(0.0, 0.1)
    with pytest.raises(InputError, match="cannot be split"):
        _path().split(0.0, 0.2, 0.2)
