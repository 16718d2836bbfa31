"""One column of errors: values, their confidence intervals, and the order that theory gives.

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit  # importing scipy.stats takes 0.15 s at every start

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Errors:
    """One column of errors.

    Attributes:
        values: Errors, (m,); nan where there is none.
        expected: Order that theory gives, or none.
        low: Lower ends of confidence intervals, (m,), where sampled.
        high: Upper ends likewise.
    """

    values: Array
    expected: float | None = None
    low: Array | None = None
    high: Array | None = None

    def __post_init__(self) -> None:
        """Bring all to (m,) float64."""
        for name in ("values", "low", "high"):
            if getattr(self, name) is not None:
                array = np.array(getattr(self, name), dtype=np.float64)
                object.__setattr__(self, name, array)
                if array.ndim != 1 or array.shape != self.values.shape:
                    raise InputError(f"errors have {name} of shape {array.shape}; expected (rows,)")
        if (self.low is None) != (self.high is None):
            raise InputError("errors with one end of an interval; give both low and high, or none")

    @classmethod
    def sampled(
        cls, samples: ArrayLike, expected: float | None = None, confidence: float = 0.95
    ) -> Errors:
        """Means of ``samples``, (m, S), with Student's interval of the mean.

        Raises:
            InputError: Fewer than two samples of a row.
        """
        x = np.asarray(samples, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] < 2:
            raise InputError(
                f"samples of shape {x.shape}; an interval needs (rows, two or more samples)"
            )
        count, mean = x.shape[1], x.mean(axis=1)
        half = stdtrit(count - 1, 0.5 + 0.5 * confidence) * x.std(axis=1, ddof=1)
        half /= np.sqrt(count)
        return cls(mean, expected, mean - half, mean + half)

    def root(self, p: int) -> Errors:
        """The ``p``-th roots of means of ``p``-th powers, and of the ends of their intervals."""
        ends = [
            None if v is None else np.maximum(v, 0.0) ** (1.0 / p)
            for v in (self.values, self.low, self.high)
        ]
        assert ends[0] is not None
        return Errors(ends[0], self.expected, ends[1], ends[2])
