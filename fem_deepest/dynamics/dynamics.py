"""What a dynamical system ``dx/dt = F(x, w; t)`` owes: its right-hand side and two derivatives.

Everything is vectorised over leading axes, so that one call serves all cells, points and paths.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Dynamics(Protocol):
    """Right-hand side ``F`` with exact derivatives.

    Leading axes of all arguments broadcast; nothing here is collective.
    """

    @property
    def name(self) -> str:
        """What it is called in a configuration."""

    @property
    def states(self) -> int:
        """``D``, dimension of ``x``."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the ``P`` entries of ``w``; may be empty."""

    def value(self, t: Array, x: Array, w: Array) -> Array:
        """``F``: ``t`` (...), ``x`` (..., D) and ``w`` (..., P) to (..., D)."""

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        """``F_x`` (..., D, D) and ``F_w`` (..., D, P)."""

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        """``p . F_xx`` (..., D, D), ``p . F_xw`` (..., D, P), ``p . F_ww`` (..., P, P).

        ``p`` (..., D) is a costate; the last two axes are those of the derivatives.
        """


@runtime_checkable
class Transposable(Protocol):
    """Dynamics whose transposed derivatives cost as much as ``F``: no matrices are made for them."""

    def adjoint(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array]:
        """``F_x^T p`` (..., D) and ``F_w^T p`` (..., P) of a costate ``p`` (..., D)."""
