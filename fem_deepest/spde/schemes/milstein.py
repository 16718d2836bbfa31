"""Milstein's scheme for Nemytskii noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes.theta import Theta

Array = NDArray[np.float64]


class Milstein(Theta):
    """The theta scheme with the iterated Ito integrals of commutative noise.

        M (U' - U) = -dt ( K (theta U' + (1 - theta) U) + F(U) ) + int G(U) phi dW
                     + int 1/2 G'(U) G(U) (dW^2 - q dt) phi dx

    ``(G(u) w)(x) = G(u(x)) w(x)`` commutes, ``G'(u)(G(u) v) w`` being symmetric in ``v`` and ``w``, so no
    Levy areas are needed. Several coefficients ``G_j`` of modes commute if ``G_i' G_j = G_j' G_i``; they
    are refused if not. For additive noise it is the theta scheme.

    Args:
        problem: The equation.
        theta: 0 (explicit) to 1 (implicit).
        prefix: See :class:`Scheme`.
        options: See :class:`Scheme`.

    Raises:
        InputError: The noise does not commute or has no variance density, or ``theta`` is not in [0, 1].

    Sources: Jentzen, Roeckner (2015), doi:10.1007/s10208-015-9247-y; Kruse (2014),
    doi:10.1007/s40072-014-0037-3.
    """

    name = "milstein"
    noise = "commutative, of trace class (or on this mesh with discrete_density=True)"

    def __init__(
        self,
        problem: SemilinearSPDE,
        theta: float = 1.0,
        *,
        prefix: str = "spde",
        options: Mapping[str, str | int | float] | None = None,
    ) -> None:
        super().__init__(problem, theta, prefix=prefix, options=options)
        if problem.G is None or problem.additive:
            return
        if not problem.G.commutes(problem.start()):
            raise InputError(
                "Milstein's scheme was asked for noise that does not commute: G_i' G_j differs from "
                "G_j' G_i, so Levy areas would be needed; take 'euler-maruyama', or coefficients that "
                "commute"
            )
        problem.G.need_density("Milstein's scheme")

    def increment(self, U: Array, dt: float, dW: Any) -> Array:
        """See :class:`Theta`."""
        own = super().increment(U, dt, dW)
        return own if dW is None else own + self.problem.iterated(U, dW, dt)

    def strong_order(self, beta: float) -> float:
        """``beta/2``, at most 1."""
        return min(beta / 2.0, 1.0)

    def mean_square(self, lam: float, sigma: float, dt: float) -> float:
        """That of :class:`Theta` and ``sigma^4 dt^2 / 2 / (1 + theta dt lam)^2`` more."""
        more = 0.5 * (sigma**2 * dt / (1.0 + self.theta * dt * lam)) ** 2
        return super().mean_square(lam, sigma, dt) + more
