"""Samples that a random network of continuous depth explains: a known answer for any numbers of inputs.

The teacher has ``N = 16`` states that do not forget, see :mod:`.twin`:

    x(0) = E z,    x' = tanh(W(t) x + b(t)) - x/4 on (0, 4),    y = C x(4),

``W`` antisymmetric, ``W`` and ``b`` linear between five knots, all random; eight steps of the midpoint
rule. Inputs are ``z ~ N(0, I)``, targets ``y + noise N(0, I)``. So the best mean square error
is that of the noise. For classification the class is the largest target.

Nothing here is collective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data.counters import gaussians

__all__ = ["Teacher"]

Array = NDArray[np.float64]

STATES = 16
_KNOTS, _STEPS, _DEPTH = 5, 8, 4.0
_LIFT, _FIELD, _READOUT = 1, 2, 3  # streams


class Teacher:
    """The network of a teacher.

    Args:
        features: Number of inputs ``d``.
        outputs: Number of outputs ``m``.
        seed: Of its weights, below 2^32.
    """

    def __init__(self, features: int, outputs: int, seed: int) -> None:
        def draw(stream: int, rows: int, columns: int) -> Array:
            return gaussians(seed, stream, np.arange(rows), columns)

        self.lift = draw(_LIFT, features, STATES) / np.sqrt(features)
        knots = draw(_FIELD, _KNOTS, STATES * (STATES + 1)).reshape(_KNOTS, STATES, STATES + 1)
        matrix = knots[..., :-1] - np.swapaxes(knots[..., :-1], 1, 2)
        self._matrix, self._bias = matrix / np.sqrt(STATES), 0.1 * knots[..., -1]
        self.readout = draw(_READOUT, STATES, outputs) / np.sqrt(STATES)

    def __call__(self, z: Array) -> Array:
        """Outputs (k, m) of inputs (k, d), without noise."""
        x, h = z @ self.lift, _DEPTH / _STEPS
        for i in range(_STEPS):
            middle = x + 0.5 * h * self._slope(x, i * h)
            x = x + h * self._slope(middle, (i + 0.5) * h)
        return np.asarray(x @ self.readout)

    def _slope(self, x: Array, t: float) -> Array:
        place = t / _DEPTH * (_KNOTS - 1)
        left = min(int(place), _KNOTS - 2)
        part = place - left
        matrix = (1.0 - part) * self._matrix[left] + part * self._matrix[left + 1]
        bias = (1.0 - part) * self._bias[left] + part * self._bias[left + 1]
        return np.tanh(x @ matrix.T + bias) - 0.25 * x
