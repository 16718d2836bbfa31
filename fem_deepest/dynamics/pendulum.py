"""Damped pendulum: ``q' = v``, ``v' = -g sin q - c v``.

Nothing here is collective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Pendulum:
    """Angle and velocity, parameters ``w = (g, c)``: squared frequency and damping."""

    name = "pendulum"
    states = 2
    parameters = ("g", "c")

    def value(self, t: Array, x: Array, w: Array) -> Array:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        q, v = x[..., 0], x[..., 1]
        force = -w[..., 0] * np.sin(q) - w[..., 1] * v
        return np.stack([np.broadcast_to(v, force.shape), force], axis=-1)

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        shape = np.broadcast_shapes(x.shape[:-1], w.shape[:-1])
        f_x, f_w = np.zeros((*shape, 2, 2)), np.zeros((*shape, 2, 2))
        f_x[..., 0, 1] = 1.0
        f_x[..., 1, 0], f_x[..., 1, 1] = -w[..., 0] * np.cos(x[..., 0]), -w[..., 1]
        f_w[..., 1, 0], f_w[..., 1, 1] = -np.sin(x[..., 0]), -x[..., 1]
        return f_x, f_w

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        shape = np.broadcast_shapes(x.shape[:-1], w.shape[:-1], p.shape[:-1])
        f_xx, f_xw = np.zeros((*shape, 2, 2)), np.zeros((*shape, 2, 2))
        f_xx[..., 0, 0] = p[..., 1] * w[..., 0] * np.sin(x[..., 0])
        f_xw[..., 0, 0], f_xw[..., 1, 1] = -p[..., 1] * np.cos(x[..., 0]), -p[..., 1]
        return f_xx, f_xw, np.zeros((*shape, 2, 2))
