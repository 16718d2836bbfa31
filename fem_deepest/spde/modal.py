r"""The linear stochastic heat equation on ``(0,1)``, mode by mode: moments and errors as sums.

``du = -A u dtau + dW``, ``A = -nu d^2/dx^2 + c`` with ``u = 0`` at both ends and ``u(0) = 0``. With
``e_j = sqrt(2) sin(j pi x)``, ``lambda_j = nu j^2 pi^2 + c`` and ``Q e_j = q_j e_j``, ``q_j = j^{-2a}``,
the coefficients of ``u`` are independent Ornstein-Uhlenbeck processes.

P1 on a uniform mesh of width ``h = 1/N`` has the interpolants of the ``e_j``, ``j < N``, as
eigenvectors, with

    lambda_j^h = nu (6/h^2) (1 - cos j pi h) / (2 + cos j pi h) + c,

and sees the modes ``m = |j + 2 l N|``, ``l`` any integer, of the noise as one (aliases). A theta step of
length ``k = T/n`` multiplies by ``r = s (1 - (1 - theta) k lambda)`` and the increment of the noise by
``s = 1 / (1 + theta k lambda)``. So for two solutions ``X``, ``Y`` driven by the same noise, each exact or
discrete in space, in time or in both, ``E (X(T), Y(T))`` is a sum over modes of a geometric sum over
steps: strong and weak errors need no sampling. Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import zeta

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_MODES = 2**17  # terms of sums over all modes; the rest of the tails is added in closed form
_ALIASES = 2**11  # of each sign


@dataclass(frozen=True)
class Grid:
    """How a solution is discretised: ``N`` cells of P1 and ``n`` theta steps, none where it is exact.

    Attributes:
        cells: ``N``, or none for all modes of ``A``.
        steps: ``n``, or none for the exact semigroup.
        theta: 1 backward Euler, 1/2 Crank-Nicolson.
    """

    cells: int | None = None
    steps: int | None = None
    theta: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no discretisation."""
        if self.cells is not None and self.cells < 2:
            raise InputError(f"cells = {self.cells}; P1 with both ends clamped needs 2 or more")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps = {self.steps}; expected 1 or more")
        if not 0.5 <= self.theta <= 1.0:
            raise InputError(f"theta = {self.theta}; expected 1/2 to 1, others are not stable")


EXACT = Grid()


@dataclass(frozen=True)
class ModalHeat:
    """The equation of this module.

    Attributes:
        a: Decay ``q_j = j^{-2a}``; 0 is white noise. The regularity number is ``beta = a + 1/2``.
        T: End of the time.
        nu: Diffusion, positive.
        c: Reaction, with ``lambda_1 > 0``.
        modes: Number of modes of the noise, the others having ``q_j = 0``; none for all.

    Raises:
        InputError: A number out of its range.
    """

    a: float = 0.0
    T: float = 0.5
    nu: float = 1.0
    c: float = 0.0
    modes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what has no solution with values in L2."""
        if not self.a > -0.5:
            raise InputError(f"a = {self.a}; the solution is in L2 only for a > -1/2")
        if self.modes is not None and self.modes < 1:
            raise InputError(f"modes = {self.modes}; expected 1 or more, or none for all")
        if not (self.T > 0.0 and self.nu > 0.0 and self.nu * np.pi**2 + self.c > 0.0):
            raise InputError(
                f"T = {self.T}, nu = {self.nu}, c = {self.c}; expected T > 0, nu > 0 and nu pi^2 + c > 0"
            )

    @property
    def beta(self) -> float:
        """Regularity: ``|| A^{(b-1)/2} Q^{1/2} ||_HS`` is finite for all ``b < beta``."""
        return self.a + 0.5

    def eigenvalues(self, j: Array, cells: int | None = None) -> Array:
        """``lambda_j``, or ``lambda_j^h`` on ``cells`` cells. Same shape as ``j``."""
        if cells is None:
            return self.nu * (np.pi * j) ** 2 + self.c
        # 1 - cos = 2 sin^2 keeps its digits where j h is small.
        x = 0.5 * np.pi * j / cells
        return self.nu * 12.0 * cells**2 * np.sin(x) ** 2 / (2.0 + np.cos(2.0 * x)) + self.c

    def q(self, j: Array) -> Array:
        """Eigenvalues of the covariance. Same shape as ``j``."""
        q = j ** (-2.0 * self.a)
        return q if self.modes is None else np.where(j <= self.modes, q, 0.0)

    # Moments ------------------------------------------------------------------------------------

    def second_moment(self, grid: Grid = EXACT, initial: Sequence[float] = ()) -> float:
        """``E |X(T)|^2`` in ``L2``.

        Args:
            grid: The discretisation; the exact solution by default.
            initial: Coefficients ``x_1, x_2, ...`` of ``X(0)`` in the ``e_j``; the exact solution only.
        """
        if grid.cells is None:
            j = _modes(_MODES)
            lam, q = self.eigenvalues(j), self.q(j)
            terms = q * self._variance(lam, grid)
            value = float(np.sum(terms[::-1])) + (self._tail() if grid.steps is None else 0.0)
        else:
            j = _modes(grid.cells - 1)
            lam = self.eigenvalues(j, grid.cells)
            white = self.a == 0.0 and self.modes is None
            q = np.ones_like(j) if white else self._aliases(grid.cells)[1].sum(axis=1)
            value = float(np.sum(q * self._variance(lam, grid)))
        if len(initial):
            if grid != EXACT:
                raise InputError("an initial value goes with the exact solution only; leave it out")
            x = np.asarray(initial, dtype=np.float64)
            lam = self.eigenvalues(_modes(x.size))
            value += float(np.sum(np.exp(-2.0 * lam * self.T) * x**2))
        return value

    def variance_at(self, x: float) -> float:
        """``E X(T, x)^2`` of the exact solution; finite, like its series, for ``a > -1/2``."""
        j = _modes(_MODES)
        lam = self.eigenvalues(j)
        terms = self.q(j) * self._variance(lam, EXACT) * 2.0 * np.sin(np.pi * x * j) ** 2
        # In the tail the squares of the sines are a half on average, unless the point is an end.
        return float(np.sum(terms[::-1])) + (self._tail() if 0.0 < x < 1.0 else 0.0)

    def cross_moment(self, grid: Grid) -> float:
        """``E (X(T), X_h(T))`` of the exact solution and a discrete one driven by the same noise."""
        if grid.cells is None:
            j = _modes(_MODES)
            lam, q = self.eigenvalues(j), self.q(j)
            terms = q * self._together(lam, lam, grid)
            return float(np.sum(terms[::-1])) + (self._tail() if grid.steps is None else 0.0)
        m, weights = self._aliases(grid.cells)
        discrete = self.eigenvalues(_modes(grid.cells - 1), grid.cells)[:, np.newaxis]
        kernel = self._together(self.eigenvalues(m), discrete, grid)
        return float(np.sum(weights * kernel))

    def strong_error(self, grid: Grid) -> float:
        """``(E |X(T) - X_h(T)|^2)^{1/2}``."""
        exact, discrete = self.second_moment(), self.second_moment(grid)
        return float(np.sqrt(max(exact + discrete - 2.0 * self.cross_moment(grid), 0.0)))

    def weak_error(self, grid: Grid) -> float:
        """``| E |X(T)|^2 - E |X_h(T)|^2 |``."""
        return abs(self.second_moment() - self.second_moment(grid))

    # Parts --------------------------------------------------------------------------------------

    def _together(self, lam: Array, mu: Array, grid: Grid) -> Array:
        """``E X(T) Y(T)`` of the exact scalar solution of rate ``lam`` and that of ``grid``, rate ``mu``.

        Both are driven by the same unit noise.
        """
        if grid.steps is None:
            return -np.expm1(-(lam + mu) * self.T) / (lam + mu)
        k = self.T / grid.steps
        s = 1.0 / (1.0 + grid.theta * k * mu)
        r = s * (1.0 - (1.0 - grid.theta) * k * mu) * np.exp(-lam * k)
        one = -np.expm1(-lam * k) / lam  # the noise of one step, as the exact solution has it
        return s * one * (1.0 - r**grid.steps) / (1.0 - r)

    def _variance(self, mu: Array, grid: Grid) -> Array:
        """``E Y(T)^2`` of the scalar solution of ``grid``, rate ``mu``, unit noise."""
        if grid.steps is None:
            return -np.expm1(-2.0 * mu * self.T) / (2.0 * mu)
        k = self.T / grid.steps
        r = (1.0 - (1.0 - grid.theta) * k * mu) / (1.0 + grid.theta * k * mu)
        # s^2 k / (1 - r^2), written so that nothing cancels where k mu is small.
        stationary = 1.0 / (mu * (2.0 + (2.0 * grid.theta - 1.0) * k * mu))
        return (1.0 - r ** (2 * grid.steps)) * stationary

    def _aliases(self, cells: int) -> tuple[Array, Array]:
        """Modes ``m`` that discrete mode ``j`` sees, and ``(e_j^h, e_m)^2 q_m``; each (N - 1, aliases)."""
        j = _modes(cells - 1)[:, np.newaxis]
        m = np.abs(j + 2.0 * cells * np.arange(-_ALIASES, _ALIASES + 1))
        # The transform of a hat function is sinc^2; |I_h e_j|^2 = (2 + cos j pi h) / 3.
        squares = np.sinc(0.5 * m / cells) ** 4 * 3.0 / (2.0 + np.cos(np.pi * j / cells))
        return m, squares * self.q(m)

    def _tail(self) -> float:
        """``sum q_j / (2 lambda_j)`` over the modes that are not summed, to relative ``c^2/lambda^2``."""
        if self.modes is not None:
            return 0.0
        p = 2.0 + 2.0 * self.a
        scale = self.nu * np.pi**2
        first = float(zeta(p, _MODES + 1)) / (2.0 * scale)
        return first - self.c * float(zeta(p + 2.0, _MODES + 1)) / (2.0 * scale**2)


def _modes(count: int) -> Array:
    return np.arange(1, count + 1, dtype=np.float64)
