"""Depth schemes: Runge-Kutta tableaux for ``dx/dt = F(x, w; t)``.

Explicit Euler is an ordinary residual network; the implicit midpoint rule (one-stage Gauss) is
symplectic. Source: Hairer, Lubich, Wanner, Geometric Numerical Integration (2006),
doi:10.1007/3-540-30666-8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scheme:
    """Runge-Kutta tableau with at most a diagonal implicit part.

    Attributes:
        name: Name in a configuration.
        a: Stage coefficients, lower triangular, shape (s, s).
        b: Weights, shape (s,).
        c: Abscissae, shape (s,).
        order: Declared order at the nodes.
    """

    name: str
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int

    @property
    def stages(self) -> int:
        """Number of stages ``s``."""
        return len(self.b)

    @property
    def symplectic(self) -> bool:
        """Whether ``b_i a_ij + b_j a_ji = b_i b_j``, so that the flow conserves ``dx.dp``."""
        a, b = np.array(self.a), np.array(self.b)
        return bool(np.allclose(b[:, None] * a + (b[:, None] * a).T, np.outer(b, b), atol=1e-15))

    @property
    def abscissae(self) -> tuple[float, ...]:
        """Distinct abscissae, ascending: a step needs the weights at these points only."""
        return tuple(sorted(set(self.c)))

    @property
    def slot(self) -> tuple[int, ...]:
        """Position in ``abscissae`` of every stage."""
        return tuple(self.abscissae.index(c) for c in self.c)


EULER = Scheme("euler", ((0.0,),), (1.0,), (0.0,), 1)
RK2 = Scheme("rk2", ((0.0, 0.0), (0.5, 0.0)), (0.0, 1.0), (0.0, 0.5), 2)
RK4 = Scheme(
    "rk4",
    ((0.0,) * 4, (0.5, 0.0, 0.0, 0.0), (0.0, 0.5, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)),
    (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    (0.0, 0.5, 0.5, 1.0),
    4,
)
MIDPOINT = Scheme("midpoint", ((0.5,),), (1.0,), (0.5,), 2)

SCHEMES = {scheme.name: scheme for scheme in (EULER, RK2, RK4, MIDPOINT)}


def scheme(name: str) -> Scheme:
    """Scheme of that name.

    Raises:
        InputError: No scheme has that name.
    """
    if name not in SCHEMES:
        raise InputError(f"unknown depth scheme '{name}', expected one of {tuple(SCHEMES)}")
    return SCHEMES[name]
