"""The law of a scalar bridge without sampling, by its transfer operator (Feynman and Kac).

The density of ``x(t)`` under ``exp(-1/2 int x'^2 - int phi(x) dt)`` between ``x(0) = a`` and ``x(T) = b``
is ``p(x) ~ G_t(a, x) G_{T-t}(x, b)``, with the kernel ``G_t`` of ``exp(t (1/2 d^2/dx^2 - phi))``. That is
made of many short ones, ``exp(-(x - y)^2/(2 h) - h (phi(x) + phi(y))/2)`` (Trotter and Strang, error
``h^2``), on a uniform grid, where the trapezoidal rule is spectrally accurate. Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_REACH = 3.0  # of the grid beyond the ends


def middle_density(
    phi: Callable[[Array], Array],
    depth: float,
    ends: tuple[float, float] = (-1.0, 1.0),
    steps: int = 512,
    points: int = 401,
) -> tuple[Array, Array]:
    """Density of ``x(T/2)``.

    Args:
        phi: The potential at numbers.
        depth: ``T``.
        ends: ``x(0)`` and ``x(T)``.
        steps: Short kernels, even; their width ``sqrt(T/steps)`` has to be resolved by the grid.
        points: Points of the grid.

    Returns:
        Grid (points,) and density there (points,).
    """
    h = depth / steps
    x: Array = np.linspace(min(ends) - _REACH, max(ends) + _REACH, points, dtype=np.float64)

    def kernel(a: Array, b: Array) -> Array:
        half = 0.5 * (phi(a)[:, None] + phi(b)[None, :])
        return np.exp(-((a[:, None] - b) ** 2) / (2.0 * h) - h * half)

    K = kernel(x, x)
    forward, backward = kernel(np.array([ends[0]]), x)[0], kernel(x, np.array([ends[1]]))[:, 0]
    for _ in range(steps // 2 - 1):
        forward, backward = forward @ K, K @ backward
        forward, backward = forward / forward.max(), backward / backward.max()
    p = forward * backward
    return x, p / (p.sum() * (x[1] - x[0]))
