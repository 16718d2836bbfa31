"""End-point term ``Phi_T`` as a function of the network output ``y``, with two derivatives."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Loss(Protocol):
    """Sum over the columns (samples) of a convex function of the output ``y``, shape (..., C, K).

    The sums of networks side by side are numbers for each, of the shape of the leading axes.

    Attributes:
        metric: Name of the score: "accuracy" or "rmse".
    """

    metric: str

    def value(self, y: Array, target: NDArray, gradient: Array) -> tuple[Any, Any]:
        """Sum of the loss, writes its gradient (..., C, K); and the summed score.

        The score is the number of samples classified rightly, or the sum of squared errors.
        ``gradient`` may be ``y``.
        """

    def score(self, total: float, samples: int, outputs: int) -> float:
        """Fraction of samples classified rightly, or the root mean square error, from the sum."""

    def hessian(self, y: Array, d: Array, out: Array) -> None:
        """Second derivative at ``y`` applied to ``d``, both (C, K), into ``out``."""


class CrossEntropy:
    """Softmax cross-entropy ``-log softmax(y)[target]``; ``target`` holds class numbers, shape (K,)."""

    metric = "accuracy"

    def value(self, y: Array, target: NDArray, gradient: Array) -> tuple[Any, Any]:
        """See :class:`Loss`."""
        # Networks side by side have targets in common, or each its own (B, K).
        own = () if target.ndim == 1 else (np.arange(len(target))[:, None],)
        place = (..., *own, target, np.arange(y.shape[-1]))
        right = np.count_nonzero(y.argmax(axis=-2) == target, axis=-1)
        shifted = np.subtract(y, y.max(axis=-2, keepdims=True), out=gradient)
        value = -shifted[place].sum(axis=-1)
        np.exp(shifted, out=gradient)
        total = gradient.sum(axis=-2, keepdims=True)
        value += np.log(total).sum(axis=(-1, -2))
        gradient /= total
        gradient[place] -= 1.0
        return value, right

    def score(self, total: float, samples: int, outputs: int) -> float:
        """Accuracy."""
        return total / samples

    def hessian(self, y: Array, d: Array, out: Array) -> None:
        """``p * d - p (p . d)`` with ``p = softmax(y)``."""
        p = softmax(y)
        np.multiply(p, d, out=out)
        out -= p * out.sum(axis=0)


class LeastSquares:
    """``R_m/2 |y - target|^2``; ``target`` has shape (C, K).

    Args:
        precision: ``R_m``.
    """

    metric = "rmse"

    def __init__(self, precision: float) -> None:
        self.precision = precision

    def value(self, y: Array, target: NDArray, gradient: Array) -> tuple[Any, Any]:
        """See :class:`Loss`."""
        np.subtract(y, target, out=gradient)
        square = np.einsum("...ck,...ck->...", gradient, gradient)
        gradient *= self.precision
        return 0.5 * self.precision * square, square

    def score(self, total: float, samples: int, outputs: int) -> float:
        """Root mean square error of one entry."""
        return float(np.sqrt(total / (samples * outputs)))

    def hessian(self, y: Array, d: Array, out: Array) -> None:
        """``R_m d``."""
        np.multiply(d, self.precision, out=out)


def softmax(y: Array) -> Array:
    """Class probabilities of the outputs ``y``, both of shape (C, K)."""
    p = np.exp(y - y.max(axis=0))
    p /= p.sum(axis=0)
    return p
