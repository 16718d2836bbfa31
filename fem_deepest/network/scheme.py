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

    def stage_state(self, j: int, x: Array, h: float, k: Array, out: Array, work: Array) -> None:
        """``out = x + h sum_l a_jl k_l`` over the stages ``l < j``, the known part of stage ``j``."""
        out[...] = x
        for weight, slope in zip(self.a[j][:j], k, strict=False):
            if weight:
                np.multiply(slope, h * weight, out=work)
                out += work

    def stage_costate(
        self, j: int, q: Array, h: float, chi: Array, out: Array, work: Array
    ) -> None:
        """``out = h b_j q + h sum_l a_lj chi_l`` over the stages ``l > j``, the transpose of a step."""
        np.multiply(q, h * self.b[j], out=out)
        for later in range(j + 1, self.stages):
            weight = self.a[later][j]
            if weight:
                np.multiply(chi[later], h * weight, out=work)
                out += work

    def end(self, x: Array, h: float, k: Array, out: Array, work: Array) -> None:
        """``out = x + h sum_j b_j k_j``, the end of a step; ``out`` may be ``x``."""
        for weight, slope in zip(self.b, k, strict=True):
            if weight:
                np.multiply(slope, h * weight, out=work)
                np.add(x, work, out=out)
                x = out


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
