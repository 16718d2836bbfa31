"""Lorenz 63: ``x' = s (y - x)``, ``y' = x (r - z) - y``, ``z' = x y - b z``.

E. N. Lorenz, Deterministic nonperiodic flow, J. Atmos. Sci. 20 (1963) 130-141.

Nothing here is collective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Lorenz63:
    """Three variables, parameters ``w = (s, r, b)``; chaotic at (10, 28, 8/3)."""

    name = "lorenz63"
    states = 3
    parameters = ("s", "r", "b")

    def value(self, t: Array, x: Array, w: Array) -> Array:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        a, y, z = x[..., 0], x[..., 1], x[..., 2]
        s, r, b = w[..., 0], w[..., 1], w[..., 2]
        return np.stack([s * (y - a), a * (r - z) - y, a * y - b * z], axis=-1)

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        shape = np.broadcast_shapes(x.shape[:-1], w.shape[:-1])
        a, y, z = x[..., 0], x[..., 1], x[..., 2]
        s, r, b = w[..., 0], w[..., 1], w[..., 2]
        f_x, f_w = np.zeros((*shape, 3, 3)), np.zeros((*shape, 3, 3))
        f_x[..., 0, 0], f_x[..., 0, 1] = -s, s
        f_x[..., 1, 0], f_x[..., 1, 1], f_x[..., 1, 2] = r - z, -1.0, -a
        f_x[..., 2, 0], f_x[..., 2, 1], f_x[..., 2, 2] = y, a, -b
        f_w[..., 0, 0], f_w[..., 1, 1], f_w[..., 2, 2] = y - a, a, -z
        return f_x, f_w

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        shape = np.broadcast_shapes(x.shape[:-1], w.shape[:-1], p.shape[:-1])
        f_xx, f_xw = np.zeros((*shape, 3, 3)), np.zeros((*shape, 3, 3))
        f_xx[..., 0, 2] = f_xx[..., 2, 0] = -p[..., 1]
        f_xx[..., 0, 1] = f_xx[..., 1, 0] = p[..., 2]
        f_xw[..., 0, 0], f_xw[..., 1, 0] = -p[..., 0], p[..., 0]
        f_xw[..., 0, 1], f_xw[..., 2, 2] = p[..., 1], -p[..., 2]
        return f_xx, f_xw, np.zeros((*shape, 3, 3))
