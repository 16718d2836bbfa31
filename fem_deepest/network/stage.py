"""The implicit stage ``X = base + h a F(X)`` of a tile of samples, its tangent and its adjoint.

A fixed-point iteration costs one product with the coupling a turn and contracts when ``h a |F_x| < 1``;
where it does not, every sample gets its own Newton step or linear solve with the matrix of the
coupling. Either way the equations hold to rounding, which the exact discrete adjoint needs. Networks
side by side have an axis before the last two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import NumericalFailure
from fem_deepest.network.activation import Activation
from fem_deepest.network.coupling.protocol import Coupling, Work
from fem_deepest.network.fixed_point import ROUNDING, contract, relative, scale, small

Array = NDArray[np.float64]

_NEWTON = 50
_HALVINGS = 12
_MOST = 2048  # neurons whose matrix may be factorised for each sample
_TOGETHER = 1 << 23  # numbers of the matrices that are factorised together


@dataclass(frozen=True)
class ImplicitStage:
    """Solver of the implicit stages of a flow.

    Attributes:
        coupling: ``B``.
        activation: ``sigma``.
        leak: ``leak``.
        work: Work arrays of the coupling.

    Nothing here is collective.
    """

    coupling: Coupling
    activation: Activation
    leak: float
    work: Work

    def solve(self, theta: Array, factor: float, base: Array, full: Array) -> None:
        """Solve ``X = base + h a (-leak X + sigma(B(theta; [X; 1])))`` for every sample.

        Args:
            theta: Stage parameters, shape (rows, columns).
            factor: ``h a``.
            base: The known part, a forcing included, shape (N, K).
            full: ``[X; 1]``, shape (N + 1, K): a start on entry, the solution on return.

        Raises:
            NumericalFailure: No convergence: the steps in depth are too long.
        """
        state, shift = full[..., :-1, :], 1.0 + factor * self.leak
        value, slope = np.empty_like(base), np.empty_like(base)

        def residual(_: Array) -> tuple[Array, Array]:
            self.coupling.value(theta, full, value, self.work)
            self.activation.value(value, value)
            self.activation.first(value, slope)
            return shift * state - base - factor * value, slope

        def turn(_: Array, out: Array) -> None:
            self.coupling.value(theta, full, out, self.work)
            self.activation.value(out, out)
            _affine(out, factor, base, shift)

        if not contract(turn, state):
            state[...] = base
            newton(residual, self._matrix(theta), factor, shift, state)

    def solve_linear(
        self, theta: Array, slope: Array, factor: float, rhs: Array, adjoint: bool
    ) -> Array:
        """Solve ``y - h a (-leak y + sigma' B_x y) = rhs`` for every sample, or its transpose.

        Args:
            theta: Stage parameters, shape (rows, columns).
            slope: ``sigma'`` at the stage, shape (N, K).
            factor: ``h a``.
            rhs: Shape (N, K).
            adjoint: Solve the transposed equations.

        Returns:
            Solution, shape (N, K).

        Raises:
            NumericalFailure: A matrix is singular: the steps in depth are too long.
        """
        shift, product = 1.0 + factor * self.leak, np.empty_like(rhs)

        def turn(y: Array, out: Array) -> None:
            if adjoint:
                np.multiply(slope, y, out=product)
                self.coupling.adjoint(theta, product, out, self.work)
            else:
                self.coupling.tangent(theta, y, out, self.work)
                out *= slope
            _affine(out, factor, rhs, shift)

        y = np.divide(rhs, shift)
        if contract(turn, y):
            return y
        return direct(slope, self._matrix(theta), factor, shift, rhs, adjoint)

    def _matrix(self, theta: Array) -> Array:
        """``B_x``, if a direct solve for each sample is within reach."""
        n = self.coupling.neurons
        if n > _MOST:
            raise NumericalFailure(
                f"the fixed-point iteration of an implicit stage does not contract, and the direct "
                f"solve would factorise a {n} x {n} matrix ({8e-6 * n**2:.0f} MB) for every sample, "
                f"expected at most {_MOST} neurons: take more cells or an explicit scheme"
            )
        return self.coupling.matrix(theta)


def _affine(x: Array, factor: float, base: Array, shift: float) -> None:
    """``x <- (base + factor x) / shift``."""
    x *= factor
    x += base
    if shift != 1.0:
        x /= shift


def direct(
    slope: Array, matrix: Array, factor: float, shift: float, rhs: Array, adjoint: bool
) -> Array:
    """Solve ``(shift I - factor diag(slope_k) W) y_k = rhs_k`` or its transpose for every sample.

    Args:
        slope: ``sigma'``, shape (N, K).
        matrix: ``W``, shape (N, N).
        factor: ``h a``.
        shift: ``1 + h a leak``.
        rhs: Shape (N, K).
        adjoint: Solve with the transposed matrices.

    Returns:
        Solution, shape (N, K).

    Raises:
        NumericalFailure: A matrix is singular.
    """
    y, n = np.empty_like(rhs), matrix.shape[-1]
    together = max(_TOGETHER // matrix.size, 1)
    for first in range(0, rhs.shape[-1], together):
        own = slice(first, first + together)
        systems = (
            -factor * np.swapaxes(slope[..., own], -1, -2)[..., None] * matrix[..., None, :, :]
        )
        systems[..., range(n), range(n)] += shift
        if adjoint:
            systems = np.swapaxes(systems, -1, -2)
        try:
            columns = np.linalg.solve(systems, np.swapaxes(rhs[..., own], -1, -2)[..., None])
        except np.linalg.LinAlgError:
            raise NumericalFailure(
                "the matrix of an implicit stage is singular; the steps in depth are too long for "
                "these weights: take more cells"
            ) from None
        y[..., own] = np.swapaxes(columns[..., 0], -1, -2)
    return y


def newton(
    residual: Callable[[Array], tuple[Array, Array]],
    matrix: Array,
    factor: float,
    shift: float,
    x: Array,
) -> None:
    """Newton's method for the stage equation of every sample, in place.

    Args:
        residual: Gives the residual ``shift X - base - h a (sigma(W X + b) + xi)`` and ``sigma'``,
            both (N, K).
        matrix: ``W``.
        factor: ``h a``.
        shift: ``1 + h a leak``.
        x: Start, overwritten by the solution, shape (N, K).

    Raises:
        NumericalFailure: No convergence: the steps in depth are too long.
    """
    last = np.inf
    r, slope = residual(x)
    for _ in range(_NEWTON):
        d = direct(slope, matrix, factor, shift, r, adjoint=False)
        size = scale(x)
        change = relative(d, size)
        if small(change, last):
            return
        last = change
        norm, start = np.linalg.norm(r, axis=-2, keepdims=True), x.copy()
        damping = np.ones_like(norm)
        for _ in range(_HALVINGS):  # every sample is damped by itself
            x[...] = start - damping * d
            r, slope = residual(x)
            left = np.linalg.norm(r, axis=-2, keepdims=True)
            worse = (
                left > (1.0 - 0.25 * damping) * norm + ROUNDING * np.asarray(size)[..., None, None]
            )
            if not worse.any():
                break
            damping[worse] *= 0.5
    raise NumericalFailure(
        f"the implicit stage did not converge in {_NEWTON} Newton steps (last change {last:.1e}); "
        "the steps in depth are too long for these weights: take more cells"
    )
