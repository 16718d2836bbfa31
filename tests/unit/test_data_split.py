"""Data sets, their split and their scaling."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fem_deepest.data import DataSet, Standardiser, digits, split
from fem_deepest.errors import InputError


def _pairs(counts: list[int]) -> DataSet:
    labels = np.repeat(np.arange(len(counts)), counts)
    inputs = np.arange(2.0 * len(labels)).reshape(-1, 2)
    return DataSet("pairs", inputs, labels, tuple("abcdef"[: len(counts)]))


def _line(samples: int) -> DataSet:
    x = np.arange(float(samples))
    return DataSet("line", x[:, np.newaxis], np.stack([2 * x, -x], axis=1))


def test_a_data_set_knows_its_sizes() -> None:
    pairs, line = _pairs([3, 2]), _line(4)
    assert (pairs.samples, pairs.features, pairs.outputs) == (5, 2, 2)
    assert (line.samples, line.features, line.outputs) == (4, 1, 2)
    assert pairs.is_classification and not line.is_classification
    assert pairs.columns == ("x1", "x2")
    assert pairs.targets.dtype == np.int64
    assert DataSet("flat", [[1], [2]], [3, 4]).targets.tolist() == [[3.0], [4.0]]


def test_take_keeps_order_classes_and_columns() -> None:
    part = _pairs([3, 2]).take([2, 0])
    assert part.inputs.tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert part.targets.tolist() == [0, 0]
    assert part.classes == ("a", "b")
    mask = np.array([False, True, False, False, True])
    assert _pairs([3, 2]).take(mask).targets.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.zeros((0, 2)), np.zeros(0)), ["shape (0, 2)", "empty", "at least one"]),
        ((np.zeros(3), np.zeros(3)), ["shape (3,)", "two axes", "reshape"]),
        (([[1, np.nan]], [0]), ["nan in row 1, column 'x2'", "finite", "fill"]),
        (([[1], [2]], [0, np.inf]), ["target inf in row 2, column 'y1'", "finite"]),
        (([[1], [2]], [0]), ["2 rows", "1 targets", "one target per row"]),
        (([["a"], ["b"]], [0, 1]), ["real numbers", "array of numbers"]),
        (([[1], [2]], np.zeros((2, 0))), ["targets have shape (2, 0)", "(samples, outputs)"]),
        (([[1], [2]], [0, 0], ("a",)), ["at least two classes", "got 1 (a)", "regression"]),
        (([[1], [2]], [0, 1], ("a", "a")), ["listed twice", "once"]),
        (([[1], [2]], [0, 2], ("a", "b")), ["class index 2 in row 2", "0 to 1"]),
        (([[1], [2]], [-1, 1], ("a", "b")), ["class index -1 in row 1", "0 to 1"]),
        (([[1], [2]], [0.0, 1.0], ("a", "b")), ["float64", "integer class index"]),
        (([[1], [2]], [0, 1], None, ("u", "v")), ["2 column names for 1 inputs", "one name"]),
    ],
)
def test_what_is_no_data_set(arguments, words) -> None:
    with pytest.raises(InputError) as error:
        DataSet("thing", *arguments)
    for word in ["thing", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize(("indices", "words"), [([], "empty"), ([7], "samples 0 to 3")])
def test_take_outside(indices, words) -> None:
    with pytest.raises(InputError, match=f"line.*{words}"):
        _line(4).take(indices)


def test_digits_split_as_scikit_learn_does() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    source = load_digits()
    expected = train_test_split(
        source.data, source.target, test_size=0.2, stratify=source.target, random_state=0
    )
    train, test = split(digits(), 0.2, seed=0)
    assert test is not None
    assert (train.samples, test.samples) == (1437, 360)
    assert np.array_equal((train.inputs + 0.5) * 16, expected[0])
    assert np.array_equal((test.inputs + 0.5) * 16, expected[1])
    assert np.array_equal(train.targets, expected[2])
    assert np.array_equal(test.targets, expected[3])


def test_split_is_stratified_and_loses_nothing() -> None:
    data = _pairs([40, 20, 10])
    train, test = split(data, 0.3, seed=5)
    assert test is not None
    assert np.bincount(test.targets).tolist() == [12, 6, 3]
    both = np.concatenate([train.inputs, test.inputs])
    assert np.array_equal(both[np.argsort(both[:, 0])], data.inputs)
    for part in (train, test):  # inputs and targets stay together: row i has first input 2 i
        rows = (part.inputs[:, 0] / 2).astype(int)
        assert np.array_equal(part.targets, data.targets[rows])
    other = split(data, 0.3, seed=6)[0]
    assert not np.array_equal(train.inputs, other.inputs)


def test_regression_split() -> None:
    train, test = split(_line(10), 0.25, seed=0)
    assert test is not None
    assert (train.samples, test.samples) == (7, 3)
    assert np.array_equal(train.targets, train.inputs * [2, -1])
    assert sorted([*train.inputs[:, 0], *test.inputs[:, 0]]) == list(range(10))


def test_no_test_part() -> None:
    data = _pairs([1, 3])
    assert split(data, 0.0, seed=0) == (data, None)


@pytest.mark.parametrize(
    ("data", "fraction", "seed", "words"),
    [
        (_line(4), 1.0, 0, ["test_fraction is 1.0", "below 1"]),
        (_line(4), -0.1, 0, ["test_fraction is -0.1", "from 0"]),
        (_line(4), float("nan"), 0, ["test_fraction is nan"]),
        (_line(4), 0.5, -1, ["seed is -1", "from 0"]),
        (_line(4), 0.5, 2**32, ["seed is 4294967296", "4294967295"]),
        (_line(1), 0.5, 0, ["0.5 of 1 samples", "none for training", "smaller"]),
        (_line(4), 0.9, 0, ["0.9 of 4 samples", "more samples"]),
        (_pairs([5, 1]), 0.5, 0, ["class 'b' has one sample", "test_fraction = 0"]),
        (_pairs([5, 5, 5]), 0.1, 0, ["test part of 2", "3 classes", "larger test_fraction"]),
        (_pairs([5, 5, 5]), 0.9, 0, ["training part of 1", "3 classes", "smaller test_fraction"]),
    ],
)
def test_split_refuses(data: DataSet, fraction: float, seed: int, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        split(data, fraction, seed)
    for word in words:
        assert word in str(error.value)


def test_standardiser_by_hand() -> None:
    x = np.array([[1.0, 0.1, 0.0], [3.0, 0.1, 0.0], [5.0, 0.1, 6.0]])
    scaling = Standardiser.fit(x)
    np.testing.assert_allclose(scaling.mean, [3.0, 0.1, 2.0], rtol=1e-15)
    # Divisor 3: variances (4 + 0 + 4) / 3 and (4 + 4 + 16) / 3; the constant column gets 1.
    np.testing.assert_allclose(scaling.scale, [np.sqrt(8 / 3), 1.0, np.sqrt(8)], rtol=1e-15)
    z = scaling.apply(x)
    assert np.array_equal(z[:, 1], np.zeros(3))
    np.testing.assert_allclose(z[:, 0], [-np.sqrt(1.5), 0, np.sqrt(1.5)], rtol=1e-15)
    np.testing.assert_allclose(scaling.undo(z), x, rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(scaling.apply([[3.0, 2.1, 2.0]]), [[0, 2, 0]], atol=1e-15)


def test_a_spread_that_underflows_counts_as_constant() -> None:
    assert Standardiser.fit([[0.0], [1e-200]]).scale.tolist() == [1.0]


def test_standardiser_survives_json_bit_for_bit() -> None:
    scaling = Standardiser.fit(np.random.default_rng(0).standard_normal((7, 3)))
    back = Standardiser.from_dict(json.loads(json.dumps(scaling.to_dict())))
    assert np.array_equal(back.mean, scaling.mean)
    assert np.array_equal(back.scale, scaling.scale)


def test_identity_changes_nothing() -> None:
    x = np.random.default_rng(0).standard_normal((5, 2))
    assert np.array_equal(Standardiser.identity(2).apply(x), x)
    assert np.array_equal(Standardiser.identity(2).undo(x), x)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Standardiser.fit(np.zeros((0, 2))), ["shape (0, 2)", "at least one sample"]),
        (lambda: Standardiser.fit([1.0, 2.0]), ["shape (2,)", "(samples, columns)"]),
        (lambda: Standardiser.fit([[1e300], [-1e300]]), ["not finite", "rescale"]),
        (lambda: Standardiser(np.zeros(2), np.ones(3)), ["(2,)", "(3,)", "one number per column"]),
        (lambda: Standardiser(np.zeros(1), np.zeros(1)), ["scale 0.0", "positive"]),
        (lambda: Standardiser.identity(2).apply([[1.0]]), ["(1, 1)", "(samples, 2)", "trained"]),
        (lambda: Standardiser.from_dict({"mean": [0]}), ["no 'scale'", "'mean' and 'scale'"]),
    ],
)
def test_standardiser_refuses(call, words) -> None:
    with pytest.raises(InputError) as error:
        call()
    for word in words:
        assert word in str(error.value)
