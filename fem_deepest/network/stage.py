"""The implicit stage ``X = base + h a F(X)`` of a tile of samples, its tangent and its adjoint.

A fixed-point iteration costs one matrix product a turn and contracts when ``h a |F_x| < 1``; where
it does not, every sample gets its own Newton step or linear solve. Either way the equations hold
to rounding, which the exact discrete adjoint needs. Networks side by side have an axis before the last
two.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import NumericalFailure
from fem_deepest.network.activation import Activation

Array = NDArray[np.float64]

_SWEEPS = 40
_NEWTON = 50
_HALVINGS = 12
_SLOW = 0.6  # contraction per turn above which a direct solve is cheaper
_ROUNDING = 4.0 * float(np.finfo(np.float64).eps)


def solve(
    matrix: Array, activation: Activation, factor: float, leak: float, base: Array, full: Array
) -> None:
    """Solve ``X = base + h a (-leak X + sigma(W X + b))`` for every sample.

    Args:
        matrix: ``[W | b]``, shape (N, N + 1).
        activation: ``sigma``.
        factor: ``h a``.
        leak: ``leak``.
        base: The known part, a forcing included, shape (N, K).
        full: ``[X; 1]``, shape (N + 1, K): a start on entry, the solution on return.

    Raises:
        NumericalFailure: No convergence: the steps in depth are too long.
    """
    state, weights, shift = full[..., :-1, :], matrix[..., :-1], 1.0 + factor * leak
    value, slope = np.empty_like(base), np.empty_like(base)

    def residual(_: Array) -> tuple[Array, Array]:
        np.matmul(matrix, full, out=value)
        activation.value(value, value)
        activation.first(value, slope)
        return shift * state - base - factor * value, slope

    def turn(_: Array, out: Array) -> None:
        np.matmul(matrix, full, out=out)
        activation.value(out, out)
        _affine(out, factor, base, shift)

    if not contract(turn, state):
        state[...] = base
        newton(residual, weights, factor, shift, state)


def solve_linear(
    weights: Array, slope: Array, factor: float, leak: float, rhs: Array, adjoint: bool
) -> Array:
    """Solve ``y - h a (-leak y + sigma' W y) = rhs`` for every sample, or its transpose.

    Args:
        weights: ``W``, shape (N, N).
        slope: ``sigma'`` at the stage, shape (N, K).
        factor: ``h a``.
        leak: ``leak``.
        rhs: Shape (N, K).
        adjoint: Solve the transposed equations.

    Returns:
        Solution, shape (N, K).
    """
    shift = 1.0 + factor * leak

    product = np.empty_like(rhs)

    def turn(y: Array, out: Array) -> None:
        if adjoint:
            np.multiply(slope, y, out=product)
            np.matmul(np.swapaxes(weights, -1, -2), product, out=out)
        else:
            np.matmul(weights, y, out=out)
            out *= slope
        _affine(out, factor, rhs, shift)

    y = np.divide(rhs, shift)
    if contract(turn, y):
        return y
    return direct(slope, weights, factor, shift, rhs, adjoint)


def _affine(x: Array, factor: float, base: Array, shift: float) -> None:
    """``x <- (base + factor x) / shift``."""
    x *= factor
    x += base
    if shift != 1.0:
        x /= shift


def contract(step: Callable[[Array, Array], None], y: Array) -> bool:
    """Fixed-point iteration ``y <- step(y)`` in place.

    Args:
        step: ``step(y, out)`` writes the next iterate into ``out``.
        y: Start, overwritten by the last iterate.

    Returns:
        Whether the change came down to rounding, that of each of the networks side by side; ``False`` as
        soon as it contracts too slowly.
    """
    last, new = np.inf, np.empty_like(y)
    size = _size(y)
    for turn in range(_SWEEPS):
        step(y, new)
        np.subtract(new, y, out=y)
        change = _relative(y, size)
        y[...] = new
        if not isfinite(change):
            return False
        if _small(change, last):
            return True
        if turn > 2 and change > _SLOW * last:
            return False
        last = change
    return False


def _largest(y: Array) -> Array | float:
    """Largest absolute value of each network, (...): they may be of very different sizes."""
    if y.ndim == 2:  # faster without axes
        return max(float(y.max(initial=0.0)), -float(y.min(initial=0.0)))
    return np.maximum(y.max(axis=(-2, -1), initial=0.0), -y.min(axis=(-2, -1), initial=0.0))


def _size(y: Array) -> Array | float:
    """What a change of a network is compared with, (...)."""
    largest = _largest(y)
    return max(1.0, largest) if isinstance(largest, float) else np.maximum(1.0, largest)


def _relative(y: Array, size: Array | float) -> float:
    """The largest value of ``y`` in units of the size of its network."""
    largest = _largest(y)
    if isinstance(largest, float):
        return largest / size  # type: ignore[return-value]
    return float(np.divide(largest, size).max(initial=0.0))


def _small(change: float, last: float) -> bool:
    """Whether it is rounding; near that the change stops falling before it reaches the last bit."""
    return change <= _ROUNDING or (change <= 100 * _ROUNDING and change >= last)


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
    n = matrix.shape[-1]
    systems = -factor * np.swapaxes(slope, -1, -2)[..., None] * matrix[..., None, :, :]
    systems[..., range(n), range(n)] += shift
    if adjoint:
        systems = np.swapaxes(systems, -1, -2)
    try:
        columns = np.linalg.solve(systems, np.swapaxes(rhs, -1, -2)[..., None])[..., 0]
    except np.linalg.LinAlgError:
        raise NumericalFailure(
            "the matrix of an implicit stage is singular; the steps in depth are too long for these "
            "weights: take more cells"
        ) from None
    return np.asarray(np.swapaxes(columns, -1, -2), dtype=np.float64)


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
        size = _size(x)
        change = _relative(d, size)
        if _small(change, last):
            return
        last = change
        norm, start = np.linalg.norm(r, axis=-2, keepdims=True), x.copy()
        damping = np.ones_like(norm)
        for _ in range(_HALVINGS):  # every sample is damped by itself
            x[...] = start - damping * d
            r, slope = residual(x)
            left = np.linalg.norm(r, axis=-2, keepdims=True)
            worse = (
                left > (1.0 - 0.25 * damping) * norm + _ROUNDING * np.asarray(size)[..., None, None]
            )
            if not worse.any():
                break
            damping[worse] *= 0.5
    raise NumericalFailure(
        f"the implicit stage did not converge in {_NEWTON} Newton steps (last change {last:.1e}); "
        "the steps in depth are too long for these weights: take more cells"
    )
