"""How well a network predicts, as the score of a loss: so that a sweep of an action finds it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data import Standardiser

Array = NDArray[np.float64]


class Score:
    """A loss that is nothing, with the score of :meth:`.Model.score`; fulfils :class:`.Loss`.

    Args:
        classes: Whether the targets are class numbers (K,); else they are scaled values (C, K).
        targets: Scaling of the values.
    """

    def __init__(self, classes: bool, targets: Standardiser) -> None:
        self.metric = "accuracy" if classes else "rmse"
        self._classes, self._scale = classes, np.asarray(targets.scale)

    def value(self, y: Array, target: NDArray, gradient: Array) -> tuple[float, float]:
        """Nothing, and the number of samples classified rightly, or the sum of squared errors."""
        if self._classes:
            found = float(np.count_nonzero(y.argmax(axis=0) == target))
        else:
            found = float(np.sum((self._scale[:, None] * (y - target)) ** 2))
        gradient[...] = 0.0
        return 0.0, found

    def score(self, total: float, samples: int, outputs: int) -> float:
        """Fraction right, or the root mean square error in the units of the data."""
        return total / samples if self._classes else float(np.sqrt(total / (samples * outputs)))

    def hessian(self, y: Array, d: Array, out: Array) -> None:
        """Zero."""
        out[...] = 0.0
