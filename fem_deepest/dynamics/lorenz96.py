"""Lorenz 96: ``dx_i/dt = x_{i-1} (x_{i+1} - x_{i-2}) - x_i + f``, indices cyclic.

E. N. Lorenz, Predictability: a problem partly solved, Proc. Seminar on Predictability, ECMWF (1996).

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lorenz96:
    """``D`` variables on a ring, forced by the one parameter ``f`` (chaotic from about 8 on).

    Attributes:
        states: ``D``, at least 4.
    """

    states: int
    name = "lorenz96"
    parameters = ("f",)

    def __post_init__(self) -> None:
        if self.states < 4:
            raise InputError(
                f"Lorenz 96 got {self.states} variables, expected at least 4: the ring reaches from "
                "i - 2 to i + 1"
            )

    @cached_property
    def _ring(self) -> tuple[NDArray[np.int64], ...]:
        """``i``, ``i + 1``, ``i - 1``, ``i - 2``."""
        i = np.arange(self.states)
        return i, (i + 1) % self.states, i - 1, i - 2

    def value(self, t: Array, x: Array, w: Array) -> Array:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        y = np.concatenate([x[..., -2:], x, x[..., :1]], axis=-1)  # slices are faster than indices
        return y[..., 1:-2] * (y[..., 3:] - y[..., :-3]) - x + w

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        i, after, before, second = self._ring
        f_x = np.zeros((*x.shape, self.states))
        f_x[..., i, i] = -1.0
        f_x[..., i, before] = x[..., after] - x[..., second]
        f_x[..., i, after] = x[..., before]
        f_x[..., i, second] = -x[..., before]
        return f_x, np.ones((*x.shape, 1))

    def adjoint(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Transposable`."""
        D = self.states
        y = np.concatenate([x[..., -2:], x, x[..., :2]], axis=-1)
        q = np.concatenate([p[..., -1:], p, p[..., :2]], axis=-1)
        g = q[..., 2 : D + 2] * (y[..., 4:] - y[..., 1 : D + 1])
        g += q[..., :D] * y[..., :D]
        g -= q[..., 3:] * y[..., 3 : D + 3]
        g -= p
        return g, p.sum(axis=-1, keepdims=True)

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        _, after, before, second = self._ring
        shape = np.broadcast_shapes(x.shape, p.shape)
        f_xx = np.zeros((*shape, self.states))
        for other, sign in ((after, 1.0), (second, -1.0)):
            # For D = 4 two of the pairs meet, so the entries are added up.
            f_xx[..., before, other] += sign * p
            f_xx[..., other, before] += sign * p
        return f_xx, np.zeros((*shape, 1)), np.zeros((*shape[:-1], 1, 1))
