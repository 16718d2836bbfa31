"""Losses against closed forms, their derivatives against the complex step and dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.network.loss import CrossEntropy, LeastSquares, softmax

random = np.random.default_rng(5)
Y = random.standard_normal((4, 6))
CLASSES = np.array([0, 3, 1, 2, 2, 0])
VALUES = random.standard_normal((4, 6))
R_M = 2.5


def _cross_entropy(y: np.ndarray) -> complex:
    return sum(np.log(np.exp(y[:, k]).sum()) - y[c, k] for k, c in enumerate(CLASSES))


def _least_squares(y: np.ndarray) -> complex:
    return R_M / 2 * ((y - VALUES) ** 2).sum()


losses = pytest.mark.parametrize(
    ("loss", "target", "formula"),
    [
        pytest.param(CrossEntropy(), CLASSES, _cross_entropy, id="cross_entropy"),
        pytest.param(LeastSquares(R_M), VALUES, _least_squares, id="least_squares"),
    ],
)


def _gradient(formula, y: np.ndarray) -> np.ndarray:
    g = np.empty(y.shape)
    for entry in np.ndindex(*y.shape):
        shifted = y.astype(complex)
        shifted[entry] += 1e-30j
        g[entry] = np.imag(formula(shifted)) * 1e30
    return g


@losses
def test_value_and_gradient(loss, target, formula) -> None:
    g = np.empty_like(Y)
    value, _ = loss.value(Y, target, g)
    assert value == pytest.approx(formula(Y), rel=1e-14)
    np.testing.assert_allclose(g, _gradient(formula, Y), atol=1e-14)


@losses
def test_gradient_in_place(loss, target, formula) -> None:
    g, y = np.empty_like(Y), Y.copy()
    expected = loss.value(Y, target, g)
    assert loss.value(y, target, y) == expected
    np.testing.assert_array_equal(y, g)


@losses
def test_hessian_is_the_difference_of_gradients(loss, target, formula) -> None:
    d, out = np.random.default_rng(6).standard_normal(Y.shape), np.empty_like(Y)
    loss.hessian(Y, d, out)
    e = 1e-5  # central difference: e^2 from the third derivative, eps/e from rounding, 1e-10 each
    difference = (_gradient(formula, Y + e * d) - _gradient(formula, Y - e * d)) / (2 * e)
    np.testing.assert_allclose(out, difference, atol=2e-9)


def test_hessian_of_cross_entropy_is_diag_p_minus_p_p() -> None:
    p, d, out = softmax(Y), np.random.default_rng(7).standard_normal(Y.shape), np.empty_like(Y)
    CrossEntropy().hessian(Y, d, out)
    for k in range(6):
        matrix = np.diag(p[:, k]) - np.outer(p[:, k], p[:, k])
        np.testing.assert_allclose(out[:, k], matrix @ d[:, k], atol=1e-15)


def test_softmax() -> None:
    p = softmax(np.log([[1.0, 5.0], [2.0, 5.0], [7.0, 10.0]]))
    np.testing.assert_allclose(p, [[0.1, 0.25], [0.2, 0.25], [0.7, 0.5]], rtol=1e-14)


def test_cross_entropy_of_uniform_logits() -> None:
    y, g = np.full((5, 7), 3.0), np.empty((5, 7))
    value, _right = CrossEntropy().value(y, np.zeros(7, dtype=int), g)
    assert value == pytest.approx(7 * np.log(5.0), rel=1e-15)
    np.testing.assert_allclose(g[0], -0.8, rtol=1e-15)
    np.testing.assert_allclose(g[1:], 0.2, rtol=1e-15)


def test_cross_entropy_of_large_logits() -> None:
    y = np.array([[1e4, -1e4], [0.0, 1e4], [-1e4, 0.0]])
    g, out = np.empty_like(y), np.empty_like(y)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        value, right = CrossEntropy().value(y, np.array([1, 1]), g)
        CrossEntropy().hessian(y, np.ones_like(y), out)
    assert value == 1e4  # the first sample is wrong by 1e4, the second right with certainty
    assert right == 1
    np.testing.assert_array_equal(g, [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(out, 0.0)


def test_scores() -> None:
    y = np.array([[2.0, 0.0, 1.0, 0.0], [1.0, 3.0, 4.0, 9.0]])
    loss = CrossEntropy()
    _, right = loss.value(y, np.array([0, 0, 1, 1]), np.empty_like(y))
    assert loss.metric == "accuracy"
    assert loss.score(right, 4, 2) == 0.75
    squares = LeastSquares(R_M)
    _, total = squares.value(y, y + np.array([[1.0], [2.0]]), np.empty_like(y))
    assert squares.metric == "rmse"
    # Four samples are off by (1, 2): mean square 5/2, whatever the precision.
    assert squares.score(total, 4, 2) == pytest.approx(np.sqrt(2.5), rel=1e-15)
