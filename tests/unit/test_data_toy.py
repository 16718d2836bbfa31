"""Toy sets: their laws, checked by formulas written here, and their reproducibility."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.data import DataSet, digits, load, toy
from fem_deepest.data.toy import TOYS, peaks_function
from fem_deepest.errors import InputError

# Sample 0 without noise, seed 0: the law's own numbers, from the first draws of Philox(0).
FIRST = {
    "donut": (-0.0023143859466064564, 0.0473853281532774),
    "squares": (-0.9746793358018341, 0.5360189578756881),
    "spiral": (0.11069669399566791, 0.02094259695226732),
    "peaks": (-0.0181132432096837, -0.6297448703573647),
    "swiss_roll": (0.01153985222638297, 0.0020614348550753465),
}


@pytest.mark.parametrize("name", list(TOYS))
def test_balanced_reproducible_and_a_prefix(name: str) -> None:
    data = toy(name, samples=1003, seed=7)
    counts = np.bincount(data.targets)
    assert counts.sum() == 1003
    assert counts.max() - counts.min() <= 1
    assert data.classes == tuple(str(c) for c in range(5 if name == "peaks" else 2))
    assert np.array_equal(data.inputs, toy(name, samples=1003, seed=7).inputs)
    assert not np.array_equal(data.inputs, toy(name, samples=1003, seed=8).inputs)
    for noise in (0.0, 0.05):
        few, many = toy(name, 50, 7, noise), toy(name, 20000, 7, noise)
        assert np.array_equal(few.inputs, many.inputs[:50])
        assert np.array_equal(few.targets, many.targets[:50])


@pytest.mark.parametrize("name", list(FIRST))
def test_recorded_first_sample(name: str) -> None:
    np.testing.assert_allclose(toy(name, 10, 0, 0.0).inputs[0], FIRST[name], rtol=1e-13)


@pytest.mark.parametrize("name", list(TOYS))
def test_noise_is_added_with_its_standard_deviation(name: str) -> None:
    clean, noisy = toy(name, 4000, 3, 0.0).inputs, toy(name, 4000, 3, 0.2).inputs
    difference = (noisy - clean) / 0.2
    stream = np.random.Generator(np.random.Philox(3).jumped())
    np.testing.assert_allclose(difference, stream.standard_normal((4000, 2)), atol=1e-14)
    # 8000 standard normal numbers: mean within 4/sqrt(8000), deviation within 4/sqrt(16000).
    assert abs(difference.mean()) < 4 / np.sqrt(8000)
    assert abs(difference.std() - 1) < 4 / np.sqrt(16000)
    assert abs(np.corrcoef(difference.T)[0, 1]) < 4 / np.sqrt(4000)


def _clean(name: str) -> DataSet:
    return toy(name, samples=20000, seed=5, noise=0.0)


def test_donut_is_a_disc_in_a_ring_uniform_by_area() -> None:
    data = _clean("donut")
    radius = np.hypot(*data.inputs.T)
    inner, outer = radius[data.targets == 0], radius[data.targets == 1]
    assert 0.39 < inner.max() <= 0.4
    assert 0.6 <= outer.min() < 0.61
    assert 0.99 < outer.max() <= 1.0
    # A quarter of the disc's area lies within half its radius; 4 standard deviations of 10000.
    assert abs((inner < 0.2).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 10000)
    assert abs((outer < 0.8).mean() - 0.28 / 0.64) < 4 * np.sqrt(0.25 / 10000)


def test_squares_is_a_checkerboard() -> None:
    data = _clean("squares")
    assert np.array_equal(data.targets == 1, data.inputs[:, 0] * data.inputs[:, 1] > 0)
    sizes = np.abs(data.inputs)
    assert 0.1 <= sizes.min() < 0.101
    assert 0.999 < sizes.max() <= 1.0
    assert abs(sizes.mean() - 0.55) < 4 * (0.9 / np.sqrt(12)) / np.sqrt(40000)
    quarters = np.bincount(2 * (data.inputs[:, 0] > 0) + (data.inputs[:, 1] > 0), minlength=4)
    assert np.abs(quarters - 5000).max() < 4 * np.sqrt(20000 * 0.25 * 0.75)


@pytest.mark.parametrize("name", ["spiral", "swiss_roll"])
def test_arms_lie_on_their_curves(name: str) -> None:
    data = _clean(name)
    x, label = data.inputs, data.targets
    radius = np.hypot(*x.T)
    if name == "spiral":
        s = (radius - 0.1) / 0.9
        angle = 0.1 + (2 * np.pi - 0.1) * s + np.pi * label
    else:
        s = 1.2 * radius - 0.2 * label
        angle = 4 * np.pi * s
    curve = radius[:, np.newaxis] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(x, curve, atol=1e-12)
    assert s.min() > -1e-12
    assert s.max() < 1 + 1e-12
    assert abs(s.mean() - 0.5) < 4 / np.sqrt(12 * 20000)


def test_peaks_bands() -> None:
    # MATLAB's documented extrema of peaks, and its value at the origin.
    grid = np.linspace(-3, 3, 1201)
    values = peaks_function(*np.meshgrid(grid, grid))
    assert abs(values.max() - 8.1062) < 1e-3
    assert abs(values.min() + 6.5511) < 1e-3
    origin = peaks_function(np.zeros(1), np.zeros(1))[0]
    assert origin == pytest.approx(3 / np.e - 1 / (3 * np.e), rel=1e-14)

    data = toy("peaks", samples=5000, seed=5, noise=0.0)
    assert np.abs(data.inputs).max() <= 1.0
    height = (8.10621358944234 + 6.55113333283584) / 5
    band = (peaks_function(*(3 * data.inputs).T) + 6.55113333283584) / height
    assert np.array_equal(np.clip(np.floor(band), 0, 4), data.targets)
    distance = np.abs(band[:, np.newaxis] - np.arange(1, 5)).min(axis=1)
    assert 0.15 - 1e-9 < distance.min() < 0.155
    assert np.array_equal(np.bincount(data.targets), [1000] * 5)


@pytest.mark.parametrize("name", list(TOYS))
def test_default_noise_leaves_the_classes_separable(name: str) -> None:
    from sklearn.svm import SVC

    train, test = toy(name, 1000, seed=0), toy(name, 2000, seed=1)
    machine = SVC(C=1e4, gamma=10).fit(train.inputs, train.targets)
    assert machine.score(test.inputs, test.targets) >= 0.99


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: toy("donnut"), ["donnut", "'donut'", "peaks"]),
        (lambda: toy("peaks", samples=4), ["samples is 4", "at least 5"]),
        (lambda: toy("donut", samples=1), ["samples is 1", "at least 2"]),
        (lambda: toy("spiral", seed=-1), ["seed is -1", "from 0"]),
        (lambda: toy("spiral", noise=-0.1), ["noise is -0.1", "0 or more"]),
        (lambda: toy("spiral", noise=float("nan")), ["noise is nan", "0 or more"]),
        (lambda: load("digit"), ["digit", "'digits'", "file"]),
        (lambda: load("file"), ["without a path", "CSV, NPZ or HDF5"]),
    ],
)
def test_refusals(call, words) -> None:
    with pytest.raises(InputError) as error:
        call()
    for word in words:
        assert word in str(error.value)


def test_load_dispatches(tmp_path) -> None:
    assert np.array_equal(
        load("spiral", samples=30, seed=4, noise=0.1).inputs, toy("spiral", 30, 4, 0.1).inputs
    )
    file = tmp_path / "pairs.csv"
    file.write_text("a,b,c\n1,2,3\n4,5,6\n")
    data = load("file", path=file, target="b", inputs=["c"], kind="regression")
    assert data.inputs.tolist() == [[3.0], [6.0]]
    assert data.targets.tolist() == [[2.0], [5.0]]
    assert load("digits").samples == 1797


def test_digits() -> None:
    from sklearn.datasets import load_digits

    data = digits()
    source = load_digits()
    assert data.inputs.shape == (1797, 64)
    assert np.array_equal((data.inputs + 0.5) * 16, source.data)
    assert np.array_equal(data.targets, source.target)
    assert (data.inputs.min(), data.inputs.max()) == (-0.5, 0.5)
    assert data.classes == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    # Counts of the classes in the UCI test file (optdigits.names).
    assert np.bincount(data.targets).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
